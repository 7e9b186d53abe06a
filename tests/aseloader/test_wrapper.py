"""What an author is handed."""

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
