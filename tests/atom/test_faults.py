"""The end of a call, in the table's words."""

import pytest

from atom.faults import fault_of
from rpc.status import RpcError, Status
from schemas.errors import DEADLINE, FULL, LOST, UNREACHABLE, Fault


@pytest.mark.parametrize(
    ("status", "details", "sent", "fault", "words"),
    [
        (Status.UNAVAILABLE, "gone", False, UNREACHABLE, UNREACHABLE.words),
        (Status.RESOURCE_EXHAUSTED, "10110 all taken", True, FULL, FULL.words),
        (Status.RESOURCE_EXHAUSTED, "101101 bytes", True, LOST, "ended with RESOURCE_EXHAUSTED"),
        (Status.DEADLINE_EXCEEDED, "", True, DEADLINE, DEADLINE.words),
        (Status.UNAVAILABLE, "/secret", True, LOST, LOST.words),
        (Status.INTERNAL, "/secret", True, LOST, "loader call ended with INTERNAL"),
    ],
)
def test_each_end_has_its_row(
    status: Status, details: str, sent: bool, fault: Fault, words: str
) -> None:
    told = fault_of(RpcError(status, details, sent=sent))
    assert told.fault is fault
    assert words in str(told)
    assert "secret" not in str(told)
