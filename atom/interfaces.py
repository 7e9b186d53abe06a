"""What a call to a loader needs to know, as narrow protocols."""

from typing import Protocol


class CallTarget(Protocol):
    """The properties of an instance that a caller needs."""

    @property
    def addr(self) -> str:
        """Return the address, as host:port."""

    @property
    def protocol(self) -> str:
        """Return a key of LOADER_PROTOCOLS."""

    @property
    def epoch(self) -> int:
        """Return the number that identifies the process at the address; 0 if it reports none."""
