"""The end of a call, in the table's words."""

import pytest

from atom.errors import to_ase_error
from rpc.status import MessageTooLargeError, RpcError, Status
from schemas.model.errors import (
    DEADLINE,
    LOADER_FULL,
    LOADER_LOST,
    OUTPUT_TOO_LARGE,
    REQUEST_TOO_LARGE,
    UNREACHABLE,
    ErrorSpec,
)


@pytest.mark.parametrize(
    ("status", "details", "may_have_run", "error_spec", "message"),
    [
        (Status.UNAVAILABLE, "gone", False, UNREACHABLE, UNREACHABLE.message),
        (Status.RESOURCE_EXHAUSTED, "10110 all taken", True, LOADER_FULL, LOADER_FULL.message),
        (
            Status.RESOURCE_EXHAUSTED,
            "101101 bytes",
            True,
            LOADER_LOST,
            "ended with RESOURCE_EXHAUSTED",
        ),
        (Status.DEADLINE_EXCEEDED, "", True, DEADLINE, DEADLINE.message),
        # the messages of grpc-core, grpc-go, grpc-java and tonic
        (
            Status.RESOURCE_EXHAUSTED,
            "SERVER: Received message larger than max (20 vs. 16)",
            True,
            REQUEST_TOO_LARGE,
            "request is larger than the loader's limit of a message: 20 bytes, and it takes 16",
        ),
        (
            Status.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (20 vs. 16)",
            True,
            REQUEST_TOO_LARGE,
            "20 bytes, and it takes 16; `--max-message` of `asectl loader run` sets it",
        ),
        (
            Status.RESOURCE_EXHAUSTED,
            "gRPC message exceeds maximum size 16: 20",
            True,
            REQUEST_TOO_LARGE,
            "the loader's limit of a message",
        ),
        (
            Status.OUT_OF_RANGE,
            "Error, decoded message length too large: found 20 bytes, the limit is: 16 bytes",
            True,
            REQUEST_TOO_LARGE,
            "the loader's limit of a message",
        ),
        (
            Status.OUT_OF_RANGE,
            "Error, encoded message length too large: found 20 bytes, the limit is: 16 bytes",
            True,
            OUTPUT_TOO_LARGE,
            "the output is larger than the loader's limit",
        ),
        (
            Status.RESOURCE_EXHAUSTED,
            "grpc: received message after decompression larger than max 16",
            True,
            REQUEST_TOO_LARGE,
            "the loader's limit of a message",
        ),
        (
            Status.RESOURCE_EXHAUSTED,
            "SERVER: Sent message larger than max (20 vs. 16)",
            True,
            OUTPUT_TOO_LARGE,
            "output is larger than the loader's limit of a message: 20 bytes",
        ),
        (
            Status.RESOURCE_EXHAUSTED,
            "trying to send message larger than max (20 vs. 16)",
            True,
            OUTPUT_TOO_LARGE,
            "20 bytes",
        ),
        (Status.INTERNAL, "message larger than max", True, LOADER_LOST, "INTERNAL"),
        (Status.UNAVAILABLE, "/secret", True, LOADER_LOST, LOADER_LOST.message),
        (Status.INTERNAL, "/secret", True, LOADER_LOST, "loader call ended with INTERNAL"),
    ],
)
def test_rpc_errors_map_to_error_specs(
    status: Status, details: str, may_have_run: bool, error_spec: ErrorSpec, message: str
) -> None:
    error = to_ase_error(RpcError(status, details, may_have_run=may_have_run))
    assert error.spec is error_spec
    assert message in str(error)
    assert "secret" not in str(error)


def test_response_above_our_limit_names_the_option() -> None:
    error = to_ase_error(MessageTooLargeError("20 bytes", 16))
    assert error.spec is OUTPUT_TOO_LARGE
    assert str(error) == "the output has 20 bytes; `gateway.max_output` is 16"
