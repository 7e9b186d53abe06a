"""Names in the registry: project/group/service/version, and the files of a version. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Self

_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_PART_DESCRIPTION: Final = "letters, digits, '_', '.' and '-', at most 64, a letter or digit first"
_MAX_FILE_NAME: Final = 200
ANY: Final = "*"


class InvalidNameError(ValueError):
    """A name that the registry does not take; `str()` says which part, and what is allowed."""


@dataclass(frozen=True, slots=True, order=True)
class ServiceVersion:
    """A version of a service: what has files, releases and subscribers of its own.

    The parts are those of Polaris: a project has groups, a group services, a service versions. A
    version is any text; `precedence` orders versions.
    """

    project: str
    group: str
    service: str
    version: str

    def __str__(self) -> str:
        return f"{self.project}/{self.group}/{self.service}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the version that `project/group/service/version` names.

        Raises InvalidNameError.
        """
        return cls(*_split(text, any_allowed=False))


@dataclass(frozen=True, slots=True)
class VersionPattern:
    """Versions that a subscriber follows: all that equal it where it is not `*`.

    `schemas_only` selects the API schemas of their files and leaves out the others.
    """

    project: str
    group: str
    service: str
    version: str
    schemas_only: bool = False

    @classmethod
    def parse(cls, text: str, *, schemas_only: bool = False) -> Self:
        """Return the pattern of a text such as `shop/web/*/*`. Raises InvalidNameError."""
        project, group, service, version = _split(text, any_allowed=True)
        return cls(project, group, service, version, schemas_only)

    def __str__(self) -> str:
        return f"{self.project}/{self.group}/{self.service}/{self.version}"

    def matches(self, name: ServiceVersion) -> bool:
        """Return whether a version is one of them."""
        return (
            self.project in (ANY, name.project)
            and self.group in (ANY, name.group)
            and self.service in (ANY, name.service)
            and self.version in (ANY, name.version)
        )


def check_part(text: str, kind: str) -> str:
    """Return one part of a name, which `kind` calls. Raises InvalidNameError."""
    if not _PART.fullmatch(text):
        raise InvalidNameError(f"{kind} {text[:80]!r} is not a name ({_PART_DESCRIPTION})")
    return text


def _split(text: str, *, any_allowed: bool) -> tuple[str, str, str, str]:
    parts = text.split("/")
    if len(parts) != 4:
        raise InvalidNameError(f"{text[:200]!r} is not project/group/service/version")
    for part, kind in zip(parts, ("project", "group", "service", "version"), strict=True):
        if part != ANY or not any_allowed:
            check_part(part, kind)
    return parts[0], parts[1], parts[2], parts[3]


def check_file_name(text: str) -> str:
    """Return the name of a file, which may have folders. Raises InvalidNameError.

    Each part is a name like those of services: no file lies outside of its folder, and none is
    hidden.
    """
    if len(text) > _MAX_FILE_NAME:
        raise InvalidNameError(f"file name of {len(text)} characters; {_MAX_FILE_NAME} are allowed")
    for part in text.split("/"):
        check_part(part, "file name")
    return text


def precedence(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that orders versions: numbers by value, 1.10 after 1.9, 2.0-rc1 before 2.0.

    As in Semantic Versioning (semver.org, 11), for versions of any number of parts.
    """
    release, separator, suffix = version.partition("-")
    key = [_part_key(part) for part in release.split(".")]
    # The end of a version sorts after a pre-release and before a further number.
    key.append((1, 0, "") if not separator else (0, 0, ""))
    return (*key, *(_part_key(part) for part in suffix.split(".") if part))


def _part_key(part: str) -> tuple[int, int, str]:
    return (2, int(part), "") if part.isdecimal() and part.isascii() else (3, 0, part)
