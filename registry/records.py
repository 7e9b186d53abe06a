"""What the registry keeps: drafts, releases, publications, gray rules. Pure.

Each record is JSON in the store, with the names of its fields. Times are Unix seconds.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_FILES: Final = 500  # of a version


class FileKind(StrEnum):
    """What a file is to its subscribers."""

    CONFIG = "config"
    SCHEMA = "schema"  # the contract of a service, for gateways


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file of a draft or a release: where its content is, by its SHA-256, and what it is."""

    digest: str
    size: int
    content_type: str
    kind: FileKind

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Return the reference that `asdict` has written."""
        return cls(tree["digest"], tree["size"], tree["content_type"], FileKind(tree["kind"]))


Files = Mapping[str, FileRef]


def content_digest(content: bytes) -> str:
    """Return the name of a content: its SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def files_digest(files: Files) -> str:
    """Return the digest of files: equal only if names, contents and kinds are."""
    lines = [f"{name}\0{ref.digest}\0{ref.kind}\n" for name, ref in sorted(files.items())]
    return content_digest("".join(lines).encode())


@dataclass(frozen=True, slots=True)
class Draft:
    """The files as the next release would have them. `base` is the release it began from."""

    base: int
    files: Files
    edited_by: str
    edited_at: float

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the draft of a record."""
        tree = json.loads(record)
        return cls(tree["base"], _files(tree["files"]), tree["edited_by"], tree["edited_at"])


@dataclass(frozen=True, slots=True)
class Release:
    """An immutable set of files; `number` counts from 1 for each version of a service.

    `digest` is that of its files. `restores` is the release whose files a rollback has taken, 0
    for one made from a draft.
    """

    number: int
    files: Files
    digest: str
    author: str
    comment: str
    released_at: float
    restores: int = 0

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the release of a record."""
        tree = json.loads(record)
        return cls(**{**tree, "files": _files(tree["files"])})


@dataclass(frozen=True, slots=True)
class GrayRule:
    """Which instances see a gray release: those that meet any of its conditions.

    `labels` must all be equal to labels of the instance; `addresses` are instances by address or
    name; `percentage` is the share of the others, 0 to 100, chosen by their name.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    percentage: float = 0.0

    def is_empty(self) -> bool:
        """Return whether no instance can meet it."""
        return not self.labels and not self.addresses and self.percentage <= 0

    def __str__(self) -> str:
        parts = [f"{name}={value}" for name, value in sorted(self.labels.items())]
        text = [",".join(parts)] if parts else []
        text += [",".join(self.addresses)] if self.addresses else []
        text += [f"{self.percentage:g} %"] if self.percentage > 0 else []
        return " or ".join(text)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Return the rule that `asdict` has written."""
        return cls(tree["labels"], tuple(tree["addresses"]), tree["percentage"])


@dataclass(frozen=True, slots=True)
class GrayRelease:
    """A release that only some instances see, since when, and by whom.

    `identity` is the author's, as it is proved.
    """

    release: int
    rule: GrayRule
    author: str
    since: float
    identity: str = ""

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Return the gray release that `asdict` has written."""
        rule = GrayRule.from_json(tree["rule"])
        return cls(tree["release"], rule, tree["author"], tree["since"], tree["identity"])


@dataclass(frozen=True, slots=True)
class PendingRelease:
    """A release that waits for a second person. `rule` is that of a gray one, None for all.

    `identity` is the author's, as it is proved.
    """

    release: int
    rule: GrayRule | None
    author: str
    identity: str = ""

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """Return the pending release that `asdict` has written."""
        rule = GrayRule.from_json(tree["rule"]) if tree["rule"] else None
        return cls(tree["release"], rule, tree["author"], tree["identity"])


@dataclass(frozen=True, slots=True)
class Publication:
    """Which releases of a version are seen: `stable` by all, `gray` by some.

    `stable` is 0 before the first release. `pending` waits for approval. A version that is
    `retired` is seen by nobody new; its subscribers get no files of it. `last_number` is that of
    the newest release; `since` is when `stable` became it.
    """

    stable: int = 0
    last_number: int = 0
    since: float = 0.0
    gray: GrayRelease | None = None
    pending: PendingRelease | None = None
    retired: bool = False

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the publication of a record."""
        tree = json.loads(record)
        gray, pending = tree.pop("gray"), tree.pop("pending")
        return cls(
            **tree,
            gray=GrayRelease.from_json(gray) if gray else None,
            pending=PendingRelease.from_json(pending) if pending else None,
        )


@dataclass(frozen=True, slots=True)
class ProjectSettings:
    """Settings of a project. `approval`: a release needs a second person."""

    approval: bool = False

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the settings of a record."""
        return cls(**json.loads(record))


@dataclass(frozen=True, slots=True)
class ProviderOverride:
    """What an operator has said of a provider: `state` is `offline` or `isolated`.

    An isolated provider is shown to consumers as such, and gets no new requests; one that is
    offline is not shown at all.
    """

    state: str
    author: str
    comment: str
    since: float

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the override of a record."""
        return cls(**json.loads(record))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did: `action` to `subject`, a version, a project or a provider."""

    at: float
    author: str
    action: str
    subject: str
    detail: str = ""

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, record: bytes) -> Self:
        """Return the entry of a record."""
        return cls(**json.loads(record))


def _files(tree: Mapping[str, Any]) -> dict[str, FileRef]:
    return {name: FileRef.from_json(ref) for name, ref in tree.items()}


def _encode(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
