"""The hub's end of a watch: what a gateway was told, and what the next frame must say. Pure."""

from collections.abc import Callable, Iterable, Mapping

from lb.entry import Entry
from lb.life import Change, Event, State
from lb.report import PROTOCOLS, Feed, Instance, Key
from lb.table import Table
from schemas import wire

_MOST_MS = 2**32 - 1


class Follower:
    """One gateway that follows the hub. Latest wins: nothing queues for a slow one.

    `services` empty means all. `changed` is called when there is something to tell.
    """

    def __init__(
        self,
        gateway: str,
        services: tuple[str, ...],
        entries: Iterable[Entry],
        changed: Callable[[], None],
    ) -> None:
        self._gateway = gateway
        self._changed = changed
        self._version = 0
        self._services = services
        self._ids: dict[Key, int] = {}
        self._told: dict[Key, Instance] = {}
        self._documents: set[str] = set()
        self._next_id = 1
        self._dirty: set[Key] = set()
        self._gone: dict[int, str] = {}
        for entry in entries:
            self.touched(entry.instance)

    def touched(self, instance: Instance) -> None:
        """Note that an instance or its figures changed; who was placed here is nobody else's."""
        if instance.feed is Feed.NONE:
            return
        if self._services and instance.service not in self._services:
            return
        self._dirty.add(instance.key)
        self._changed()

    def left(self, change: Change) -> None:
        """Note that an instance is gone."""
        key, digest = change.instance.key, change.instance.digest
        self._dirty.discard(key)
        self._told.pop(key, None)
        if all(told.digest != digest for told in self._told.values()):
            self._documents.discard(digest)  # the other end forgets it too
        number = self._ids.pop(key, None)
        if number is not None:
            self._gone[number] = change.reason.value
            self._changed()

    def take(self, table: Table, documents: Mapping[str, bytes], now: float) -> wire.Frame:
        """Return the next frame, without `hub_epoch`; the first is a snapshot."""
        frame = wire.Frame(snapshot=self._version == 0)
        for key in self._dirty:
            entry = table.get(key)
            if entry is None:
                continue
            number = self._number(key)
            if self._told.get(key) != entry.instance:
                self._told[key] = entry.instance
                frame.instances.append(_instance(entry.instance, number))
                self._document(entry.instance.digest, documents, frame)
            frame.loads.append(_load(entry, number, self._gateway, now))
        for number, reason in self._gone.items():
            frame.gone.append(wire.Gone(id=number, reason=reason))
        self._dirty, self._gone = set(), {}
        self._version += 1
        frame.version = self._version
        return frame

    def _number(self, key: Key) -> int:
        if key not in self._ids:
            self._ids[key] = self._next_id
            self._next_id += 1
        return self._ids[key]

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


def _load(entry: Entry, number: int, gateway: str, now: float) -> wire.Load:
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
        held=load.held.get(gateway, 0) if load.held is not None else None,
        served_total=load.served,
        error_total=load.errors,
        rejected_total=load.rejected,
        age_ms=min(int(max(0.0, now - entry.seen) * 1000), _MOST_MS),
    )
