"""The end of a call, in the table's words."""

import pytest

from atom.errors import to_ase_error
from rpc.status import RpcError, Status
from schemas.model.errors import DEADLINE, LOADER_FULL, LOADER_LOST, UNREACHABLE, ErrorSpec


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
