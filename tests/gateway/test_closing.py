"""Which close code tells what."""

import pytest

from gateway.closing import close_of, code_of, cut, reason, stopped
from schemas import errors
from schemas.errors import AseError, Fault
from schemas.session import Event


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (errors.BAD_REQUEST, 1008), (errors.BAD_APP, 1008), (errors.REFUSED, 1008),
        (errors.SILENT, 3008), (errors.LATE, 3008), (errors.DEADLINE, 3008),
        (errors.FULL, 1013), (errors.NO_INSTANCE, 1013), (errors.OVERFLOW, 1008),
        (errors.LOST, 1014), (errors.BAD_OUTPUT, 1014), (errors.RAISED, 1014),
        (errors.UNREACHABLE, 1014), (errors.INTERNAL, 1011),
        (errors.loader_fault(77), 1014),
    ],
)  # fmt: skip
def test_an_error_has_its_code(fault: Fault, code: int) -> None:
    assert code_of(AseError(fault)) == code
    assert close_of(Event.FAILED, AseError(fault, "words"))[1] == "words"


@pytest.mark.parametrize(
    ("event", "code"),
    [(Event.LAST, 1000), (Event.GONE, 1000), (Event.DRAIN, 1001), (Event.CUT, 1001),
     (Event.RESULT, 1001)],
)  # fmt: skip
def test_without_an_error_it_ended_well_or_the_gateway_leaves(event: Event, code: int) -> None:
    assert close_of(event, None)[0] == code
    if code == 1001:
        assert close_of(event, cut())[0] == close_of(event, stopped())[0] == 1001


def test_a_reason_fits_and_stays_text() -> None:
    assert len(reason("é" * 200).encode()) <= 123
    assert set(reason("é" * 200)) == {"é"}
