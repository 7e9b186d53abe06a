"""A gateway's side of a watch: applies frames to a table, returns changes and documents. Pure."""

import contextlib

from lb.endpoints.lifecycle import EndpointEvent, StateChange
from lb.endpoints.report import (
    Instance,
    InstanceKey,
    Load,
    Report,
    ReportMode,
    ServingState,
    protocol_name,
)
from lb.endpoints.table import EndpointTable
from lb.endpoints.traffic import InvalidTrafficError, TrafficRules
from schemas import wire


class FrameGapError(Exception):
    """A frame is missing: the watch must start again with a snapshot."""


ReportingViews = dict[InstanceKey, set["HubView"]]


class HubView:
    """Applies the frames of one hub to a table.

    If a gateway follows several hubs, their views share the table and `reporting_views`: for each
    instance, the views whose hub reports it. An instance is lost only when the last of these hubs
    has lost it; if a hub reports that the loader left, it is removed at once. The load figures with
    the higher `seq` count.

    `_version` is the version of the last frame; at 0 the next frame must be a snapshot.
    `_instances` maps the hub's ids to instances. `documents` has the schema documents by digest.
    """

    def __init__(
        self, table: EndpointTable, gateway: str, reporting_views: ReportingViews | None = None
    ) -> None:
        self._table = table
        self._gateway = gateway
        self._reporting_views: ReportingViews = {} if reporting_views is None else reporting_views
        self._version = 0
        self._instances: dict[int, Instance] = {}
        self.documents: dict[str, bytes] = {}

    def expect_snapshot(self) -> None:
        """Expect a snapshot as the next frame: a new stream starts."""
        self._version = 0

    def mark_hub_lost(self) -> None:
        """Keep the instances of the lost hub, but ignore their reported load from now on.

        Instances that another hub reports stay as they are.
        """
        for instance in self._instances.values():
            if self._withdraw(instance.key):
                self._table.discard_reported_load(instance.key)

    def forget_hub(self, now: float) -> list[StateChange]:
        """Forget the hub, which is not followed any more, and return the state changes.

        Instances that no other hub reports become suspect, and expire.
        """
        for instance in self._instances.values():
            self._withdraw(instance.key)
        self._instances = {}
        self._table.forget_traffic(self, now)
        return self._mark_unlisted(now)

    def apply(self, frame: wire.Frame, now: float) -> list[StateChange]:
        """Apply a frame and return the state changes. Raises FrameGapError if a frame is missing.

        Instances that a snapshot does not list become suspect, not gone: a hub that has just
        started knows few loaders. Instances that no hub reports again expire.
        """
        if frame.version != self._version + 1 or frame.snapshot != (self._version == 0):
            raise FrameGapError
        self._version = frame.version
        if frame.snapshot:
            for previous in self._instances.values():
                self._withdraw(previous.key)
            self._instances = {}
        self._apply_traffic(frame, now)  # first: it may hold back an instance of this frame
        changes: list[StateChange] = []
        for removal in frame.gone:  # first: an instance that came back has a new id
            changes += self._apply_removal(removal)
        for schema in frame.schemas:
            self.documents[schema.digest] = schema.document
        for instance in frame.instances:
            self._instances[instance.id] = _read_instance(instance)
        for load in frame.loads:
            changes += self._apply_load(load, now)
        if frame.snapshot:
            changes += self._mark_unlisted(now)
        return changes

    def _apply_traffic(self, frame: wire.Frame, now: float) -> None:
        """Take the rules of the frame. Those of a newer hub that we do not understand are left."""
        rules: list[TrafficRules] = []
        for message in frame.traffic:
            with contextlib.suppress(InvalidTrafficError):
                rules.append(TrafficRules.from_message(message))
        if rules or frame.snapshot:
            self._table.update_traffic(self, rules, now, is_all=frame.snapshot)

    def _apply_load(self, message: wire.Load, now: float) -> list[StateChange]:
        instance = self._instances.get(message.id)
        if instance is None:
            raise FrameGapError
        load = Load(
            seq=message.seq,
            serving_state=ServingState(message.live),
            running=message.running,
            queued=message.queued,
            service_ms=message.service_us / 1000,
            served=message.served_total,
            errors=message.error_total,
            rejected=message.rejected_total,
            requests_by_gateway={self._gateway: message.held} if message.HasField("held") else None,
            batch_base_ms=message.batch_base_us / 1000,
            batch_item_ms=message.batch_item_us / 1000,
        )
        self._table.report_stats.ages.observe(message.age_ms / 1000)
        changes = self._table.apply(Report(instance, load), now - message.age_ms / 1000)
        if message.suspect:
            key, epoch = instance.key, instance.epoch
            if self._withdraw(key):
                event = EndpointEvent.SILENT if message.silent else EndpointEvent.STREAM_LOST
                changes += self._table.mark_lost(key, epoch, event, now)
        elif load.serving_state is not ServingState.DOWN:
            self._reporting_views.setdefault(instance.key, set()).add(self)
        return changes

    def _withdraw(self, key: InstanceKey) -> bool:
        """Note that this hub does not report the instance; return whether no other hub does."""
        views = self._reporting_views.get(key)
        if views is None:
            return True
        views.discard(self)
        if views:
            return False
        del self._reporting_views[key]
        return True

    def _apply_removal(self, removal: wire.Gone) -> list[StateChange]:
        instance = self._instances.pop(removal.id, None)
        if instance is None:
            return []
        if all(other.digest != instance.digest for other in self._instances.values()):
            self.documents.pop(instance.digest, None)
        reason = _event_of_reason(removal.reason)
        if not self._withdraw(instance.key) and reason is not EndpointEvent.REPORTED_DOWN:
            return []
        return self._table.remove(instance.key, instance.epoch, reason)

    def _mark_unlisted(self, now: float) -> list[StateChange]:
        listed_keys = {instance.key for instance in self._instances.values()}
        changes: list[StateChange] = []
        for endpoint in self._table:
            candidate = endpoint.instance
            if (
                candidate.epoch
                and candidate.key not in listed_keys
                and candidate.key not in self._reporting_views
            ):
                changes += self._table.mark_lost(
                    candidate.key, candidate.epoch, EndpointEvent.HUB_FORGOT, now
                )
        return changes


def _event_of_reason(reason: str) -> EndpointEvent:
    """Return the event of a reason; an unknown reason, from a newer hub, counts as "left"."""
    event_by_value = {event.value: event for event in EndpointEvent}
    return event_by_value.get(reason, EndpointEvent.REPORTED_DOWN)


def _read_instance(message: wire.Instance) -> Instance:
    return Instance(
        svc=message.svc,
        service=message.subsvc,
        addr=message.addr,
        epoch=message.instance_epoch,
        protocol=protocol_name(message.protocol),
        digest=message.schema_digest,
        total=message.total,
        best=message.best,
        report_mode=ReportMode(message.feed),
        max_batch=message.max_batch or 1,
        version=message.version,
    )
