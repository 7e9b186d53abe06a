"""A gateway's end of a watch: frames in, a table kept true, changes and documents out. Pure."""

from lb.life import Change, Event
from lb.report import Feed, Instance, Key, Live, Load, Report, protocol_name
from lb.table import Table
from schemas import wire


class GapError(Exception):
    """A frame is missing: the watch has to begin anew."""


Vouchers = dict[Key, set["View"]]


class View:
    """Keeps a table as a hub's frames tell it.

    Where several hubs are followed, their views share the table and `vouchers`: who tells of an
    instance. What the last one says of its end counts; of figures, those with the higher `seq`.
    """

    def __init__(self, table: Table, gateway: str, vouchers: Vouchers | None = None) -> None:
        self._table = table
        self._gateway = gateway
        self._vouchers: Vouchers = {} if vouchers is None else vouchers
        self._version = 0
        self._instances: dict[int, Instance] = {}
        self.documents: dict[str, bytes] = {}

    def expire(self, now: float) -> list[Change]:
        """Return what changes by the mere passing of time."""
        return self._table.expire(now)

    def excuse(self, late: float) -> None:
        """Take in that we ourselves stood still for so many seconds."""
        self._table.excuse(late)

    def begin(self) -> None:
        """Expect a snapshot next."""
        self._version = 0

    def lost(self) -> None:
        """Take in that the hub is away: instances stay, what they reported does not count.

        Those that another hub tells of go on as they are.
        """
        for instance in self._instances.values():
            if self._is_last(instance.key):
                self._table.fade(instance.key)

    def apply(self, frame: wire.Frame, now: float) -> list[Change]:
        """Take in a frame. Raises GapError when one before it is missing.

        What a snapshot does not name turns suspect, not gone: a hub that has just started knows
        few loaders, and those it will not hear of again expire.
        """
        if frame.version != self._version + 1 or frame.snapshot != (self._version == 0):
            raise GapError
        self._version = frame.version
        if frame.snapshot:
            for known in self._instances.values():
                self._is_last(known.key)
            self._instances = {}
        changes: list[Change] = []
        for gone in frame.gone:  # first: one that came back has a new number
            changes += self._left(gone)
        for told in frame.schemas:
            self.documents[told.digest] = told.document
        for instance in frame.instances:
            self._instances[instance.id] = _read_instance(instance)
        for load in frame.loads:
            changes += self._applied(load, now)
        if frame.snapshot:
            changes += self._unnamed(now)
        return changes

    def _applied(self, told: wire.Load, now: float) -> list[Change]:
        instance = self._instances.get(told.id)
        if instance is None:
            raise GapError
        load = Load(
            seq=told.seq,
            live=Live(told.live),
            running=told.running,
            queued=told.queued,
            service_ms=told.service_us / 1000,
            served=told.served_total,
            errors=told.error_total,
            rejected=told.rejected_total,
            held={self._gateway: told.held} if told.HasField("held") else None,
        )
        self._table.told.age_s += told.age_ms / 1000
        changes = self._table.apply(Report(instance, load), now - told.age_ms / 1000)
        if told.suspect:
            key, epoch = instance.key, instance.epoch
            if self._is_last(key):
                event = Event.SILENT if told.silent else Event.STREAM_LOST
                changes += self._table.lose(key, epoch, event, now)
        elif load.live is not Live.DOWN:
            self._vouchers.setdefault(instance.key, set()).add(self)
        return changes

    def _is_last(self, key: Key) -> bool:
        """Withdraw our word for an instance; return whether nobody else tells of it."""
        others = self._vouchers.get(key)
        if others is None:
            return True
        others.discard(self)
        if others:
            return False
        del self._vouchers[key]
        return True

    def _left(self, gone: wire.Gone) -> list[Change]:
        instance = self._instances.pop(gone.id, None)
        if instance is None:
            return []
        if all(other.digest != instance.digest for other in self._instances.values()):
            self.documents.pop(instance.digest, None)
        reason = _reason(gone.reason)
        if not self._is_last(instance.key) and reason is not Event.REPORTED_DOWN:
            return []
        return self._table.forget(instance.key, instance.epoch, reason)

    def _unnamed(self, now: float) -> list[Change]:
        named = {instance.key for instance in self._instances.values()}
        changes: list[Change] = []
        for entry in self._table:
            known = entry.instance
            if known.epoch and known.key not in named and known.key not in self._vouchers:
                changes += self._table.lose(known.key, known.epoch, Event.HUB_FORGOT, now)
        return changes


def _reason(told: str) -> Event:
    """Return the event of a reason; one that a newer hub may have is "left"."""
    known = {event.value: event for event in Event}
    return known.get(told, Event.REPORTED_DOWN)


def _read_instance(told: wire.Instance) -> Instance:
    return Instance(
        svc=told.svc,
        service=told.subsvc,
        addr=told.addr,
        epoch=told.instance_epoch,
        protocol=protocol_name(told.protocol),
        digest=told.schema_digest,
        total=told.total,
        best=told.best,
        feed=Feed(told.feed),
    )
