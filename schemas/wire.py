"""The messages on the wire, as classes made from `ase.desc`.

The descriptor set is read once, into a pool of our own: a user's model may load other copies
of the same messages in the same process, and the two never meet. There is no generated `_pb2`,
so the protobuf runtime is the user's choice. `wire.pyi` beside this file tells types; both are
rebuilt by `make proto`.
"""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

DESCRIPTOR_SET = Path(__file__).with_name("ase.desc").read_bytes()


def load_pool(descriptor_set: bytes) -> DescriptorPool:
    """Return a private pool holding every file of a serialised FileDescriptorSet."""
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(descriptor_set).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


POOL = load_pool(DESCRIPTOR_SET)


def message(full_name: str) -> type[Message]:
    """Return the class of a message by its full name, for example `protocol.LoaderInput`.

    Raises KeyError for a name that is not in the descriptor set.
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
Frame = message("ase.v1.Frame")
Instance = message("ase.v1.Instance")
Load = message("ase.v1.Load")
Gone = message("ase.v1.Gone")
PickRequest = message("ase.v1.PickRequest")
PickReply = message("ase.v1.PickReply")
Candidate = message("ase.v1.Candidate")

Duration = message("google.protobuf.Duration")
OrcaLoadReport = message("xds.data.orca.v3.OrcaLoadReport")
OrcaLoadReportRequest = message("xds.service.orca.v3.OrcaLoadReportRequest")

ProbeReply = message("ase.v1.ProbeReply")

HealthCheckRequest = message("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message("grpc.health.v1.HealthCheckResponse")
