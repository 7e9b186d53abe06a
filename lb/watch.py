"""A gateway's side of a hub in another process: follow its frames, through every reconnect."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

from google.protobuf.message import DecodeError

from lb.access import Access
from lb.life import Change
from lb.view import GapError, View
from rpc.status import RpcError
from rpc.streaming import stream_responses
from schemas.wire import Frame, WatchRequest

METHOD = "/ase.v1.LoadBalancer/Watch"

_logger = logging.getLogger("ase.lb")


class Watch:
    """Follows one hub. While the hub is away, the view stays as it was: last known good."""

    def __init__(
        self,
        hub: str,
        view: View,
        *,
        gateway: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: Callable[[Change], None],
        access: Access,
    ) -> None:
        self._hub = hub
        self._view = view
        self._gateway = gateway
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._access = access
        self.synced = False

    async def run(self) -> None:
        """Follow the hub, for ever."""
        pause, lost, told = 0.1, True, False
        while True:
            channel = self._access.channel(self._hub)
            self._view.begin()
            try:
                async for data in stream_responses(
                    channel.stream(METHOD, metadata=self._access.metadata), self._wish()
                ):
                    for change in self._view.apply(Frame.FromString(data), self._clock()):
                        self._on_change(change)
                    if lost:
                        _logger.info("hub followed", extra={"hub": self._hub})
                    self.synced, pause, lost = True, 0.1, False
            except (RpcError, GapError, DecodeError) as error:
                if not lost or not told:
                    facts = {"hub": self._hub, "reason": str(error)}
                    _logger.warning("hub lost; trying on", extra=facts)
                lost = told = True
            except Exception:
                _logger.exception("watch failed by a fault of ours; it begins anew")
            finally:
                self._view.lost()
                await channel.close()
            pause = min(pause * 2, 1.0)
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))

    async def sweep(self, period: float = 0.02) -> None:
        """Let time pass over the view: suspects of a hub that was lost are forgotten, for ever."""
        then = self._clock()
        while True:
            await asyncio.sleep(period)
            now = self._clock()
            self._view.excuse(now - then - period)
            then = now
            try:
                for change in self._view.expire(now):
                    self._on_change(change)
            except Exception:
                _logger.exception("sweep failed by a fault of ours; it goes on")

    async def _wish(self) -> AsyncIterator[bytes]:
        yield WatchRequest(gateway=self._gateway).SerializeToString()
