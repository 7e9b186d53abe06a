"""The id of the request that a wrapper works on, for the records that it logs."""

import logging
from contextvars import ContextVar

# Set in the thread, or in the task, that calls the wrapper. Each has its own value.
_sid: ContextVar[str] = ContextVar("ase_sid", default="")


def set_sid(sid: str) -> None:
    """Set the id that records of this thread or task get from here on; of a batch, all its ids."""
    _sid.set(sid)


class SidFilter(logging.Filter):
    """Adds the field `sid` to the records that have none. It rejects no record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field; return True."""
        sid = _sid.get()
        if sid and not hasattr(record, "sid"):
            record.sid = sid
        return True
