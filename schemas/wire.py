"""The protobuf messages on the wire, as classes built from `ase.desc` at import.

The descriptor set is loaded into a private pool. A user's model may therefore load other copies of
the same messages in the same process without a conflict. There is no generated `_pb2` module, so
the user may choose the protobuf runtime. `wire.pyi` declares the types. `make proto` rebuilds
`ase.desc` and `wire.pyi`.
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

DESCRIPTOR_SET = Path(__file__).with_name("ase.desc").read_bytes()


def load_pool(descriptor_set: bytes) -> DescriptorPool:
    """Return a new descriptor pool with every file of a serialized FileDescriptorSet."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = load_pool(DESCRIPTOR_SET)


def message(full_name: str) -> type[Message]:
    """Return the message class with the full name `full_name`, such as `protocol.LoaderInput`.

    Raises KeyError if the descriptor set has no such message.
    """
    return GetMessageClass(POOL.FindMessageTypeByName(full_name))


MetaDesc = message("protocol.MetaDesc")
Payload = message("protocol.Payload")
LoaderInput = message("protocol.LoaderInput")
LoaderOutput = message("protocol.LoaderOutput")

XsfSession = message("utils.Session")
XsfData = message("utils.DataMeta")
ReqData = message("utils.ReqData")
ResData = message("utils.ResData")
ToolRequest = message("utils.Request")
ToolResponse = message("utils.Response")

LoadReport = message("ase.v1.LoadReport")
SchemaDocument = message("ase.v1.SchemaDocument")
ReportControl = message("ase.v1.ReportControl")
WatchRequest = message("ase.v1.WatchRequest")
Traffic = message("ase.v1.Traffic")
TrafficReply = message("ase.v1.TrafficReply")
VersionShare = message("ase.v1.VersionShare")
Frame = message("ase.v1.Frame")
Instance = message("ase.v1.Instance")
Load = message("ase.v1.Load")
Gone = message("ase.v1.Gone")
PickRequest = message("ase.v1.PickRequest")
PickReply = message("ase.v1.PickReply")
Candidate = message("ase.v1.Candidate")
LeaseRequest = message("ase.v1.LeaseRequest")
LimitUse = message("ase.v1.LimitUse")
LeaseReply = message("ase.v1.LeaseReply")
Lease = message("ase.v1.Lease")

Duration = message("google.protobuf.Duration")
OrcaLoadReport = message("xds.data.orca.v3.OrcaLoadReport")
OrcaLoadReportRequest = message("xds.service.orca.v3.OrcaLoadReportRequest")

ProbeReply = message("ase.v1.ProbeReply")

HealthCheckRequest = message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message("grpc.health.v1.HealthCheckResponse")

GatewayValue = message("ase.v1.Value")
InferRequest = message("ase.v1.InferRequest")
InferResponse = message("ase.v1.InferResponse")
SessionRequest = message("ase.v1.SessionRequest")
SessionResponse = message("ase.v1.SessionResponse")

RpcStatus = message("google.rpc.Status")
ErrorInfo = message("google.rpc.ErrorInfo")
BadRequest = message("google.rpc.BadRequest")
RetryInfo = message("google.rpc.RetryInfo")
RequestInfo = message("google.rpc.RequestInfo")

SubscribeRequest = message("registry.v1.SubscribeRequest")
SubscriptionRequest = message("registry.v1.SubscriptionRequest")
Pattern = message("registry.v1.Pattern")
Acknowledgement = message("registry.v1.Acknowledgement")
GenerationUpdate = message("registry.v1.GenerationUpdate")
VersionFiles = message("registry.v1.VersionFiles")
VersionFile = message("registry.v1.VersionFile")
FetchRequest = message("registry.v1.FetchRequest")
FetchReply = message("registry.v1.FetchReply")
ProvideRequest = message("registry.v1.ProvideRequest")
ProviderInfo = message("registry.v1.ProviderInfo")
ProvideReply = message("registry.v1.ProvideReply")
DiscoverRequest = message("registry.v1.DiscoverRequest")
ProvidersUpdate = message("registry.v1.ProvidersUpdate")
DiscoveredProvider = message("registry.v1.DiscoveredProvider")

EtcdAuthenticate = message("etcdserverpb.AuthenticateRequest")
EtcdAuthenticateReply = message("etcdserverpb.AuthenticateResponse")
EtcdCompare = message("etcdserverpb.Compare")
EtcdEvent = message("etcdserverpb.Event")
EtcdHeader = message("etcdserverpb.ResponseHeader")
EtcdKeyValue = message("etcdserverpb.KeyValue")
EtcdRange = message("etcdserverpb.RangeRequest")
EtcdRangeReply = message("etcdserverpb.RangeResponse")
EtcdPut = message("etcdserverpb.PutRequest")
EtcdDelete = message("etcdserverpb.DeleteRangeRequest")
EtcdOperation = message("etcdserverpb.RequestOp")
EtcdTransaction = message("etcdserverpb.TxnRequest")
EtcdTransactionReply = message("etcdserverpb.TxnResponse")
EtcdWatchCreate = message("etcdserverpb.WatchCreateRequest")
EtcdWatch = message("etcdserverpb.EtcdWatchRequest")
EtcdWatchReply = message("etcdserverpb.EtcdWatchResponse")
EtcdLeaseGrant = message("etcdserverpb.LeaseGrantRequest")
EtcdLeaseGrantReply = message("etcdserverpb.LeaseGrantResponse")
EtcdLeaseKeepAlive = message("etcdserverpb.LeaseKeepAliveRequest")
EtcdLeaseKeepAliveReply = message("etcdserverpb.LeaseKeepAliveResponse")
EtcdLeaseRevoke = message("etcdserverpb.LeaseRevokeRequest")
