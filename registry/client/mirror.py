"""The last good state on disk: one folder for each generation, and a link to the one in use.

A process starts from it while no registry answers. A generation appears when it is whole, and is
changed for another by one rename (https://man7.org/linux/man-pages/man2/rename.2.html).
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry.names import ServiceVersion, check_file_name
from registry.records import content_digest

_DESCRIPTION: Final = ".generation.json"
_CURRENT: Final = "current"
# Marks in the folder of a generation: a process began to run with it; it runs.
_TRIED, _ACCEPTED = ".tried", ".accepted"
_KEPT: Final = 3  # generations
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
SCHEMA_FOLDER: Final = "schemas"


class MirrorError(Exception):
    """A generation cannot be written: two files of one name, or the disk; `str()` says which."""


@dataclass(frozen=True, slots=True)
class MirrorFile:
    """A file of a generation: where it goes in the folder, and its content's digest."""

    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class MirrorGeneration:
    """A generation as a client has it: its digest, its files, and the releases by version.

    `store` is that of the registry.
    """

    digest: str
    revision: int
    releases: Mapping[str, int]
    files: tuple[MirrorFile, ...]
    store: str = ""


def place_file(own: ServiceVersion, name: ServiceVersion, file: str) -> str:
    """Return the path of a file in the folder of a generation.

    The files of our own version keep their names; the API schemas of others are below `schemas`,
    with the name of their service. Names have no `~`, so that no two files get the same path.
    """
    check_file_name(file)
    if name == own:
        return file
    return f"{SCHEMA_FOLDER}/{name.service}~{file.replace('/', '~')}"


class Mirror:
    """The folder of the last generations.

    Several processes of one host may share it, if they follow the same versions. A process holds a
    lock of the folder of a generation that it tries, until it is accepted or given up; the lock
    ends with the process (https://man7.org/linux/man-pages/man2/flock.2.html).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locked_folder: Path | None = None
        self._lock = -1  # a file descriptor of the folder `_locked_folder`

    @property
    def current(self) -> Path:
        """The link to the generation in use; its files are what a process reads."""
        return self._folder / _CURRENT

    def read(self) -> MirrorGeneration | None:
        """Return the generation in use; None if there is none that can be read."""
        try:
            tree: dict[str, Any] = json.loads((self.current / _DESCRIPTION).read_bytes())
            files = tuple(MirrorFile(path, digest) for path, digest in tree["files"].items())
            return MirrorGeneration(
                tree["digest"], tree["revision"], tree["releases"], files, tree["store"]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def content(self, digest: str) -> bytes | None:
        """Return a content that a generation on the disk has; None if none has it undamaged."""
        for folder in self._generations():
            try:
                files = dict(json.loads((folder / _DESCRIPTION).read_bytes())["files"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            for path, file_digest in files.items():
                if file_digest == digest:
                    content = _read(folder / path)
                    if content is not None and content_digest(content) == digest:
                        return content
        return None

    def write(self, generation: MirrorGeneration, contents: Mapping[str, bytes]) -> Path:
        """Write the folder of a generation, if there is none, and return it.

        `contents` are by digest. It is not in use before `use`. Raises MirrorError.
        """
        for digest in (generation.digest, *(file.digest for file in generation.files)):
            if not _DIGEST.fullmatch(digest):
                raise MirrorError(f"{digest[:80]!r} is no digest")
        folder = self.folder_of(generation)
        if (folder / _DESCRIPTION).is_file():
            with contextlib.suppress(OSError):
                os.utime(folder)  # another process does not remove what is new
            return folder
        paths = [file.path for file in generation.files]
        twice = {path for path in paths if paths.count(path) > 1}
        if twice:
            raise MirrorError(f"two files are {min(twice)}")
        part = self._folder / f".{generation.digest[:32]}.{secrets.token_hex(4)}.part"
        try:
            shutil.rmtree(part, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (part / SCHEMA_FOLDER).mkdir(parents=True)
            for file in generation.files:
                path = part / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(0o600)  # it may be a file of keys
                path.write_bytes(contents[file.digest])
            description = {
                "digest": generation.digest,
                "revision": generation.revision,
                "releases": dict(generation.releases),
                "store": generation.store,
                "files": {file.path: file.digest for file in generation.files},
            }
            (part / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")
            _sync(part)
            try:
                part.rename(folder)
            except OSError:
                if not (folder / _DESCRIPTION).is_file():  # else another process was faster
                    raise
        except OSError as error:
            raise MirrorError(f"{part}: {error.strerror}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return folder

    def folder_of(self, generation: MirrorGeneration) -> Path:
        """Return the folder of a generation."""
        return self._folder / generation.digest[:32]

    def use(self, folder: Path) -> None:
        """Make the folder of a generation the one in use. Raises MirrorError."""
        self._hold(folder)
        self._point_to(folder)

    def _point_to(self, folder: Path) -> None:
        link = self._folder / f".{_CURRENT}.{secrets.token_hex(4)}"
        try:
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)
            link.replace(self.current)
        except OSError as error:
            raise MirrorError(f"{self.current}: {error.strerror}") from error

    def give_up(self, folder: Path, previous: Path | None) -> None:
        """Return from a generation to the one that was in use before it, None without one.

        If another process has another one in use meanwhile, that stays. Raises MirrorError.
        """
        self._release()
        if self.in_use() != folder:
            return
        if previous is not None and previous.is_dir():
            self._point_to(previous)
        else:
            self.current.unlink(missing_ok=True)

    def accept(self, folder: Path) -> None:
        """Note that a process runs with a generation: a later start may rely on it."""
        with contextlib.suppress(OSError):
            (folder / _ACCEPTED).touch()
        self._release()

    def is_doubtful(self, folder: Path) -> bool:
        """Return whether a generation was tried, by processes that ended before they ran."""
        is_held_here = self._locked_folder == folder
        if is_held_here:
            self._release()
        try:
            return (folder / _TRIED).exists() and self._is_abandoned(folder)
        finally:
            if is_held_here:
                self._hold(folder)

    def has_accepted(self) -> bool:
        """Return whether there is a generation that a process has run with."""
        return any((folder / _ACCEPTED).exists() for folder in self._generations())

    def mark_tried(self) -> None:
        """Note that this process begins to run with the generation in use."""
        folder = self.in_use()
        if folder is None or (folder / _ACCEPTED).exists():
            return
        self._hold(folder)
        with contextlib.suppress(OSError):
            (folder / _TRIED).touch()

    def recover(self) -> None:
        """Return to the newest accepted generation if the one in use never came to run.

        Its process ended while it was checked, or at its start. Raises MirrorError.
        """
        in_use = self.in_use()
        if in_use is not None and self._is_abandoned(in_use):
            accepted = [f for f in self._generations() if (f / _ACCEPTED).exists()]
            if accepted:
                self._point_to(accepted[0])

    def in_use(self) -> Path | None:
        """Return the folder of the generation in use, None without one."""
        try:
            return self._folder / self.current.readlink()
        except OSError:
            return None

    def prune(self) -> None:
        """Remove the folders of old generations, except the newest, and one that is accepted."""
        in_use = self.in_use()
        old = [f for f in self._generations() if in_use is None or f.name != in_use.name]
        accepted = next((f for f in old if (f / _ACCEPTED).exists()), None)
        for folder in old[_KEPT - 1 :]:
            if folder != accepted:
                shutil.rmtree(folder, ignore_errors=True)

    def _is_abandoned(self, folder: Path) -> bool:
        """Return whether no process runs, or tries to run, with a generation."""
        if (folder / _ACCEPTED).exists():
            return False
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _hold(self, folder: Path) -> None:
        """Lock a generation, as one that this process tries."""
        self._release()
        with contextlib.suppress(OSError):
            self._lock = os.open(folder, os.O_RDONLY)
            self._locked_folder = folder
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def _release(self) -> None:
        if self._locked_folder is not None:
            os.close(self._lock)
            self._locked_folder = None

    def _generations(self) -> list[Path]:
        """Return the folders of generations, the newest first."""
        try:
            folders = [
                path
                for path in self._folder.iterdir()
                if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
            ]
            return sorted(folders, key=lambda path: -path.stat().st_mtime_ns)
        except OSError:
            return []


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _sync(folder: Path) -> None:
    """Have the files of a folder on the disk before it gets its name. Raises OSError."""
    for path in [folder, *folder.rglob("*")]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
