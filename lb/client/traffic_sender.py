"""Keeps the traffic rules of one owner at every hub: a hub that restarts has forgotten them."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from google.protobuf.message import DecodeError

from lb.credentials import HubCredentials
from lb.endpoints.traffic import TrafficRules
from rpc.client import Channel
from rpc.status import RpcError
from schemas.wire import TrafficReply

METHOD: Final = "/ase.v1.LoadBalancer/SetTraffic"

_logger = logging.getLogger("ase.lb")

_INTERVAL_S: Final = 1.0
_TIMEOUT_S: Final = 2.0


class TrafficSender:
    """Sends rules to `hubs` when they change, and each second while there are any.

    `get_rules` returns the rules of now with the revision 0, or None if another process sends them.
    `wall_ms` returns the Unix time in milliseconds: revisions increase with it, so that those of
    another process of the same owner follow them. `_acknowledged` has the rules that each hub has
    acknowledged, `_problems` why the others have not.
    """

    def __init__(
        self,
        hubs: Sequence[str],
        credentials: HubCredentials,
        get_rules: Callable[[], TrafficRules | None],
        wall_ms: Callable[[], int],
    ) -> None:
        self._hubs = tuple(dict.fromkeys(hubs))
        self._credentials = credentials
        self._get_rules = get_rules
        self._wall_ms = wall_ms
        self._rules = TrafficRules("", 0, {})
        self._channels: dict[str, Channel] = {}
        self._acknowledged: dict[str, TrafficRules] = {}
        self._problems: dict[str, str] = {}
        self._is_changed = asyncio.Event()

    def notify(self) -> None:
        """Note that there may be other rules."""
        self._is_changed.set()

    async def run(self) -> None:
        """Send the rules, forever."""
        try:
            while True:
                await self._send(is_repeated=True)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_INTERVAL_S):
                        await self._is_changed.wait()
                self._is_changed.clear()
        finally:
            await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def settle(self) -> str:
        """Send the rules of now where they are not known yet; return why no hub has them, or ""."""
        await self._send(is_repeated=False)
        if self._get_rules() is None:
            return ""
        if self._rules in self._acknowledged.values():
            return ""
        problems = [f"hub {hub}: {problem}" for hub, problem in self._problems.items()]
        return "; ".join(problems) or "hubs have other rules of this owner"

    async def _send(self, *, is_repeated: bool) -> None:
        rules = self._get_rules()
        if rules is None:
            self._acknowledged.clear()  # others may set other rules meanwhile
            return
        if (rules.owner, rules.shares) != (self._rules.owner, self._rules.shares):
            self._rules = replace(rules, revision=max(self._rules.revision + 1, self._wall_ms()))
        is_repeated = is_repeated and bool(self._rules.shares)
        sent = self._rules
        await asyncio.gather(
            *(
                self._send_to(hub, sent)
                for hub in self._hubs
                if is_repeated or self._acknowledged.get(hub) != sent
            )
        )

    async def _send_to(self, hub: str, rules: TrafficRules) -> None:
        """Send rules to a hub, with a higher revision if it has others of a later one."""
        try:
            revision = await self._call(hub, rules)
            if revision > rules.revision and self._rules is rules:
                self._rules = rules = replace(rules, revision=revision + 1)
                revision = await self._call(hub, rules)
        except (RpcError, DecodeError, OSError, ValueError) as error:
            self._acknowledged.pop(hub, None)
            if hub not in self._problems:
                fields = {"hub": hub, "reason": str(error)}
                _logger.warning("traffic shares not set; trying on", extra=fields)
            self._problems[hub] = str(error)
            return
        if self._problems.pop(hub, None) is not None:
            _logger.info("traffic shares set again", extra={"hub": hub})
        if revision == rules.revision:
            self._acknowledged[hub] = rules

    async def _call(self, hub: str, rules: TrafficRules) -> int:
        """Return the revision that a hub has then. Raises RpcError, DecodeError, OSError."""
        channel = self._channels.get(hub)
        if channel is None:
            channel = self._channels[hub] = self._credentials.open_channel(hub)
        reply = await channel.unary(
            METHOD,
            rules.to_message().SerializeToString(),
            metadata=self._credentials.metadata,
            timeout=_TIMEOUT_S,
        )
        return int(TrafficReply.FromString(reply).revision)
