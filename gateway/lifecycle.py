"""How a gateway process begins and ends: by signals, and by a process that replaces it."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replace_fields
from enum import Enum
from typing import Any

from gateway.handover import (
    KnownInstance,
    Predecessor,
    Replaceable,
    ReplaceError,
    StartSuccessor,
    replace,
)
from gateway.request.shutdown import Shutdown
from gateway.services.reload_requests import ReloadRequests

_logger = logging.getLogger("ase.gateway")


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """What a process may do about its end.

    `start_successor` starts a process that replaces this one; `refusal` is why it may not, or
    empty. `is_worker`: the process that started this one replaces it. `notify` is called with
    changes of the state, as in sd_notify(3).
    """

    start_successor: StartSuccessor
    refusal: str
    is_worker: bool
    notify: Callable[[str], None]


class UpgradeState(Enum):
    """What comes of an attempt to replace a process, as long as it serves."""

    NONE = "none"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The latest attempt to replace this process.

    `attempt` counts them; `reason` is that of a failure.
    """

    attempt: int = 0
    state: UpgradeState = UpgradeState.NONE
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the members by name."""
        return {"attempt": self.attempt, "state": self.state.value, "reason": self.reason}


class Lifecycle:
    """The life of one gateway process. Must be created in a running event loop.

    `shutdown` completes when the process is to end. `reload_requests` are those to read the config
    again. `predecessor` is the process that this one replaces, if there is one; a worker of such a
    process has `expected_instances`, which it is to know before it serves. SIGUSR2 starts a process
    that replaces this one; `upgrade` is what came of the latest.
    """

    def __init__(
        self,
        stop: "asyncio.Future[bool]",
        settings: LifecycleSettings,
        predecessor: Predecessor | None = None,
        expected_instances: Sequence[KnownInstance] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.shutdown: asyncio.Future[Shutdown] = loop.create_future()
        self.predecessor = predecessor
        self.expected_instances = expected_instances
        self.reload_requests = ReloadRequests()
        self.upgrade = Upgrade()
        self._settings = settings
        self._process: Replaceable | None = None
        self._upgrade_task: asyncio.Task[None] | None = None
        stop.add_done_callback(self._on_stop)
        loop.add_signal_handler(signal.SIGUSR2, self._on_upgrade_signal)

    def begin(self, process: Replaceable) -> None:
        """Note that the process serves; from now on it can be replaced."""
        self._process = process
        self._settings.notify("READY=1")

    def _on_stop(self, stop: "asyncio.Future[bool]") -> None:
        if not stop.cancelled():
            if self._upgrade_task is not None:
                self._upgrade_task.cancel()
            self._end(Shutdown.GRACEFUL if stop.result() else Shutdown.IMMEDIATE)

    def _end(self, shutdown: Shutdown) -> None:
        if not self.shutdown.done():
            self.shutdown.set_result(shutdown)

    def _on_upgrade_signal(self) -> None:
        if self._settings.is_worker:
            self._end(Shutdown.REPLACED)
            return
        is_running = self.upgrade.state is UpgradeState.RUNNING
        if refusal := self._find_refusal():
            _logger.error("upgrade refused", extra={"reason": refusal})
            if not is_running:
                self.upgrade = Upgrade(self.upgrade.attempt + 1, UpgradeState.FAILED, refusal)
        elif self._process is not None:
            self.upgrade = Upgrade(self.upgrade.attempt + 1, UpgradeState.RUNNING)
            self._upgrade_task = asyncio.create_task(self._replace(self._process))

    def _find_refusal(self) -> str:
        """Return why this process cannot be replaced now, or ""."""
        if self._process is None:
            return "it does not serve yet"
        if self.shutdown.done():
            return "it stops"
        if self.upgrade.state is UpgradeState.RUNNING:
            return "an upgrade is in progress"
        return self._settings.refusal or self._process.find_obstacle()

    async def _replace(self, process: Replaceable) -> None:
        """Replace this process by a new one; if that fails, go on."""
        try:
            self._successor = await replace(process, self._settings.start_successor)
        except ReplaceError as error:
            reason = str(error)
            _logger.error("upgrade failed; this process serves on", extra={"reason": reason})  # noqa: TRY400
            self.upgrade = replace_fields(self.upgrade, state=UpgradeState.FAILED, reason=reason)
            return
        except Exception as error:
            _logger.exception("upgrade failed by a fault of ours; this process serves on")
            self.upgrade = replace_fields(
                self.upgrade, state=UpgradeState.FAILED, reason=repr(error)
            )
            return
        self._settings.notify(f"MAINPID={self._successor.pid}\nWATCHDOG=1")
        self._end(Shutdown.REPLACED)
