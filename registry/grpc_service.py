"""The gRPC service `registry.v1.Registry`: what processes follow, and register as."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import isfinite
from typing import Final

from registry.access import Actor, Authorizer, Role
from registry.discovery import Provider, visible_providers
from registry.errors import Refusal, RegistryError
from registry.feedback import Outcome
from registry.generation import Generation, Subscription
from registry.grpc_methods import DISCOVER, FETCH, PROVIDE, SUBSCRIBE
from registry.names import InvalidNameError, ServiceVersion, VersionPattern
from registry.providers import Present, ProviderLeases
from registry.service import Registry
from registry.store.interfaces import StoreError
from registry.subscribers import ConnectedInstance, Subscribers
from rpc.bounded_cache import BoundedCache
from rpc.handler_tasks import CallContext, StreamHandler, UnaryHandler
from rpc.server import first_request
from rpc.status import RpcError, Status
from schemas import wire

# Larger contents are fetched by those that lack them.
_MAX_INLINE_BYTES: Final = 64 * 1024
_MAX_INLINE_SUM: Final = 4 * 1024 * 1024
_MAX_FETCHED_BYTES: Final = 8 * 1024 * 1024
_MAX_CACHED_MESSAGES: Final = 16
_RECHECK_S: Final = 5.0
_SILENCE_S: Final = 30.0  # without a message a subscriber is gone
_MIN_LEASE_S, _MAX_LEASE_S = 0.5, 60.0
_WARM_UP_S: Final = 5.0
_MAX_LABELS: Final = 64
_MAX_TEXT: Final = 256
_MAX_RUNNING: Final = 10_000
_MAX_REASON: Final = 2000

_STATUSES: Final = {
    Refusal.INVALID: Status.INVALID_ARGUMENT,
    Refusal.TOO_LARGE: Status.RESOURCE_EXHAUSTED,
    Refusal.NOT_FOUND: Status.NOT_FOUND,
    Refusal.CONFLICT: Status.ABORTED,
    Refusal.PRECONDITION: Status.FAILED_PRECONDITION,
    Refusal.BREAKING: Status.FAILED_PRECONDITION,
    Refusal.FORBIDDEN: Status.PERMISSION_DENIED,
    Refusal.UNAUTHENTICATED: Status.UNAUTHENTICATED,
    Refusal.UNAVAILABLE: Status.UNAVAILABLE,
}


class RegistryService:
    """The handlers of the service. `clock` returns the Unix time."""

    def __init__(
        self,
        registry: Registry,
        subscribers: Subscribers,
        present: Present,
        leases: ProviderLeases,
        authorizer: Authorizer,
        clock: Callable[[], float],
        recheck_s: float = _RECHECK_S,
    ) -> None:
        self._registry = registry
        self._subscribers = subscribers
        self._present = present
        self._leases = leases
        self._authorizer = authorizer
        self._clock = clock
        self._messages: BoundedCache[tuple[str, frozenset[str]], bytes] = BoundedCache(
            _MAX_CACHED_MESSAGES
        )
        self._started_at = time.monotonic()
        # A stream is ended when its key is revoked, at the latest after `recheck_s` seconds.
        self._recheck_s = recheck_s

    def stream_methods(self) -> Mapping[str, StreamHandler]:
        """Return the streaming handlers by method path."""
        return {
            SUBSCRIBE: self._subscribe,
            PROVIDE: self._provide,
            DISCOVER: self._discover,
        }

    def unary_methods(self) -> Mapping[str, UnaryHandler]:
        """Return the unary handlers by method path."""
        return {FETCH: self._fetch}

    async def _subscribe(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        first = wire.SubscribeRequest.FromString(await first_request(requests)).subscription
        with _as_status():
            subscription = _read_subscription(first)
            self._require_reader(context, {pattern.project for pattern in subscription.patterns})
        # Numbers of another store say nothing here.
        is_ours = first.store == self._registry.store_id
        running = dict(first.running) if is_ours else {}
        subscriber = self._subscribers.add(subscription, first.digest, running)
        answers = asyncio.ensure_future(self._read_answers(subscriber, requests))
        answers.add_done_callback(lambda _: subscriber.changed.set())
        sent: set[str] = set()
        sent_digest = None
        try:
            while not answers.done():
                if subscriber.is_replaced:
                    raise RpcError(Status.ABORTED, "an instance of this name has connected since")
                generation = subscriber.generation
                subscriber.changed.clear()
                if generation is not None and generation.digest != sent_digest:
                    is_known = sent_digest is None and generation.digest == first.digest
                    sent_digest = generation.digest
                    with _as_status():
                        message = await self._encode(generation, sent, is_known=is_known)
                    yield message
                await self._wait(subscriber.changed)
                with _as_status():
                    self._require_reader(context, {p.project for p in subscription.patterns})
            answers.result()
        finally:
            answers.cancel()
            self._subscribers.remove(subscriber)

    async def _read_answers(
        self, subscriber: ConnectedInstance, requests: AsyncIterator[bytes]
    ) -> None:
        """Take the answers of an instance until it ends its half, or is silent for too long."""
        while True:
            try:
                async with asyncio.timeout(_SILENCE_S):
                    request = await anext(aiter(requests), None)
            except TimeoutError:
                raise RpcError(Status.DEADLINE_EXCEEDED, "no sign of life") from None
            if request is None:
                return
            message = wire.SubscribeRequest.FromString(request)
            if message.HasField("acknowledgement"):
                answer = message.acknowledgement
                if answer.outcome in ("applied", "refused", "failed"):
                    self._subscribers.acknowledge(
                        subscriber,
                        answer.digest,
                        Outcome(answer.outcome),
                        answer.reason[:_MAX_REASON],
                    )

    async def _encode(self, generation: Generation, sent: set[str], *, is_known: bool) -> bytes:
        """Return the message of a generation; `sent` are contents that it need not have again.

        An instance that knows the generation gets its digest alone.
        """
        if is_known:
            return self._update_of(generation).SerializeToString()
        inlined = _choose_inlined(generation, sent)
        sent |= inlined
        # Most instances get the same bytes.
        key = (generation.digest, inlined)
        message = self._messages.entries.get(key)
        if message is None:
            message = await self._encode_message(generation, inlined)
            self._messages.add(key, message)
        return message

    def _update_of(self, generation: Generation) -> wire.GenerationUpdate:
        return wire.GenerationUpdate(
            revision=generation.revision,
            digest=generation.digest,
            store=self._registry.store_id,
        )

    async def _encode_message(self, generation: Generation, inlined: frozenset[str]) -> bytes:
        update = self._update_of(generation)
        for selected in generation.releases:
            version = update.versions.add(
                version=str(selected.name), release=selected.release, gray=selected.is_gray
            )
            for name, ref in sorted(selected.files.items()):
                version.files.add(
                    name=name,
                    digest=ref.digest,
                    size=ref.size,
                    content_type=ref.content_type,
                    kind=ref.kind.value,
                )
        for digest in inlined:
            update.contents[digest] = await self._registry.content(digest)
        return update.SerializeToString()

    async def _fetch(self, request: bytes, context: CallContext) -> bytes:
        reply, size = wire.FetchReply(), 0
        with _as_status():
            actor = self._identify(context)
            for digest in wire.FetchRequest.FromString(request).digests:
                projects = self._registry.state.projects_of(digest)
                if not any(actor.may_read(project) for project in projects):
                    raise RegistryError(Refusal.NOT_FOUND, f"no content {digest[:80]}")
                content = await self._registry.content(digest)
                size += len(content)
                if size > _MAX_FETCHED_BYTES and reply.contents:
                    break  # the client asks for the others again
                reply.contents[digest] = content
        return reply.SerializeToString()

    async def _provide(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        info = wire.ProvideRequest.FromString(await first_request(requests)).provider
        with _as_status():
            provider = self._read_provider(info)
            self._require_reader(context, {provider.name.project})
            if not isfinite(info.lease):
                raise RegistryError(Refusal.INVALID, f"lease: {info.lease} is no time in seconds")
            duration = min(max(info.lease, _MIN_LEASE_S), _MAX_LEASE_S)
            registration = await self._leases.register(provider, duration)
        while True:
            override, _ = self._registry.state.override(provider.name, provider.address)
            state = override.state if override is not None else "online"
            yield wire.ProvideReply(state=state).SerializeToString()
            if await anext(aiter(requests), None) is None:
                break
            with _as_status():
                self._require_reader(context, {provider.name.project})
                await self._leases.renew(registration)
        # The client has ended its half: it leaves. If its connection breaks, the lease goes on.
        await self._leases.deregister(registration)

    async def _discover(
        self, requests: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        request = wire.DiscoverRequest.FromString(await first_request(requests))
        with _as_status():
            pattern = VersionPattern.parse(request.version)
            self._require_reader(context, {pattern.project})
        previous = None
        while True:
            changed = self._present.changed
            is_partial = time.monotonic() - self._started_at < _WARM_UP_S
            message = self._encode_providers(pattern, is_partial=is_partial)
            if message != previous:
                previous = message
                yield message
            await self._wait(changed)
            with _as_status():
                self._require_reader(context, {pattern.project})

    def _encode_providers(self, pattern: VersionPattern, *, is_partial: bool) -> bytes:
        update = wire.ProvidersUpdate(partial=is_partial)
        by_name: dict[ServiceVersion, list[Provider]] = {}
        for provider in self._present.providers.values():
            if pattern.matches(provider.name):
                by_name.setdefault(provider.name, []).append(provider)
        for name, providers in sorted(by_name.items()):
            for provider in visible_providers(self._registry.state, name, providers):
                update.providers.add(
                    version=str(provider.name),
                    address=provider.address,
                    protocol=provider.protocol,
                    weight=provider.weight,
                    labels=dict(provider.labels),
                    state=provider.state,
                )
        return update.SerializeToString(deterministic=True)

    def _read_provider(self, info: wire.ProviderInfo) -> Provider:
        if not info.address or len(info.address) > _MAX_TEXT or len(info.protocol) > _MAX_TEXT:
            raise RegistryError(
                Refusal.INVALID, "a provider needs an address, and a short protocol"
            )
        _check_labels(info.labels)
        name = ServiceVersion.parse(info.version)
        weight = info.weight or 100
        return Provider(name, info.address, info.protocol, weight, dict(info.labels), self._clock())

    async def _wait(self, changed: asyncio.Event) -> None:
        """Wait for a change, or until the key of a stream is looked at again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._recheck_s):
                await changed.wait()

    def _require_reader(self, context: CallContext, projects: Iterable[str]) -> None:
        """Raise RegistryError if the caller may not read a project, or not any more."""
        actor = self._identify(context)
        for project in projects:
            actor.require(Role.READER, project)

    def _identify(self, context: CallContext) -> Actor:
        return self._authorizer.identify(context.metadata.get("authorization", ""), "")


def _choose_inlined(generation: Generation, sent: set[str]) -> frozenset[str]:
    """Return the contents that go with a generation: small, and new on the stream."""
    chosen: set[str] = set()
    size = 0
    for selected in generation.releases:
        for ref in selected.files.values():
            if ref.digest in sent or ref.digest in chosen or ref.size > _MAX_INLINE_BYTES:
                continue
            size += ref.size
            if size > _MAX_INLINE_SUM:
                return frozenset(chosen)
            chosen.add(ref.digest)
    return frozenset(chosen)


def _read_subscription(first: wire.SubscriptionRequest) -> Subscription:
    if not first.instance or max(len(first.instance), len(first.address)) > _MAX_TEXT:
        raise RegistryError(Refusal.INVALID, "a subscription needs the name of its instance")
    if not first.follow or len(first.follow) > 64 or len(first.running) > _MAX_RUNNING:
        raise RegistryError(Refusal.INVALID, "a subscription follows 1 to 64 versions")
    _check_labels(first.labels)
    patterns = tuple(
        VersionPattern.parse(p.version, schemas_only=p.schemas_only) for p in first.follow
    )
    return Subscription(first.instance, first.address, dict(first.labels), patterns)


def _check_labels(labels: Mapping[str, str]) -> None:
    """Raise RegistryError INVALID for labels that are many or long."""
    longest = max(map(len, (*labels, *labels.values())), default=0)
    if len(labels) > _MAX_LABELS or longest > _MAX_TEXT:
        message = f"at most {_MAX_LABELS} labels of {_MAX_TEXT} characters"
        raise RegistryError(Refusal.INVALID, message)


@contextmanager
def _as_status() -> Iterator[None]:
    """Raise refusals as the status of the call."""
    try:
        yield
    except RegistryError as error:
        raise RpcError(_STATUSES[error.kind], str(error)) from None
    except InvalidNameError as error:
        raise RpcError(Status.INVALID_ARGUMENT, str(error)) from None
    except StoreError as error:
        raise RpcError(Status.UNAVAILABLE, str(error)) from None
