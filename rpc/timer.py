"""What a part needs of an event loop to be called later. Pure: the loop is a parameter."""

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """The handle of a callback that is scheduled."""

    def cancel(self) -> object:
        """Cancel the callback."""


# Schedules a callback after a number of seconds, as `asyncio.AbstractEventLoop.call_later` does.
CallLater = Callable[[float, Callable[[], None]], Timer]
