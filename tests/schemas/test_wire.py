"""The descriptor set is what the protos say, its numbers are fixed, and it keeps to itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from schemas import build, wire

ROOT = Path(__file__).parent.parent.parent


def test_descriptor_set_is_up_to_date() -> None:
    compiled = FileDescriptorSet.FromString(build.compile_protos())
    committed = FileDescriptorSet.FromString(wire.DESCRIPTOR_SET)
    assert {file.name: file for file in compiled.file} == {
        file.name: file for file in committed.file
    }, "run `make proto`"


def test_stub_is_up_to_date() -> None:
    path = ROOT / "schemas" / "wire.pyi"
    assert path.read_text(encoding="utf-8") == build.render_wire_stub(), "run `make proto`"


FIELD_NUMBERS = {
    "protocol.MetaDesc": "name=1 dataType=2 attribute=3",
    "protocol.Payload": "meta=1 data=2",
    "protocol.LoaderInput": "serviceId=1 serviceName=2 state=3 headers=4 params=5 expect=6 pl=7 "
    "sync_id=8",
    "protocol.LoaderOutput": "serviceId=1 code=2 err=3 status=4 pl=5 units=15",
    "utils.Session": "t=1 h=2 sess=3",
    "utils.DataMeta": "data=1 desc=3",
    "utils.ReqData": "op=1 s=2 param=3 data=4",
    "utils.ResData": "code=1 error_info=2 s=3 param=4 data=5",
    "ase.v1.LoadReport": "svc=1 subsvc=2 addr=3 instance_epoch=4 seq=5 live=6 total=7 best=8 "
    "idle=9 running=10 queued=11 service_ms=12 rate=13 served_total=14 error_total=15 "
    "rejected_total=16 cost_units=17 kv_usage=18 acc=19 orca=20 protocol=21 schema_digest=22 "
    "schema=23 held=24 tells_held=25 max_batch=26 "
    "batch_base_ms=27 batch_item_ms=28 version=29",
    "ase.v1.SchemaDocument": "digest=1 document=2",
    "ase.v1.ReportControl": "gap_ms=1 threshold=2 keepalive_ms=3 pause=4 seq=5 code=6 message=7 "
    "idle_keepalive_ms=8",
    "ase.v1.WatchRequest": "gateway=1 subsvc=2 hub_epoch=3 version=4",
    "ase.v1.Frame": "hub_epoch=1 version=2 snapshot=3 instances=4 loads=5 gone=6 schemas=7 "
    "traffic=8",
    "ase.v1.Traffic": "owner=1 revision=2 shares=3",
    "ase.v1.VersionShare": "version=1 share=2",
    "ase.v1.TrafficReply": "revision=1",
    "ase.v1.Instance": "id=1 svc=2 subsvc=3 addr=4 instance_epoch=5 protocol=6 schema_digest=7 "
    "total=8 best=9 feed=10 max_batch=11 version=12",
    "ase.v1.Load": "id=1 seq=2 live=3 suspect=4 idle=5 running=6 queued=7 service_us=8 acc=9 "
    "served_total=10 error_total=11 rejected_total=12 age_ms=13 "
    "held=14 silent=15 batch_base_us=16 batch_item_us=17",
    "ase.v1.Gone": "id=1 reason=2",
    "ase.v1.PickRequest": "svc=1 subsvc=2 nbest=3 exclude=4 key=5 gateway=6",
    "ase.v1.PickReply": "code=1 message=2 candidates=3",
    "ase.v1.Candidate": "addr=1 protocol=2 expected_ms=3 schema_digest=4",
    "ase.v1.LeaseRequest": "gateway=1 uses=2",
    "ase.v1.LimitUse": (
        "name=1 rate=2 burst=3 concurrency=4 quota=5 period_end=6 admitted=7 refused=8 running=9 "
        "slots=10 used=11 ahead=12 used_before=13"
    ),
    "ase.v1.LeaseReply": "gateways=1 leases=2",
    "ase.v1.Lease": "admitted=1 slots=2 used=3 share=4 used_up=5",
    "ase.v1.ProbeReply": "in_flight=1 latency_us=2",
    "xds.data.orca.v3.OrcaLoadReport": "cpu_utilization=1 mem_utilization=2 rps=3 request_cost=4 "
    "utilization=5 rps_fractional=6 eps=7 named_metrics=8 application_utilization=9",
    "xds.service.orca.v3.OrcaLoadReportRequest": "report_interval=1 request_cost_names=2",
    "ase.v1.Value": "text=1 data=2 integer=3 number=4 boolean=5 json=6 media_type=7",
    "ase.v1.InferRequest": "service=1 members=2",
    "ase.v1.InferResponse": "members=1",
    "ase.v1.SessionRequest": "service=1 members=2",
    "ase.v1.SessionResponse": "members=1",
    "google.rpc.Status": "code=1 message=2 details=3",
    "google.rpc.ErrorInfo": "reason=1 domain=2 metadata=3",
    "google.rpc.BadRequest": "field_violations=1",
    "google.rpc.RetryInfo": "retry_delay=1",
    "google.rpc.RequestInfo": "request_id=1 serving_data=2",
    "grpc.health.v1.HealthCheckRequest": "service=1",
    "grpc.health.v1.HealthCheckResponse": "status=1",
}


@pytest.mark.parametrize("name", FIELD_NUMBERS)
def test_field_numbers_never_change(name: str) -> None:
    fields = wire.message(name).DESCRIPTOR.fields
    assert " ".join(f"{field.name}={field.number}" for field in fields) == FIELD_NUMBERS[name]


def test_an_unknown_message_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        wire.message("protocol.Nothing")


def test_messages_may_coexist_with_another_copy_in_the_process() -> None:
    """A user's model may bring its own `protocol.MetaDesc`, even a different one."""
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool
mine = descriptor_pb2.FileDescriptorProto(name="protocol.proto", package="protocol")
mine.syntax = "proto3"
mine.message_type.add(name="MetaDesc").field.add(name="other", number=9, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(mine.SerializeToString())
from schemas.wire import MetaDesc
assert MetaDesc(name="x").name == "x"
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
