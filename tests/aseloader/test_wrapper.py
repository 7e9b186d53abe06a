"""What an author is handed."""

import pytest

from aseloader import Context, Data, Wrapper


def test_data_tells_its_encoding() -> None:
    assert Data(b"", {"encoding": "png"}).encoding == "png"
    assert Data(b"").encoding == ""


def test_a_context_asks_whether_anybody_waits() -> None:
    waits = [True]
    context = Context({"sid": "s"}, 5.0, lambda: not waits[0])
    assert (context.sid, context.deadline, context.cancelled) == ("s", 5.0, False)
    waits[0] = False
    assert context.cancelled
    assert not Context({}).cancelled


def test_a_wrapper_without_one_of_its_methods_says_so() -> None:
    class Empty(Wrapper):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a method once"):
        Empty().once({}, {}, Context({}))
    with pytest.raises(NotImplementedError, match="Empty needs a method session"):
        Empty().session({}, None)  # type: ignore[arg-type]
