"""The instances that are connected to this registry: what each was sent, and what it answered."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from registry.feedback import Consumer, Outcome
from registry.generation import Generation, Subscription, decide_generation, meets_rule
from registry.names import ServiceVersion, VersionPattern
from registry.providers import Present
from registry.service import Registry
from registry.store.interfaces import Presence, StoreError

_logger = logging.getLogger("ase.registry")

# Answers of this many seconds are told to the other registries at once.
_PRESENCE_INTERVAL_S: Final = 0.02


class ConnectedInstance:
    """One connected instance. `generation` is what it has to run; None before the first.

    It `is_replaced` when an instance of the same name has connected since.
    """

    def __init__(self, subscription: Subscription, consumer: Consumer) -> None:
        self.subscription = subscription
        self.consumer = consumer
        self.generation: Generation | None = None
        self.is_replaced = False
        self.changed = asyncio.Event()

    @property
    def key(self) -> str:
        """Its key among those who are present: its project, and its name there."""
        subscription = self.subscription
        return f"consumer/{subscription.patterns[0].project}/{subscription.instance}"


class Subscribers:
    """All instances that are connected here. Call `run` to tell the other registries of them."""

    def __init__(
        self,
        registry: Registry,
        presence: Presence,
        present: Present,
        clock: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._presence = presence
        self._present = present
        self._clock = clock
        self._subscribers: dict[str, ConnectedInstance] = {}
        self._dirty: dict[str, Consumer | None] = {}
        self._has_dirty = asyncio.Event()
        registry.on_change(self._update)

    def __len__(self) -> int:
        return len(self._subscribers)

    def add(
        self, subscription: Subscription, running_digest: str, running: Mapping[str, int]
    ) -> ConnectedInstance:
        """Connect an instance, which has the generation `running_digest` on its disk, or "".

        `running` are the releases of that, by version. An older connection of an instance of that
        name in its project is replaced.
        """
        now = self._clock()
        consumer = Consumer(subscription, running, {}, Outcome.WAITING, "", now)
        subscriber = ConnectedInstance(subscription, consumer)
        replaced = self._subscribers.get(subscriber.key)
        if replaced is not None:
            replaced.is_replaced = True
            replaced.changed.set()
        self._subscribers[subscriber.key] = subscriber
        self._decide(subscriber)
        generation = subscriber.generation
        if generation is not None and generation.digest == running_digest:
            self.acknowledge(subscriber, running_digest, Outcome.APPLIED, "")
        return subscriber

    def remove(self, subscriber: ConnectedInstance) -> None:
        """Forget an instance that has disconnected."""
        if self._subscribers.get(subscriber.key) is subscriber:
            del self._subscribers[subscriber.key]
            self._show(subscriber.key, None)

    def acknowledge(
        self, subscriber: ConnectedInstance, digest: str, outcome: Outcome, reason: str
    ) -> None:
        """Take the answer of an instance; an answer to an older generation does not count."""
        generation = subscriber.generation
        if generation is None or generation.digest != digest:
            return
        consumer = subscriber.consumer
        running: Mapping[str, int] = consumer.running
        if outcome is Outcome.APPLIED:
            running = {str(r.name): r.release for r in generation.releases}
        subscriber.consumer = replace(
            consumer, running=running, outcome=outcome, reason=reason, since=self._clock()
        )
        self._show(subscriber.key, subscriber.consumer)
        if outcome is not Outcome.APPLIED:
            fields = {"instance": subscriber.subscription.instance, "reason": reason}
            _logger.warning("generation %s by an instance", outcome.value, extra=fields)

    async def run(self) -> None:
        """Tell the other registries who is here and runs what, forever."""
        while True:
            await self._has_dirty.wait()
            await asyncio.sleep(_PRESENCE_INTERVAL_S)
            self._has_dirty.clear()
            dirty, self._dirty = self._dirty, {}
            entries = {
                key: consumer.to_bytes() if consumer is not None else None
                for key, consumer in dirty.items()
            }
            try:
                await self._presence.put(entries)
            except StoreError:
                self._dirty = {**dirty, **self._dirty}
                self._has_dirty.set()

    def _update(self, changed: set[ServiceVersion]) -> None:
        """Decide the generations of those that follow a changed version."""
        if not changed:
            return
        gray = [
            (name, publication.gray.rule)
            for name, publication in self._registry.state.publications()
            if publication.gray is not None
        ]
        follows: dict[tuple[VersionPattern, ...], bool] = {}
        decided: dict[tuple[Any, ...], Generation] = {}
        for subscriber in self._subscribers.values():
            subscription = subscriber.subscription
            patterns = subscription.patterns
            if patterns not in follows:
                follows[patterns] = any(subscription.follows(name) for name in changed)
            if not follows[patterns]:
                continue
            # Those that follow the same and see the same gray releases have the same to run.
            seen = tuple(
                subscription.follows(name) and meets_rule(rule, name, subscription)
                for name, rule in gray
            )
            key = (patterns, seen)
            if key not in decided:
                decided[key] = decide_generation(self._registry.state, subscription)
            self._set_generation(subscriber, decided[key])

    def _decide(self, subscriber: ConnectedInstance) -> None:
        generation = decide_generation(self._registry.state, subscriber.subscription)
        self._set_generation(subscriber, generation)

    def _set_generation(self, subscriber: ConnectedInstance, generation: Generation) -> None:
        previous = subscriber.generation
        if previous is not None and previous.digest == generation.digest:
            return
        subscriber.generation = generation
        wanted = {str(r.name): r.release for r in generation.releases}
        subscriber.consumer = replace(
            subscriber.consumer,
            wanted=wanted,
            outcome=Outcome.WAITING,
            reason="",
            since=self._clock(),
        )
        self._show(subscriber.key, subscriber.consumer)
        subscriber.changed.set()

    def _show(self, key: str, consumer: Consumer | None) -> None:
        """Show an instance here at once, and to the other registries soon."""
        self._present.show_consumer(key, consumer)
        self._dirty[key] = consumer
        self._has_dirty.set()
