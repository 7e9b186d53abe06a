"""Large requests, as files in memory that two processes share instead of a socket."""

import os
from itertools import count
from pathlib import Path
from typing import Final

METADATA_KEY: Final = "ase-shared-input"
# Metadata of a request to a process: the seconds until its deadline.
TIMEOUT_KEY: Final = "ase-timeout"
# Smaller requests cost less processor time through the socket.
MIN_BYTES: Final = 192 * 1024
_MAX_KEPT_BYTES: Final = 4 * 1024 * 1024


class SharedInputs:
    """A folder of files, each with one large request at a time; on tmpfs, the files are memory.

    One process writes a request and another one reads it, each with one copy. The first one then
    releases the file for the next request: memory that is in use already costs a third of the time.
    A file of more than 4 MiB is removed instead. A full folder raises OSError (a mapping would
    raise SIGBUS).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()
        self._free_files: list[str] = []

    def write(self, data: bytes) -> str:
        """Write a request and return its reference, FILE-SIZE. Raises OSError; nothing is left."""
        file = self._free_files.pop() if self._free_files else str(next(self._numbers))
        try:
            descriptor = os.open(
                self._folder / file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError(f"{self._folder} is full")
            finally:
                os.close(descriptor)
        except OSError:
            self._remove(file)
            raise
        return f"{file}-{len(data)}"

    def read(self, reference: str) -> bytes:
        """Return a request. Raises OSError, ValueError if `reference` is none or its file short."""
        file, _, size = reference.partition("-")
        if not all(part.isascii() and part.isdecimal() for part in (file, size)):
            raise ValueError(f"{reference[:32]!r} is no shared input")
        with (self._folder / file).open("rb", buffering=0) as stream:
            data = stream.read(int(size))
        if len(data) != int(size):
            raise ValueError(f"{reference} has only {len(data)} bytes")
        return data

    def release(self, reference: str, *, was_read: bool) -> None:
        """Free the file of a request.

        Unless its reader has certainly read it, the file is removed: the reader may still come, and
        must not find another request.
        """
        file, _, size = reference.partition("-")
        if not was_read or int(size) > _MAX_KEPT_BYTES:
            self._remove(file)
        else:
            self._free_files.append(file)

    def _remove(self, file: str) -> None:
        (self._folder / file).unlink(missing_ok=True)
