"""Canaries as specifications say them."""

import pytest

from deploy.workloads.canary import Canary, read_canary
from deploy.workloads.members import InvalidMemberError


@pytest.mark.parametrize(
    ("tree", "canary"),
    [
        ({"share": "10%"}, Canary(0.1)),
        ({"share": 1, "promotion": "hand"}, Canary(1.0, "hand")),
        (
            {"share": 0.05, "requests": 1000, "errorTolerance": 0, "slowdown": 2},
            Canary(0.05, "comparison", 1000, 0.0, 2.0),
        ),
    ],
)
def test_canary_is_read_and_written(tree: object, canary: Canary) -> None:
    assert read_canary(tree) == canary
    assert read_canary(canary.to_json()) == canary


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("10%", ": must be an object, as {share: 10%}"),
        ({}, "share: must be more than 0 and at most 1, or as 10%"),
        ({"share": 0}, "share: must be more than 0"),
        ({"share": "150%"}, "share: must be more than 0"),
        ({"share": "ten%"}, "share: must be more than 0"),
        ({"share": "100%"}, "share: must be less than all: there is nothing to compare with"),
        ({"share": "nan%"}, "share: must be more than 0"),
        ({"share": True}, "share: must be more than 0"),
        ({"share": 0.1, "promotion": "never"}, "promotion: must be comparison or hand"),
        ({"share": 0.1, "requests": 0}, "requests: must be a whole number, 1 to"),
        ({"share": 0.1, "slowdown": float("nan")}, "slowdown: must be a number, 1 to 1000"),
        ({"share": 0.1, "errorTolerance": "1%"}, "errorTolerance: must be a number, 0 to 1"),
        ({"share": 0.1, "request": 5}, "request: unknown member"),
    ],
)
def test_invalid_member_is_named(tree: object, message: str) -> None:
    with pytest.raises(InvalidMemberError) as error_info:
        read_canary(tree)
    assert message in str(error_info.value)


def test_unknown_member_has_a_hint() -> None:
    with pytest.raises(InvalidMemberError) as error_info:
        read_canary({"share": 0.1, "requst": 5})
    assert "requests" in error_info.value.hint
