"""What is written when a turn of the loop is over: in order, together, and not without bounds."""

from collections.abc import Callable
from typing import Any

from gateway.http.write_batch import WriteBatcher


class Wire:
    """A transport that remembers what it was given."""

    def __init__(self, *, closing: bool = False) -> None:
        self.closing = closing
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_what_is_put_is_written_when_the_turn_is_over_each_connection_s_in_one() -> None:
    outbox, soon = WriteBatcher(), []
    first, second = Wire(), Wire()
    call_soon: Callable[..., Any] = soon.append
    for wire, data in ((first, b"a"), (first, b"b"), (second, b"c"), (first, b"d")):
        outbox.put(wire, data, call_soon)  # type: ignore[arg-type]
    assert first.written == second.written == []
    assert soon == [outbox.flush]
    outbox.flush()
    assert (first.written, second.written) == ([b"ab", b"d"], [b"c"])
    outbox.flush()
    assert first.written == [b"ab", b"d"]
    outbox.put(first, b"e", call_soon)  # type: ignore[arg-type]
    assert len(soon) == 2


def test_a_connection_that_closes_gets_nothing() -> None:
    outbox, wire = WriteBatcher(), Wire(closing=True)
    outbox.put(wire, b"a", print)  # type: ignore[arg-type]
    outbox.flush()
    assert wire.written == []


def test_much_is_not_kept() -> None:
    outbox, wire = WriteBatcher(), Wire()
    for _ in range(5):
        outbox.put(wire, b"x" * 65536, lambda _: None)  # type: ignore[arg-type]
    assert sum(map(len, wire.written)) == 5 * 65536
