"""Types of the classes in wire.py. Written by `make proto`; do not edit."""

from collections.abc import Iterable, Mapping, MutableMapping

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.containers import (
    RepeatedCompositeFieldContainer,
    RepeatedScalarFieldContainer,
)
from google.protobuf.message import Message

DESCRIPTOR_SET: bytes
POOL: DescriptorPool

def load_pool(descriptor_set: bytes) -> DescriptorPool: ...
def message(full_name: str) -> type[Message]: ...

class MetaDesc(Message):
    TEXT: int
    AUDIO: int
    IMAGE: int
    VIDEO: int
    OTHER: int
    name: str
    dataType: int
    @property
    def attribute(self) -> MutableMapping[str, str]: ...
    def __init__(
        self,
        *,
        name: str = ...,
        dataType: int = ...,
        attribute: Mapping[str, str] | None = ...,
    ) -> None: ...

class Payload(Message):
    @property
    def meta(self) -> MetaDesc: ...
    data: bytes
    def __init__(
        self,
        *,
        meta: MetaDesc | None = ...,
        data: bytes = ...,
    ) -> None: ...

class LoaderInput(Message):
    STREAM: int
    ONCE: int
    serviceId: str
    serviceName: str
    state: int
    @property
    def headers(self) -> MutableMapping[str, str]: ...
    @property
    def params(self) -> MutableMapping[str, str]: ...
    @property
    def expect(self) -> RepeatedCompositeFieldContainer[MetaDesc]: ...
    @property
    def pl(self) -> RepeatedCompositeFieldContainer[Payload]: ...
    sync_id: int
    def __init__(
        self,
        *,
        serviceId: str = ...,
        serviceName: str = ...,
        state: int = ...,
        headers: Mapping[str, str] | None = ...,
        params: Mapping[str, str] | None = ...,
        expect: Iterable[MetaDesc] | None = ...,
        pl: Iterable[Payload] | None = ...,
        sync_id: int = ...,
    ) -> None: ...

class LoaderOutput(Message):
    BEGIN: int
    CONTINUE: int
    END: int
    ONCE: int
    serviceId: str
    code: int
    err: str
    status: int
    @property
    def pl(self) -> RepeatedCompositeFieldContainer[Payload]: ...
    @property
    def units(self) -> MutableMapping[str, int]: ...
    def __init__(
        self,
        *,
        serviceId: str = ...,
        code: int = ...,
        err: str = ...,
        status: int = ...,
        pl: Iterable[Payload] | None = ...,
        units: Mapping[str, int] | None = ...,
    ) -> None: ...

class XsfSession(Message):
    t: str
    h: str
    @property
    def sess(self) -> MutableMapping[str, str]: ...
    def __init__(
        self,
        *,
        t: str = ...,
        h: str = ...,
        sess: Mapping[str, str] | None = ...,
    ) -> None: ...

class XsfData(Message):
    data: bytes
    @property
    def desc(self) -> MutableMapping[str, str]: ...
    def __init__(
        self,
        *,
        data: bytes = ...,
        desc: Mapping[str, str] | None = ...,
    ) -> None: ...

class ReqData(Message):
    op: str
    @property
    def s(self) -> XsfSession: ...
    @property
    def param(self) -> MutableMapping[str, str]: ...
    @property
    def data(self) -> RepeatedCompositeFieldContainer[XsfData]: ...
    def __init__(
        self,
        *,
        op: str = ...,
        s: XsfSession | None = ...,
        param: Mapping[str, str] | None = ...,
        data: Iterable[XsfData] | None = ...,
    ) -> None: ...

class ResData(Message):
    code: int
    error_info: str
    @property
    def s(self) -> XsfSession: ...
    @property
    def param(self) -> MutableMapping[str, str]: ...
    @property
    def data(self) -> RepeatedCompositeFieldContainer[XsfData]: ...
    def __init__(
        self,
        *,
        code: int = ...,
        error_info: str = ...,
        s: XsfSession | None = ...,
        param: Mapping[str, str] | None = ...,
        data: Iterable[XsfData] | None = ...,
    ) -> None: ...

class ToolRequest(Message):
    query: str
    headers: str
    body: str
    def __init__(
        self,
        *,
        query: str = ...,
        headers: str = ...,
        body: str = ...,
    ) -> None: ...

class ToolResponse(Message):
    headers: str
    body: str
    def __init__(
        self,
        *,
        headers: str = ...,
        body: str = ...,
    ) -> None: ...

class LoadReport(Message):
    svc: str
    subsvc: str
    addr: str
    instance_epoch: int
    seq: int
    live: int
    total: int
    best: int
    idle: int
    running: int
    queued: int
    service_ms: float
    rate: float
    served_total: int
    error_total: int
    rejected_total: int
    cost_units: float
    kv_usage: float
    @property
    def acc(self) -> MutableMapping[str, int]: ...
    orca: bytes
    protocol: int
    schema_digest: str
    @property
    def schema(self) -> SchemaDocument: ...
    @property
    def held(self) -> MutableMapping[str, int]: ...
    tells_held: bool
    max_batch: int
    batch_base_ms: float
    batch_item_ms: float
    version: str
    def __init__(
        self,
        *,
        svc: str = ...,
        subsvc: str = ...,
        addr: str = ...,
        instance_epoch: int = ...,
        seq: int = ...,
        live: int = ...,
        total: int = ...,
        best: int = ...,
        idle: int = ...,
        running: int = ...,
        queued: int = ...,
        service_ms: float = ...,
        rate: float = ...,
        served_total: int = ...,
        error_total: int = ...,
        rejected_total: int = ...,
        cost_units: float = ...,
        kv_usage: float = ...,
        acc: Mapping[str, int] | None = ...,
        orca: bytes = ...,
        protocol: int = ...,
        schema_digest: str = ...,
        schema: SchemaDocument | None = ...,
        held: Mapping[str, int] | None = ...,
        tells_held: bool = ...,
        max_batch: int = ...,
        batch_base_ms: float = ...,
        batch_item_ms: float = ...,
        version: str = ...,
    ) -> None: ...

class SchemaDocument(Message):
    digest: str
    document: bytes
    def __init__(
        self,
        *,
        digest: str = ...,
        document: bytes = ...,
    ) -> None: ...

class ReportControl(Message):
    gap_ms: int
    threshold: int
    keepalive_ms: int
    pause: bool
    seq: int
    code: int
    message: str
    idle_keepalive_ms: int
    def __init__(
        self,
        *,
        gap_ms: int = ...,
        threshold: int = ...,
        keepalive_ms: int = ...,
        pause: bool = ...,
        seq: int = ...,
        code: int = ...,
        message: str = ...,
        idle_keepalive_ms: int = ...,
    ) -> None: ...

class WatchRequest(Message):
    gateway: str
    subsvc: RepeatedScalarFieldContainer[str]
    hub_epoch: int
    version: int
    def __init__(
        self,
        *,
        gateway: str = ...,
        subsvc: Iterable[str] | None = ...,
        hub_epoch: int = ...,
        version: int = ...,
    ) -> None: ...

class Traffic(Message):
    owner: str
    revision: int
    @property
    def shares(self) -> RepeatedCompositeFieldContainer[VersionShare]: ...
    def __init__(
        self,
        *,
        owner: str = ...,
        revision: int = ...,
        shares: Iterable[VersionShare] | None = ...,
    ) -> None: ...

class TrafficReply(Message):
    revision: int
    def __init__(
        self,
        *,
        revision: int = ...,
    ) -> None: ...

class VersionShare(Message):
    version: str
    share: float
    def __init__(
        self,
        *,
        version: str = ...,
        share: float = ...,
    ) -> None: ...

class Frame(Message):
    hub_epoch: int
    version: int
    snapshot: bool
    @property
    def instances(self) -> RepeatedCompositeFieldContainer[Instance]: ...
    @property
    def loads(self) -> RepeatedCompositeFieldContainer[Load]: ...
    @property
    def gone(self) -> RepeatedCompositeFieldContainer[Gone]: ...
    @property
    def schemas(self) -> RepeatedCompositeFieldContainer[SchemaDocument]: ...
    @property
    def traffic(self) -> RepeatedCompositeFieldContainer[Traffic]: ...
    def __init__(
        self,
        *,
        hub_epoch: int = ...,
        version: int = ...,
        snapshot: bool = ...,
        instances: Iterable[Instance] | None = ...,
        loads: Iterable[Load] | None = ...,
        gone: Iterable[Gone] | None = ...,
        schemas: Iterable[SchemaDocument] | None = ...,
        traffic: Iterable[Traffic] | None = ...,
    ) -> None: ...

class Instance(Message):
    id: int
    svc: str
    subsvc: str
    addr: str
    instance_epoch: int
    protocol: int
    schema_digest: str
    total: int
    best: int
    feed: int
    max_batch: int
    version: str
    def __init__(
        self,
        *,
        id: int = ...,
        svc: str = ...,
        subsvc: str = ...,
        addr: str = ...,
        instance_epoch: int = ...,
        protocol: int = ...,
        schema_digest: str = ...,
        total: int = ...,
        best: int = ...,
        feed: int = ...,
        max_batch: int = ...,
        version: str = ...,
    ) -> None: ...

class Load(Message):
    id: int
    seq: int
    live: int
    suspect: bool
    idle: int
    running: int
    queued: int
    service_us: int
    acc: int
    served_total: int
    error_total: int
    rejected_total: int
    age_ms: int
    held: int
    silent: bool
    batch_base_us: int
    batch_item_us: int
    def __init__(
        self,
        *,
        id: int = ...,
        seq: int = ...,
        live: int = ...,
        suspect: bool = ...,
        idle: int = ...,
        running: int = ...,
        queued: int = ...,
        service_us: int = ...,
        acc: int = ...,
        served_total: int = ...,
        error_total: int = ...,
        rejected_total: int = ...,
        age_ms: int = ...,
        held: int | None = ...,
        silent: bool = ...,
        batch_base_us: int = ...,
        batch_item_us: int = ...,
    ) -> None: ...

class Gone(Message):
    id: int
    reason: str
    def __init__(
        self,
        *,
        id: int = ...,
        reason: str = ...,
    ) -> None: ...

class PickRequest(Message):
    svc: str
    subsvc: str
    nbest: int
    exclude: RepeatedScalarFieldContainer[str]
    key: str
    gateway: str
    def __init__(
        self,
        *,
        svc: str = ...,
        subsvc: str = ...,
        nbest: int = ...,
        exclude: Iterable[str] | None = ...,
        key: str = ...,
        gateway: str = ...,
    ) -> None: ...

class PickReply(Message):
    code: int
    message: str
    @property
    def candidates(self) -> RepeatedCompositeFieldContainer[Candidate]: ...
    def __init__(
        self,
        *,
        code: int = ...,
        message: str = ...,
        candidates: Iterable[Candidate] | None = ...,
    ) -> None: ...

class Candidate(Message):
    addr: str
    protocol: int
    expected_ms: float
    schema_digest: str
    def __init__(
        self,
        *,
        addr: str = ...,
        protocol: int = ...,
        expected_ms: float = ...,
        schema_digest: str = ...,
    ) -> None: ...

class LeaseRequest(Message):
    gateway: str
    @property
    def uses(self) -> RepeatedCompositeFieldContainer[LimitUse]: ...
    def __init__(
        self,
        *,
        gateway: str = ...,
        uses: Iterable[LimitUse] | None = ...,
    ) -> None: ...

class LimitUse(Message):
    name: str
    rate: float
    burst: int
    concurrency: int
    quota: int
    period_end: int
    admitted: int
    refused: int
    running: int
    slots: int
    used: int
    ahead: float
    used_before: int
    def __init__(
        self,
        *,
        name: str = ...,
        rate: float = ...,
        burst: int = ...,
        concurrency: int = ...,
        quota: int = ...,
        period_end: int = ...,
        admitted: int = ...,
        refused: int = ...,
        running: int = ...,
        slots: int = ...,
        used: int = ...,
        ahead: float = ...,
        used_before: int = ...,
    ) -> None: ...

class LeaseReply(Message):
    gateways: int
    @property
    def leases(self) -> RepeatedCompositeFieldContainer[Lease]: ...
    def __init__(
        self,
        *,
        gateways: int = ...,
        leases: Iterable[Lease] | None = ...,
    ) -> None: ...

class Lease(Message):
    admitted: float
    slots: int
    used: int
    share: float
    used_up: bool
    def __init__(
        self,
        *,
        admitted: float = ...,
        slots: int = ...,
        used: int = ...,
        share: float = ...,
        used_up: bool = ...,
    ) -> None: ...

class Duration(Message):
    seconds: int
    nanos: int
    def __init__(
        self,
        *,
        seconds: int = ...,
        nanos: int = ...,
    ) -> None: ...

class OrcaLoadReport(Message):
    cpu_utilization: float
    mem_utilization: float
    rps: int
    @property
    def request_cost(self) -> MutableMapping[str, float]: ...
    @property
    def utilization(self) -> MutableMapping[str, float]: ...
    rps_fractional: float
    eps: float
    @property
    def named_metrics(self) -> MutableMapping[str, float]: ...
    application_utilization: float
    def __init__(
        self,
        *,
        cpu_utilization: float = ...,
        mem_utilization: float = ...,
        rps: int = ...,
        request_cost: Mapping[str, float] | None = ...,
        utilization: Mapping[str, float] | None = ...,
        rps_fractional: float = ...,
        eps: float = ...,
        named_metrics: Mapping[str, float] | None = ...,
        application_utilization: float = ...,
    ) -> None: ...

class OrcaLoadReportRequest(Message):
    @property
    def report_interval(self) -> Duration: ...
    request_cost_names: RepeatedScalarFieldContainer[str]
    def __init__(
        self,
        *,
        report_interval: Duration | None = ...,
        request_cost_names: Iterable[str] | None = ...,
    ) -> None: ...

class ProbeReply(Message):
    in_flight: int
    latency_us: int
    def __init__(
        self,
        *,
        in_flight: int = ...,
        latency_us: int = ...,
    ) -> None: ...

class HealthCheckRequest(Message):
    service: str
    def __init__(
        self,
        *,
        service: str = ...,
    ) -> None: ...

class HealthCheckResponse(Message):
    UNKNOWN: int
    SERVING: int
    NOT_SERVING: int
    SERVICE_UNKNOWN: int
    status: int
    def __init__(
        self,
        *,
        status: int = ...,
    ) -> None: ...

class GatewayValue(Message):
    text: str
    data: bytes
    integer: int
    number: float
    boolean: bool
    json: str
    media_type: str
    def __init__(
        self,
        *,
        text: str | None = ...,
        data: bytes | None = ...,
        integer: int | None = ...,
        number: float | None = ...,
        boolean: bool | None = ...,
        json: str | None = ...,
        media_type: str = ...,
    ) -> None: ...

class InferRequest(Message):
    service: str
    @property
    def members(self) -> Mapping[str, GatewayValue]: ...
    def __init__(
        self,
        *,
        service: str = ...,
        members: Mapping[str, GatewayValue] | None = ...,
    ) -> None: ...

class InferResponse(Message):
    @property
    def members(self) -> Mapping[str, GatewayValue]: ...
    def __init__(
        self,
        *,
        members: Mapping[str, GatewayValue] | None = ...,
    ) -> None: ...

class SessionRequest(Message):
    service: str
    @property
    def members(self) -> Mapping[str, GatewayValue]: ...
    def __init__(
        self,
        *,
        service: str = ...,
        members: Mapping[str, GatewayValue] | None = ...,
    ) -> None: ...

class SessionResponse(Message):
    @property
    def members(self) -> Mapping[str, GatewayValue]: ...
    def __init__(
        self,
        *,
        members: Mapping[str, GatewayValue] | None = ...,
    ) -> None: ...

class RpcStatus(Message):
    code: int
    message: str
    @property
    def details(self) -> RepeatedCompositeFieldContainer[Message]: ...
    def __init__(
        self,
        *,
        code: int = ...,
        message: str = ...,
        details: Iterable[Message] | None = ...,
    ) -> None: ...

class ErrorInfo(Message):
    reason: str
    domain: str
    @property
    def metadata(self) -> MutableMapping[str, str]: ...
    def __init__(
        self,
        *,
        reason: str = ...,
        domain: str = ...,
        metadata: Mapping[str, str] | None = ...,
    ) -> None: ...

class BadRequest(Message):
    @property
    def field_violations(self) -> RepeatedCompositeFieldContainer[Message]: ...
    def __init__(
        self,
        *,
        field_violations: Iterable[Message] | None = ...,
    ) -> None: ...

class RetryInfo(Message):
    @property
    def retry_delay(self) -> Duration: ...
    def __init__(
        self,
        *,
        retry_delay: Duration | None = ...,
    ) -> None: ...

class RequestInfo(Message):
    request_id: str
    serving_data: str
    def __init__(
        self,
        *,
        request_id: str = ...,
        serving_data: str = ...,
    ) -> None: ...

class SubscribeRequest(Message):
    @property
    def subscription(self) -> SubscriptionRequest: ...
    @property
    def acknowledgement(self) -> Acknowledgement: ...
    def __init__(
        self,
        *,
        subscription: SubscriptionRequest | None = ...,
        acknowledgement: Acknowledgement | None = ...,
    ) -> None: ...

class SubscriptionRequest(Message):
    instance: str
    address: str
    @property
    def labels(self) -> MutableMapping[str, str]: ...
    @property
    def follow(self) -> RepeatedCompositeFieldContainer[Pattern]: ...
    digest: str
    @property
    def running(self) -> MutableMapping[str, int]: ...
    store: str
    def __init__(
        self,
        *,
        instance: str = ...,
        address: str = ...,
        labels: Mapping[str, str] | None = ...,
        follow: Iterable[Pattern] | None = ...,
        digest: str = ...,
        running: Mapping[str, int] | None = ...,
        store: str = ...,
    ) -> None: ...

class Pattern(Message):
    version: str
    schemas_only: bool
    def __init__(
        self,
        *,
        version: str = ...,
        schemas_only: bool = ...,
    ) -> None: ...

class Acknowledgement(Message):
    digest: str
    outcome: str
    reason: str
    def __init__(
        self,
        *,
        digest: str = ...,
        outcome: str = ...,
        reason: str = ...,
    ) -> None: ...

class GenerationUpdate(Message):
    revision: int
    digest: str
    @property
    def versions(self) -> RepeatedCompositeFieldContainer[VersionFiles]: ...
    @property
    def contents(self) -> MutableMapping[str, bytes]: ...
    store: str
    def __init__(
        self,
        *,
        revision: int = ...,
        digest: str = ...,
        versions: Iterable[VersionFiles] | None = ...,
        contents: Mapping[str, bytes] | None = ...,
        store: str = ...,
    ) -> None: ...

class VersionFiles(Message):
    version: str
    release: int
    gray: bool
    @property
    def files(self) -> RepeatedCompositeFieldContainer[VersionFile]: ...
    def __init__(
        self,
        *,
        version: str = ...,
        release: int = ...,
        gray: bool = ...,
        files: Iterable[VersionFile] | None = ...,
    ) -> None: ...

class VersionFile(Message):
    name: str
    digest: str
    size: int
    content_type: str
    kind: str
    def __init__(
        self,
        *,
        name: str = ...,
        digest: str = ...,
        size: int = ...,
        content_type: str = ...,
        kind: str = ...,
    ) -> None: ...

class FetchRequest(Message):
    digests: RepeatedScalarFieldContainer[str]
    def __init__(
        self,
        *,
        digests: Iterable[str] | None = ...,
    ) -> None: ...

class FetchReply(Message):
    @property
    def contents(self) -> MutableMapping[str, bytes]: ...
    def __init__(
        self,
        *,
        contents: Mapping[str, bytes] | None = ...,
    ) -> None: ...

class ProvideRequest(Message):
    @property
    def provider(self) -> ProviderInfo: ...
    def __init__(
        self,
        *,
        provider: ProviderInfo | None = ...,
    ) -> None: ...

class ProviderInfo(Message):
    version: str
    address: str
    protocol: str
    weight: int
    @property
    def labels(self) -> MutableMapping[str, str]: ...
    lease: float
    def __init__(
        self,
        *,
        version: str = ...,
        address: str = ...,
        protocol: str = ...,
        weight: int = ...,
        labels: Mapping[str, str] | None = ...,
        lease: float = ...,
    ) -> None: ...

class ProvideReply(Message):
    state: str
    def __init__(
        self,
        *,
        state: str = ...,
    ) -> None: ...

class DiscoverRequest(Message):
    version: str
    def __init__(
        self,
        *,
        version: str = ...,
    ) -> None: ...

class ProvidersUpdate(Message):
    @property
    def providers(self) -> RepeatedCompositeFieldContainer[DiscoveredProvider]: ...
    partial: bool
    def __init__(
        self,
        *,
        providers: Iterable[DiscoveredProvider] | None = ...,
        partial: bool = ...,
    ) -> None: ...

class DiscoveredProvider(Message):
    version: str
    address: str
    protocol: str
    weight: int
    @property
    def labels(self) -> MutableMapping[str, str]: ...
    state: str
    def __init__(
        self,
        *,
        version: str = ...,
        address: str = ...,
        protocol: str = ...,
        weight: int = ...,
        labels: Mapping[str, str] | None = ...,
        state: str = ...,
    ) -> None: ...

class EtcdAuthenticate(Message):
    name: str
    password: str
    def __init__(
        self,
        *,
        name: str = ...,
        password: str = ...,
    ) -> None: ...

class EtcdAuthenticateReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    token: str
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        token: str = ...,
    ) -> None: ...

class EtcdCompare(Message):
    result: int
    target: int
    key: bytes
    mod_revision: int
    lease: int
    def __init__(
        self,
        *,
        result: int = ...,
        target: int = ...,
        key: bytes = ...,
        mod_revision: int | None = ...,
        lease: int | None = ...,
    ) -> None: ...

class EtcdEvent(Message):
    type: int
    @property
    def kv(self) -> EtcdKeyValue: ...
    def __init__(
        self,
        *,
        type: int = ...,
        kv: EtcdKeyValue | None = ...,
    ) -> None: ...

class EtcdHeader(Message):
    cluster_id: int
    member_id: int
    revision: int
    raft_term: int
    def __init__(
        self,
        *,
        cluster_id: int = ...,
        member_id: int = ...,
        revision: int = ...,
        raft_term: int = ...,
    ) -> None: ...

class EtcdKeyValue(Message):
    key: bytes
    create_revision: int
    mod_revision: int
    version: int
    value: bytes
    lease: int
    def __init__(
        self,
        *,
        key: bytes = ...,
        create_revision: int = ...,
        mod_revision: int = ...,
        version: int = ...,
        value: bytes = ...,
        lease: int = ...,
    ) -> None: ...

class EtcdRange(Message):
    key: bytes
    range_end: bytes
    limit: int
    revision: int
    def __init__(
        self,
        *,
        key: bytes = ...,
        range_end: bytes = ...,
        limit: int = ...,
        revision: int = ...,
    ) -> None: ...

class EtcdRangeReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    @property
    def kvs(self) -> RepeatedCompositeFieldContainer[EtcdKeyValue]: ...
    more: bool
    count: int
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        kvs: Iterable[EtcdKeyValue] | None = ...,
        more: bool = ...,
        count: int = ...,
    ) -> None: ...

class EtcdPut(Message):
    key: bytes
    value: bytes
    lease: int
    def __init__(
        self,
        *,
        key: bytes = ...,
        value: bytes = ...,
        lease: int = ...,
    ) -> None: ...

class EtcdDelete(Message):
    key: bytes
    range_end: bytes
    def __init__(
        self,
        *,
        key: bytes = ...,
        range_end: bytes = ...,
    ) -> None: ...

class EtcdOperation(Message):
    @property
    def request_range(self) -> EtcdRange: ...
    @property
    def request_put(self) -> EtcdPut: ...
    @property
    def request_delete_range(self) -> EtcdDelete: ...
    def __init__(
        self,
        *,
        request_range: EtcdRange | None = ...,
        request_put: EtcdPut | None = ...,
        request_delete_range: EtcdDelete | None = ...,
    ) -> None: ...

class EtcdTransaction(Message):
    @property
    def compare(self) -> RepeatedCompositeFieldContainer[EtcdCompare]: ...
    @property
    def success(self) -> RepeatedCompositeFieldContainer[EtcdOperation]: ...
    @property
    def failure(self) -> RepeatedCompositeFieldContainer[EtcdOperation]: ...
    def __init__(
        self,
        *,
        compare: Iterable[EtcdCompare] | None = ...,
        success: Iterable[EtcdOperation] | None = ...,
        failure: Iterable[EtcdOperation] | None = ...,
    ) -> None: ...

class EtcdTransactionReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    succeeded: bool
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        succeeded: bool = ...,
    ) -> None: ...

class EtcdWatchCreate(Message):
    key: bytes
    range_end: bytes
    start_revision: int
    progress_notify: bool
    def __init__(
        self,
        *,
        key: bytes = ...,
        range_end: bytes = ...,
        start_revision: int = ...,
        progress_notify: bool = ...,
    ) -> None: ...

class EtcdWatch(Message):
    @property
    def create_request(self) -> EtcdWatchCreate: ...
    def __init__(
        self,
        *,
        create_request: EtcdWatchCreate | None = ...,
    ) -> None: ...

class EtcdWatchReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    watch_id: int
    created: bool
    canceled: bool
    compact_revision: int
    cancel_reason: str
    fragment: bool
    @property
    def events(self) -> RepeatedCompositeFieldContainer[EtcdEvent]: ...
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        watch_id: int = ...,
        created: bool = ...,
        canceled: bool = ...,
        compact_revision: int = ...,
        cancel_reason: str = ...,
        fragment: bool = ...,
        events: Iterable[EtcdEvent] | None = ...,
    ) -> None: ...

class EtcdLeaseGrant(Message):
    TTL: int
    ID: int
    def __init__(
        self,
        *,
        TTL: int = ...,
        ID: int = ...,
    ) -> None: ...

class EtcdLeaseGrantReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    ID: int
    TTL: int
    error: str
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        ID: int = ...,
        TTL: int = ...,
        error: str = ...,
    ) -> None: ...

class EtcdLeaseKeepAlive(Message):
    ID: int
    def __init__(
        self,
        *,
        ID: int = ...,
    ) -> None: ...

class EtcdLeaseKeepAliveReply(Message):
    @property
    def header(self) -> EtcdHeader: ...
    ID: int
    TTL: int
    def __init__(
        self,
        *,
        header: EtcdHeader | None = ...,
        ID: int = ...,
        TTL: int = ...,
    ) -> None: ...

class EtcdLeaseRevoke(Message):
    ID: int
    def __init__(
        self,
        *,
        ID: int = ...,
    ) -> None: ...
