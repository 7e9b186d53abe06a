"""The hub's end of a watch: what a gateway was told, and what the next frame must say. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from lb.entry import Entry
from lb.life import Change, Event, State
from lb.report import PROTOCOLS, Feed, Instance, Key
from lb.table import Table
from schemas import wire

_MOST_MS: Final = 2**32 - 1
# What was made for one frame does for others that leave within so many seconds.
_SAME_AGE_S: Final = 0.005


class Piece:
    """What a frame says of the load of one instance, serialised at the time `at`.

    `own` is for the gateways that have requests there, `common` for all others.
    """

    __slots__ = ("at", "common", "own")

    def __init__(self, entry: Entry, number: int, now: float) -> None:
        load = _load(entry, number, now)
        held = entry.load.held
        self.at = now
        self.own: dict[str, bytes] = {}
        if held is not None:
            for gateway, count in held.items():
                load.held = count
                self.own[gateway] = wire.Frame(loads=[load]).SerializeToString()
            load.held = 0
        self.common = wire.Frame(loads=[load]).SerializeToString()


class Figures:
    """The hub's numbers for instances, and what frames say of their load: made once for all."""

    def __init__(self) -> None:
        self._made: dict[Key, Piece] = {}
        self._numbers: dict[Key, int] = {}
        self._next = 1

    def stale(self, key: Key) -> None:
        """Note that the figures of an instance changed."""
        self._made.pop(key, None)

    def left(self, key: Key) -> int:
        """Return the number of an instance that is gone; if it comes back, it has another."""
        self.stale(key)
        return self._numbers.pop(key, 0)

    def number(self, key: Key) -> int:
        """Return the number of an instance."""
        if key not in self._numbers:
            self._numbers[key] = self._next
            self._next += 1
        return self._numbers[key]

    def piece(self, entry: Entry, now: float) -> Piece:
        """Return what is to be said of an entry."""
        key = entry.instance.key
        made = self._made.get(key)
        if made is None or now - made.at > _SAME_AGE_S:
            made = self._made[key] = Piece(entry, self.number(key), now)
        return made


class Follower:
    """One gateway that follows the hub. Latest wins: nothing queues for a slow one.

    `services` empty means all. It is to be told of every entry that is there already.
    """

    def __init__(self, gateway: str, services: tuple[str, ...], entries: Iterable[Entry]) -> None:
        self._gateway = gateway
        self._version = 0
        self._services = services
        self._told: dict[Key, Instance] = {}
        self._documents: set[str] = set()
        self._dirty: set[Key] = set()
        self._gone: dict[int, str] = {}
        self.touched([entry.instance for entry in entries])

    def touched(self, instances: Iterable[Instance]) -> None:
        """Note that instances or their figures changed; who was placed here is nobody else's."""
        services = self._services
        for instance in instances:
            if instance.feed is not Feed.NONE and (not services or instance.service in services):
                self._dirty.add(instance.key)

    def has_news(self) -> bool:
        """Return whether there is something to tell."""
        return bool(self._dirty or self._gone)

    def left(self, change: Change, number: int) -> None:
        """Note that the instance of that number is gone."""
        key, digest = change.instance.key, change.instance.digest
        self._dirty.discard(key)
        if self._told.pop(key, None) is not None:
            self._gone[number] = change.reason.value
        if all(told.digest != digest for told in self._told.values()):
            self._documents.discard(digest)  # the other end forgets it too

    def take(
        self,
        table: Table,
        figures: Figures,
        documents: Mapping[str, bytes],
        epoch: int,
        now: float,
    ) -> bytes:
        """Return the next frame, serialised; the first is a snapshot. `epoch` is the hub's."""
        self._version += 1
        frame = wire.Frame(hub_epoch=epoch, version=self._version, snapshot=self._version == 1)
        pieces: list[bytes] = []
        for key in self._dirty:
            entry = table.get(key)
            if entry is None:
                continue
            instance = entry.instance
            if self._told.get(key) is not instance:
                self._told[key] = instance
                frame.instances.append(_instance(instance, figures.number(key)))
                self._document(instance.digest, documents, frame)
            piece = figures.piece(entry, now)
            pieces.append(piece.own.get(self._gateway, piece.common))
        for number, reason in self._gone.items():
            frame.gone.append(wire.Gone(id=number, reason=reason))
        self._dirty, self._gone = set(), {}
        # Serialised messages that stand behind each other are one message.
        return b"".join([frame.SerializeToString(), *pieces])

    def _document(self, digest: str, documents: Mapping[str, bytes], frame: wire.Frame) -> None:
        if digest in documents and digest not in self._documents:
            self._documents.add(digest)
            text = documents[digest]
            frame.schemas.append(wire.SchemaDocument(digest=digest, document=text))


def _instance(instance: Instance, number: int) -> wire.Instance:
    return wire.Instance(
        id=number,
        svc=instance.svc,
        subsvc=instance.service,
        addr=instance.addr,
        instance_epoch=instance.epoch,
        protocol=PROTOCOLS[instance.protocol],
        schema_digest=instance.digest,
        total=instance.total,
        best=instance.best,
        feed=int(instance.feed),
    )


def _load(entry: Entry, number: int, now: float) -> wire.Load:
    load = entry.load
    suspect = entry.state is State.SUSPECT
    return wire.Load(
        id=number,
        seq=load.seq,
        live=int(load.live),
        suspect=suspect,
        silent=suspect and entry.reason is Event.SILENT,
        idle=entry.instance.best - load.running - load.queued,
        running=load.running,
        queued=load.queued,
        service_us=int(load.service_ms * 1000),
        served_total=load.served,
        error_total=load.errors,
        rejected_total=load.rejected,
        age_ms=min(int(max(0.0, now - entry.seen) * 1000), _MOST_MS),
    )
