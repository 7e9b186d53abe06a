"""Requests to reload the config, by a signal or by an operator who waits for the outcome."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What came of a reload.

    `outcome` is "done" if contracts or reloadable options changed, "same" if nothing did, and
    "refused" with a `reason` if a file is invalid or cannot be read. `generation` counts the
    configs in effect, from 1. `added`, `changed` and `removed` are ids of services;
    `restart_required` are changed options that take effect at the next start. `certificate` is why
    that was refused, whatever became of the config, or empty.
    """

    outcome: str
    generation: int
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    restart_required: list[str] = field(default_factory=list)
    reason: str = ""
    certificate: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return {name: getattr(self, name) for name in self.__slots__}


class ReloadRequests:
    """What a reloader is asked for. `generation` is that of the config in effect.

    A request that comes while a reload runs is served by the next one. `_waiting` get the outcome
    of the reload that takes them.
    """

    def __init__(self) -> None:
        self.generation = 1
        self._requested = asyncio.Event()
        self._waiting: list[asyncio.Future[ReloadOutcome]] = []

    def request(self) -> None:
        """Ask for a reload."""
        self._requested.set()

    async def reload(self) -> ReloadOutcome:
        """Ask for a reload and return its outcome."""
        future: asyncio.Future[ReloadOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._requested.set()
        return await future

    async def take(self, timeout_s: float) -> "RequestedReload":
        """Return what is asked for, after a request or `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._requested.wait()
        is_requested = self._requested.is_set()
        self._requested.clear()
        waiting, self._waiting = self._waiting, []
        return RequestedReload(is_requested, waiting)


@dataclass(frozen=True, slots=True)
class RequestedReload:
    """The requests that one reload serves; none if its time has come without one."""

    is_requested: bool
    waiting: list["asyncio.Future[ReloadOutcome]"]

    def finish(self, outcome: ReloadOutcome) -> None:
        """Give the outcome to those that wait for it."""
        for future in self.waiting:
            if not future.done():
                future.set_result(outcome)
