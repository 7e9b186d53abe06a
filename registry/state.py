"""A copy of all records, as the store's changes describe them. Pure.

It is complete at every revision, since a transaction is applied as a whole.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Final, Self, TypeVar

from registry import keys
from registry.names import ServiceVersion
from registry.records import (
    Draft,
    Files,
    ProjectSettings,
    ProviderOverride,
    Publication,
    Release,
)
from registry.store.interfaces import Entry

_NOTHING: Final = Publication()
_DEFAULT_SETTINGS: Final = ProjectSettings()


_Record = TypeVar("_Record")


class RegistryState:
    """The records of the registry by what they are. `revision` is that of the last change.

    Each map has the record and its revision. Audit entries are not copied: they only grow.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._drafts: dict[ServiceVersion, tuple[Draft, int]] = {}
        self._publications: dict[ServiceVersion, tuple[Publication, int]] = {}
        self._releases: dict[ServiceVersion, dict[int, Release]] = {}
        self._projects: dict[str, tuple[ProjectSettings, int]] = {}
        self._projects_by_content: dict[str, set[str]] = {}
        self._overrides: dict[ServiceVersion, dict[str, tuple[ProviderOverride, int]]] = {}

    @classmethod
    def load(cls, records: Mapping[str, Entry], revision: int) -> Self:
        """Return the state of all records of a store, as they were at `revision`."""
        state = cls()
        for key, record in records.items():
            state._apply(key, record.value, record.revision)
        state.revision = revision
        return state

    def apply(
        self, changes: Iterable[tuple[str, bytes | None]], revision: int
    ) -> set[ServiceVersion]:
        """Apply one transaction; return the versions whose subscribers may see another release."""
        changed: set[ServiceVersion] = set()
        for key, value in changes:
            self._apply(key, value, revision)
            if key.startswith(keys.PUBLICATION):
                changed.add(keys.parse_version_key(key)[0])
        self.revision = revision
        return changed

    def versions(self) -> list[ServiceVersion]:
        """Return every version that has a draft or a release, ordered by name."""
        return sorted({*self._drafts, *self._publications})

    def draft(self, name: ServiceVersion) -> tuple[Draft | None, int]:
        """Return the draft of a version and its revision; (None, 0) without one."""
        return self._drafts.get(name, (None, 0))

    def publication(self, name: ServiceVersion) -> tuple[Publication, int]:
        """Return which releases of a version are seen, and the record's revision (0: none)."""
        return self._publications.get(name, (_NOTHING, 0))

    def publications(self) -> Iterable[tuple[ServiceVersion, Publication]]:
        """Return the publications of all versions."""
        return ((name, publication) for name, (publication, _) in self._publications.items())

    def release(self, name: ServiceVersion, number: int) -> Release | None:
        """Return one release, None if there is none of that number."""
        return self._releases.get(name, {}).get(number)

    def releases(self, name: ServiceVersion) -> list[Release]:
        """Return the releases of a version, the newest first."""
        return sorted(self._releases.get(name, {}).values(), key=lambda r: -r.number)

    def settings(self, project: str) -> tuple[ProjectSettings, int]:
        """Return the settings of a project, and their revision (0: the defaults)."""
        return self._projects.get(project, (_DEFAULT_SETTINGS, 0))

    def override(self, name: ServiceVersion, address: str) -> tuple[ProviderOverride | None, int]:
        """Return what an operator has said of a provider; (None, 0) without."""
        return self._overrides.get(name, {}).get(address, (None, 0))

    def projects_of(self, digest: str) -> Set[str]:
        """Return the projects that have, or had, a file with a content."""
        return self._projects_by_content.get(digest, frozenset())

    def referenced_contents(self) -> set[str]:
        """Return the digests of all contents that a draft or a release has."""
        files = [draft.files for draft, _ in self._drafts.values()]
        files += [r.files for by_number in self._releases.values() for r in by_number.values()]
        return {ref.digest for refs in files for ref in refs.values()}

    def _apply(self, key: str, value: bytes | None, revision: int) -> None:
        prefix, _, rest = key.partition("/")
        match f"{prefix}/":
            case keys.DRAFT:
                name, _ = keys.parse_version_key(key)
                draft = Draft.from_bytes(value) if value else None
                _set(self._drafts, name, draft, revision)
                if draft is not None:
                    self._index(name.project, draft.files)
            case keys.PUBLICATION:
                name, _ = keys.parse_version_key(key)
                record = Publication.from_bytes(value) if value else None
                _set(self._publications, name, record, revision)
            case keys.RELEASE if value:
                name, number = keys.parse_version_key(key)
                release = Release.from_bytes(value)
                self._releases.setdefault(name, {})[int(number)] = release
                self._index(name.project, release.files)
            case keys.PROJECT:
                settings = ProjectSettings.from_bytes(value) if value else None
                _set(self._projects, rest, settings, revision)
            case keys.PROVIDER:
                name, address = keys.parse_version_key(key)
                override = ProviderOverride.from_bytes(value) if value else None
                _set(self._overrides.setdefault(name, {}), address, override, revision)

    def _index(self, project: str, files: Files) -> None:
        for ref in files.values():
            self._projects_by_content.setdefault(ref.digest, set()).add(project)


_Key = TypeVar("_Key")


def _set(
    records: dict[_Key, tuple[_Record, int]], key: _Key, record: _Record | None, revision: int
) -> None:
    if record is None:
        records.pop(key, None)
    else:
        records[key] = (record, revision)
