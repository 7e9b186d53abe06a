"""What is written when a turn of the loop is over: in order, together, and not without bounds."""

from collections.abc import Callable
from typing import Any

from gateway.http.write_batch import WriteBatcher


class FakeTransport:
    """A transport that remembers what it was given."""

    def __init__(self, *, closing: bool = False) -> None:
        self.closing = closing
        self.written: list[bytes] = []

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written.append(data)


def test_writes_are_batched_by_connection_until_flush() -> None:
    batcher, scheduled = WriteBatcher(), []
    first, second = FakeTransport(), FakeTransport()
    call_soon: Callable[..., Any] = scheduled.append
    for transport, data in ((first, b"a"), (first, b"b"), (second, b"c"), (first, b"d")):
        batcher.put(transport, data, call_soon)  # type: ignore[arg-type]
    assert first.written == second.written == []
    assert scheduled == [batcher.flush]
    batcher.flush()
    assert (first.written, second.written) == ([b"ab", b"d"], [b"c"])
    batcher.flush()
    assert first.written == [b"ab", b"d"]
    batcher.put(first, b"e", call_soon)  # type: ignore[arg-type]
    assert len(scheduled) == 2


def test_nothing_is_written_to_a_closing_transport() -> None:
    batcher, transport = WriteBatcher(), FakeTransport(closing=True)
    batcher.put(transport, b"a", print)  # type: ignore[arg-type]
    batcher.flush()
    assert transport.written == []


def test_large_writes_are_not_held_back() -> None:
    batcher, transport = WriteBatcher(), FakeTransport()
    for _ in range(5):
        batcher.put(transport, b"x" * 65536, lambda _: None)  # type: ignore[arg-type]
    assert sum(map(len, transport.written)) == 5 * 65536
