"""Members of objects: unknown ones, and numbers out of their bounds."""

from math import inf, nan

import pytest

from deploy.workloads.members import InvalidMemberError, check_number, read_object


def test_object_is_read_with_a_hint_for_an_unknown_member() -> None:
    names = dict.fromkeys(["window", "target"])
    assert read_object({"target": 1}, names, "{target: 1}") == {"target": 1}
    with pytest.raises(InvalidMemberError) as error_info:
        read_object({"targt": 1}, names, "{target: 1}")
    assert (error_info.value.name, error_info.value.message) == ("targt", "unknown member")
    assert "target" in error_info.value.hint
    with pytest.raises(InvalidMemberError, match=r"must be an object, as \{target: 1\}"):
        read_object([1], names, "{target: 1}")


@pytest.mark.parametrize("value", [0, 11, nan, inf, "5", True, None, 1.5])
def test_number_out_of_bounds_is_refused(value: object) -> None:
    with pytest.raises(InvalidMemberError, match="must be a whole number, 1 to 10"):
        check_number("n", value, (1.0, 10.0, True))
    check_number("n", 5, (1.0, 10.0, True))
    check_number("n", 5.5, (1.0, 10.0, False))
