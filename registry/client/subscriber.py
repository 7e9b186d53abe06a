"""Follows the registry: takes generations, has them applied, and answers each."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from google.protobuf.message import DecodeError

from registry.client.connection import RegistryServers
from registry.client.mirror import (
    Mirror,
    MirrorError,
    MirrorFile,
    MirrorGeneration,
    place_file,
)
from registry.feedback import Outcome
from registry.generation import Subscription
from registry.grpc_methods import FETCH, SUBSCRIBE
from registry.names import InvalidNameError, ServiceVersion
from registry.records import content_digest
from rpc.backoff import Backoff
from rpc.client import Channel
from rpc.message_stream import stream_responses
from rpc.status import RpcError
from schemas import wire

_logger = logging.getLogger("ase.registry")

_HEARTBEAT_S: Final = 10.0
_RETRY_DELAY_S, _MAX_RETRY_DELAY_S = 0.2, 5.0
_RETRY_FAILED_S, _MAX_RETRY_FAILED_S = 2.0, 60.0
_FETCH_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What became of a generation, and why, for `asectl config status`."""

    outcome: Outcome
    reason: str = ""


# Applies the files in a folder, which is in use already; the folder before is used again if it
# refuses them.
Apply = Callable[[Path], Awaitable[ApplyResult]]


class RegistrySubscriber:
    """Follows the versions of one instance.

    `own` is its own version. `applied` is the generation that the process runs with, which may not
    be the one in use if several share the `mirror`. `apply` is called with each new generation, one
    at a time; the newest is taken where several have come meanwhile.

    `has_answered` is set when a generation was taken or refused; `last_result` says which.
    `last_problem` is why the last connection ended.
    """

    def __init__(
        self,
        servers: RegistryServers,
        subscription: Subscription,
        own: ServiceVersion,
        mirror: Mirror,
        rng: Random,
        applied: MirrorGeneration | None,
    ) -> None:
        self.is_connected = False
        self.has_answered = asyncio.Event()
        self.last_result = ApplyResult(Outcome.WAITING)
        self.last_problem = ""
        self._servers = servers
        self._subscription = subscription
        self._own = own
        self._mirror = mirror
        self._rng = rng
        self._apply: Apply | None = None
        self._applied = applied
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()

    def start_applying(self, apply: Apply) -> None:
        """Have later generations applied; before, one is only written and used."""
        self._apply = apply

    async def run(self) -> None:
        """Follow the registries forever; the next one is tried when one is lost."""
        backoff = Backoff(self._rng, _RETRY_DELAY_S, _MAX_RETRY_DELAY_S)
        attempt, is_loss_logged = 0, False
        while True:
            address = self._servers.address(attempt)
            try:
                channel = self._servers.open_channel(attempt)
                try:
                    await self._follow(channel, address)
                finally:
                    await channel.close()
                reason = "it ended the stream"
            except (RpcError, DecodeError, OSError) as error:
                reason = str(error)
            self.last_problem = reason
            if self.is_connected:
                backoff.reset()
                is_loss_logged = False
            if not is_loss_logged:
                fields = {"registry": address, "reason": reason}
                _logger.warning("registry lost; the last state stays", extra=fields)
            self.is_connected, is_loss_logged = False, True
            attempt += 1
            await asyncio.sleep(backoff.next_delay())

    async def _requests(self) -> AsyncIterator[bytes]:
        subscription, applied = self._subscription, self._applied
        first = wire.SubscriptionRequest(
            instance=subscription.instance,
            address=subscription.address,
            labels=dict(subscription.labels),
            digest=applied.digest if applied is not None else "",
            running=dict(applied.releases) if applied is not None else {},
            store=applied.store if applied is not None else "",
        )
        for pattern in subscription.patterns:
            first.follow.add(version=str(pattern), schemas_only=pattern.schemas_only)
        self._answers = asyncio.Queue()
        yield wire.SubscribeRequest(subscription=first).SerializeToString()
        while True:
            try:
                async with asyncio.timeout(_HEARTBEAT_S):
                    answer = await self._answers.get()
            except TimeoutError:
                answer = b""
            yield answer

    async def _follow(self, channel: Channel, address: str) -> None:
        """Take the generations of one stream; one that failed is tried again until the next comes.

        Raises RpcError, DecodeError.
        """
        stream = channel.stream(SUBSCRIBE, metadata=self._servers.metadata)
        updates = stream_responses(stream, self._requests())
        upcoming = asyncio.ensure_future(anext(updates, None))
        retry = Backoff(self._rng, _RETRY_FAILED_S, _MAX_RETRY_FAILED_S)
        failed: wire.GenerationUpdate | None = None
        try:
            while True:
                delay = retry.next_delay() if failed is not None else None
                done, _ = await asyncio.wait({upcoming}, timeout=delay)
                if done:
                    data = upcoming.result()
                    if data is None:
                        return
                    update = wire.GenerationUpdate.FromString(data)
                    upcoming = asyncio.ensure_future(anext(updates, None))
                    retry.reset()
                    if not self.is_connected:
                        _logger.info("registry followed", extra={"registry": address})
                    self.is_connected = True
                else:
                    update = failed or wire.GenerationUpdate()
                outcome = await self._take(channel, update)
                failed = update if outcome is Outcome.FAILED else None
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
            await updates.aclose()

    async def _take(self, channel: Channel, update: wire.GenerationUpdate) -> Outcome:
        """Write, use and apply a generation, and answer it; return what became of it."""
        if self._applied is not None and self._applied.digest == update.digest:
            self.has_answered.set()
            return Outcome.APPLIED
        try:
            result = await self._use(channel, update)
        except (MirrorError, InvalidNameError, RpcError) as error:
            result = ApplyResult(Outcome.FAILED, str(error))
        if result.outcome is not Outcome.APPLIED and result != self.last_result:
            fields = {"revision": update.revision, "reason": result.reason}
            _logger.error("generation %s; the last one stays", result.outcome.value, extra=fields)
        answer = wire.Acknowledgement(
            digest=update.digest, outcome=result.outcome.value, reason=result.reason
        )
        self.last_result = result
        self._answers.put_nowait(wire.SubscribeRequest(acknowledgement=answer).SerializeToString())
        self.has_answered.set()
        return result.outcome

    async def _use(self, channel: Channel, update: wire.GenerationUpdate) -> ApplyResult:
        releases = {version.version: version.release for version in update.versions}
        files = [
            MirrorFile(
                place_file(self._own, ServiceVersion.parse(version.version), file.name),
                file.digest,
            )
            for version in update.versions
            for file in version.files
        ]
        generation = MirrorGeneration(
            update.digest, update.revision, releases, tuple(files), update.store
        )
        self._check_store(generation)
        contents = await self._contents(channel, generation, dict(update.contents))
        folder = await asyncio.to_thread(self._mirror.write, generation, contents)
        previous = self._mirror.folder_of(self._applied) if self._applied is not None else None
        is_applied = False
        try:
            self._mirror.use(folder)
            result = ApplyResult(Outcome.APPLIED)
            if self._apply is not None:
                result = await self._apply(folder)
            is_applied = result.outcome is Outcome.APPLIED
        finally:
            if is_applied:
                self._applied = generation
            else:
                self._mirror.give_up(folder, previous)
        await asyncio.to_thread(self._mirror.prune)
        return result

    def _check_store(self, generation: MirrorGeneration) -> None:
        """Raise MirrorError for a registry that lost its store: it would take all away."""
        applied = self._applied
        if applied is not None and applied.store and generation.store != applied.store:
            raise MirrorError(
                "the registry has another store than before; if that is right, remove the folder "
                f"{self._mirror.current.parent} and start this process again"
            )

    async def _contents(
        self, channel: Channel, generation: MirrorGeneration, contents: dict[str, bytes]
    ) -> dict[str, bytes]:
        """Return all contents of a generation, by digest: sent, on the disk, or fetched."""
        missing = []
        for digest in {file.digest for file in generation.files} - {*contents}:
            content = await asyncio.to_thread(self._mirror.content, digest)
            if content is not None:
                contents[digest] = content
            else:
                missing.append(digest)
        while missing:
            request = wire.FetchRequest(digests=missing).SerializeToString()
            data = await channel.unary(
                FETCH, request, timeout=_FETCH_TIMEOUT_S, metadata=self._servers.metadata
            )
            fetched = wire.FetchReply.FromString(data).contents
            if not fetched:
                raise MirrorError("the registry lacks contents of this generation")
            contents |= fetched
            missing = [digest for digest in missing if digest not in fetched]
        for digest, content in contents.items():
            if content_digest(content) != digest:
                raise MirrorError(f"the content {digest[:12]} is damaged")
        return contents
