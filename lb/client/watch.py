"""A gateway's client of a hub in another process: applies its frames and reconnects."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from random import Random

from google.protobuf.message import DecodeError

from lb.client.view import FrameGapError, HubView
from lb.credentials import HubCredentials
from lb.endpoints.lifecycle import StateChange
from rpc.backoff import Backoff
from rpc.message_stream import stream_responses
from rpc.status import RpcError
from schemas.wire import Frame, WatchRequest

METHOD = "/ase.v1.LoadBalancer/Watch"

_logger = logging.getLogger("ase.lb")


_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.15, 0.8


class Watch:
    """Follows one hub and applies its frames to a view.

    While the hub is unreachable, the view keeps the last known instances. `has_synced` is True as
    soon
    as one frame was applied, and stays True after that. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        hub: str,
        view: HubView,
        *,
        gateway: str,
        clock: Callable[[], float],
        rng: Random,
        on_change: Callable[[StateChange], None],
        credentials: HubCredentials,
    ) -> None:
        self._hub = hub
        self._view = view
        self._gateway = gateway
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._credentials = credentials
        self.has_synced = False

    async def run(self) -> None:
        """Follow the hub forever; reconnect with exponential back-off, after at most 1 s.

        Every new stream starts with a snapshot.
        """
        backoff = Backoff(self._rng, _RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
        is_disconnected, is_loss_logged = True, False
        while True:
            channel = self._credentials.open_channel(self._hub)
            self._view.expect_snapshot()
            try:
                async for data in stream_responses(
                    channel.stream(METHOD, metadata=self._credentials.metadata), self._requests()
                ):
                    self._publish(self._view.apply(Frame.FromString(data), self._clock()))
                    if is_disconnected:
                        _logger.info("hub followed", extra={"hub": self._hub})
                    backoff.reset()
                    self.has_synced, is_disconnected = True, False
            except (RpcError, FrameGapError, DecodeError) as error:
                if not is_disconnected or not is_loss_logged:
                    log_fields = {"hub": self._hub, "reason": str(error)}
                    _logger.warning("hub lost; trying on", extra=log_fields)
                is_disconnected = is_loss_logged = True
            except Exception:
                _logger.exception("watch failed by a fault of ours; it begins anew")
            finally:
                self._view.mark_hub_lost()
                await channel.close()
            await asyncio.sleep(backoff.next_delay())

    def _publish(self, changes: list[StateChange]) -> None:
        for change in changes:
            self._on_change(change)

    async def _requests(self) -> AsyncIterator[bytes]:
        yield WatchRequest(gateway=self._gateway).SerializeToString()
