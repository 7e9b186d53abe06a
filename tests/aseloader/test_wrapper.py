"""What an author is handed."""

from typing import Any

import pytest

from aseloader import Context, Data


def test_data_encoding() -> None:
    assert Data(b"", {"encoding": "png"}).encoding == "png"
    assert Data(b"").encoding == ""


def test_context_is_cancelled_when_the_caller_is_gone() -> None:
    caller_waits = [True]
    context = Context({"sid": "s"}, 5.0, lambda: not caller_waits[0])
    assert (context.sid, context.deadline, context.cancelled) == ("s", 5.0, False)
    caller_waits[0] = False
    assert context.cancelled
    assert not Context({}).cancelled


def test_usage_is_summed_until_it_is_taken() -> None:
    context = Context({})
    assert context.take_usage() == {}
    context.usage(tokens=3)
    context.usage(tokens=4, images=1)
    assert context.take_usage() == {"tokens": 7, "images": 1}
    assert context.take_usage() == {}


@pytest.mark.parametrize("amount", [-1, 1.5, True, "7", None, 2**53 + 1])
def test_usage_is_a_whole_number(amount: Any) -> None:
    with pytest.raises(ValueError, match="tokens must be a whole number"):
        Context({}).usage(tokens=amount)
