"""The hub's side of a watch: what a gateway has been sent, and its next frame. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from lb.endpoints.endpoint import Endpoint
from lb.endpoints.lifecycle import EndpointEvent, EndpointState, StateChange
from lb.endpoints.report import PROTOCOLS, Instance, InstanceKey, ReportMode
from lb.endpoints.table import EndpointTable
from schemas import wire

_MAX_UINT32: Final = 2**32 - 1
# An encoded load is reused for the frames of this many seconds, although `age_ms` grows meanwhile.
_MAX_CACHE_AGE_S: Final = 0.005


class EncodedLoad:
    """The load of one instance as part of a frame, serialized at `encoded_at` seconds.

    `by_gateway` has the bytes for the gateways with requests there, because each gets its own
    `held`. `default` is for all other gateways.
    """

    __slots__ = ("by_gateway", "default", "encoded_at")

    def __init__(self, endpoint: Endpoint, instance_id: int, now: float) -> None:
        message = _load_message(endpoint, instance_id, now)
        requests_by_gateway = endpoint.load.requests_by_gateway
        self.encoded_at = now
        self.by_gateway: dict[str, bytes] = {}
        if requests_by_gateway is not None:
            for gateway, count in requests_by_gateway.items():
                message.held = count
                self.by_gateway[gateway] = wire.Frame(loads=[message]).SerializeToString()
            message.held = 0
        self.default = wire.Frame(loads=[message]).SerializeToString()


class EncodedLoadCache:
    """The hub's instance ids, and the encoded load of each instance, shared by all subscribers.

    An id is never used again after its instance is removed.
    """

    def __init__(self) -> None:
        self._encoded: dict[InstanceKey, EncodedLoad] = {}
        self._instance_ids: dict[InstanceKey, int] = {}
        self._next_id = 1

    def invalidate(self, key: InstanceKey) -> None:
        """Drop the encoded load of an instance whose figures changed."""
        self._encoded.pop(key, None)

    def remove(self, key: InstanceKey) -> int:
        """Remove an instance and return its id, 0 if it had none; it never gets this id again."""
        self.invalidate(key)
        return self._instance_ids.pop(key, 0)

    def instance_id(self, key: InstanceKey) -> int:
        """Return the id of an instance; assign one if it has none."""
        if key not in self._instance_ids:
            self._instance_ids[key] = self._next_id
            self._next_id += 1
        return self._instance_ids[key]

    def get(self, endpoint: Endpoint, now: float) -> EncodedLoad:
        """Return the encoded load of an endpoint, at most 5 ms old."""
        key = endpoint.instance.key
        encoded = self._encoded.get(key)
        if encoded is None or now - encoded.encoded_at > _MAX_CACHE_AGE_S:
            encoded = self._encoded[key] = EncodedLoad(endpoint, self.instance_id(key), now)
        return encoded


class Subscriber:
    """One gateway that watches the hub.

    Changes are kept as a set of dirty instances, so that nothing queues for a slow gateway: its
    next frame has the latest figures. `services` are the services it watches; empty means all. The
    first frame contains all `endpoints`. `_sent_instances` and `_sent_digests` mirror what the
    gateway knows. An instance is sent again only if its object was replaced in the table.
    `_removed_reasons` maps the ids of removed instances to reasons until the next frame.
    `_sent_traffic` has the revisions of the traffic rules that were sent, by their owner;
    `_is_traffic_dirty` if there may be others.
    """

    def __init__(
        self, gateway: str, services: tuple[str, ...], endpoints: Iterable[Endpoint]
    ) -> None:
        self._gateway = gateway
        self._version = 0
        self._services = services
        self._sent_instances: dict[InstanceKey, Instance] = {}
        self._sent_digests: set[str] = set()
        self._dirty: set[InstanceKey] = set()
        self._removed_reasons: dict[int, str] = {}
        self._sent_traffic: dict[str, int] = {}
        self._is_traffic_dirty = True
        self.mark_changed([endpoint.instance for endpoint in endpoints])

    def mark_changed(self, instances: Iterable[Instance]) -> None:
        """Mark instances or their figures as changed. Static instances are local and not sent."""
        services = self._services
        for instance in instances:
            if instance.report_mode is not ReportMode.NONE and (
                not services or instance.service in services
            ):
                self._dirty.add(instance.key)

    def has_updates(self) -> bool:
        """Return whether there is something to send."""
        return bool(self._dirty or self._removed_reasons or self._is_traffic_dirty)

    def mark_traffic_changed(self) -> None:
        """Note that there are other traffic rules."""
        self._is_traffic_dirty = True

    def mark_removed(self, change: StateChange, instance_id: int) -> None:
        """Mark the instance with the id `instance_id` as gone."""
        key, digest = change.instance.key, change.instance.digest
        self._dirty.discard(key)
        if self._sent_instances.pop(key, None) is not None:
            self._removed_reasons[instance_id] = change.reason.value
        if all(instance.digest != digest for instance in self._sent_instances.values()):
            self._sent_digests.discard(digest)  # the gateway drops the document too

    def next_frame(
        self,
        table: EndpointTable,
        load_cache: EncodedLoadCache,
        documents: Mapping[str, bytes],
        epoch: int,
        now: float,
    ) -> bytes:
        """Return the next frame, serialized; the first is a snapshot. `epoch` is the hub's."""
        self._version += 1
        frame = wire.Frame(hub_epoch=epoch, version=self._version, snapshot=self._version == 1)
        if self._is_traffic_dirty:
            self._add_traffic(table, frame)
        encoded_loads: list[bytes] = []
        for key in self._dirty:
            endpoint = table.get(key)
            if endpoint is None:
                continue
            instance = endpoint.instance
            if self._sent_instances.get(key) is not instance:
                self._sent_instances[key] = instance
                frame.instances.append(_instance_message(instance, load_cache.instance_id(key)))
                self._add_document(instance.digest, documents, frame)
            encoded = load_cache.get(endpoint, now)
            encoded_loads.append(encoded.by_gateway.get(self._gateway, encoded.default))
        for instance_id, reason in self._removed_reasons.items():
            frame.gone.append(wire.Gone(id=instance_id, reason=reason))
        self._dirty, self._removed_reasons = set(), {}
        # Protobuf merges concatenated messages, so the encoded loads can be appended.
        return b"".join([frame.SerializeToString(), *encoded_loads])

    def _add_traffic(self, table: EndpointTable, frame: wire.Frame) -> None:
        self._is_traffic_dirty = False
        for rules in table.traffic.rules():
            if self._sent_traffic.get(rules.owner) != rules.revision:
                self._sent_traffic[rules.owner] = rules.revision
                frame.traffic.append(rules.to_message())

    def _add_document(self, digest: str, documents: Mapping[str, bytes], frame: wire.Frame) -> None:
        if digest in documents and digest not in self._sent_digests:
            self._sent_digests.add(digest)
            document = documents[digest]
            frame.schemas.append(wire.SchemaDocument(digest=digest, document=document))


def _instance_message(instance: Instance, instance_id: int) -> wire.Instance:
    return wire.Instance(
        id=instance_id,
        svc=instance.svc,
        subsvc=instance.service,
        addr=instance.addr,
        instance_epoch=instance.epoch,
        protocol=PROTOCOLS[instance.protocol],
        schema_digest=instance.digest,
        total=instance.total,
        best=instance.best,
        max_batch=instance.max_batch if instance.max_batch > 1 else 0,
        version=instance.version,
        feed=int(instance.report_mode),
    )


def _load_message(endpoint: Endpoint, instance_id: int, now: float) -> wire.Load:
    load = endpoint.load
    is_suspect = endpoint.state is EndpointState.SUSPECT
    return wire.Load(
        id=instance_id,
        seq=load.seq,
        live=int(load.serving_state),
        suspect=is_suspect,
        silent=is_suspect and endpoint.reason is EndpointEvent.SILENT,
        idle=endpoint.instance.best - load.running - load.queued,
        running=load.running,
        queued=load.queued,
        service_us=int(load.service_ms * 1000),
        batch_base_us=int(load.batch_base_ms * 1000),
        batch_item_us=int(load.batch_item_ms * 1000),
        served_total=load.served,
        error_total=load.errors,
        rejected_total=load.rejected,
        age_ms=min(int(max(0.0, now - endpoint.last_report_at) * 1000), _MAX_UINT32),
    )
