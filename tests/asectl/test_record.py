"""What is recorded is counted, however it arrives."""

from asectl.record import _Tally

_LINES = b'{"kind": "start", "gateway": "g"}\n' + b'{"kind": "request", "at": 1.0}\n' * 100


def test_requests_are_counted_whatever_the_pieces() -> None:
    for size in (1, 7, 64, 10_000):
        tally = _Tally()
        for start in range(0, len(_LINES), size):
            tally.add(_LINES[start : start + size])
        assert str(tally) == "100 requests recorded"
        assert not tally.is_complete()
        tally.add(b'{"kind": "end", "gateway": "g"}\n')
        assert tally.is_complete()


def test_recording_of_workers_ends_with_the_last_of_them() -> None:
    tally = _Tally()
    tally.add(b'{"kind": "start", "gateway": "g1"}\n{"kind": "start", "gateway": "g2"}\n')
    tally.add(b'{"kind": "end", "gateway": "g1"}\n')
    assert not tally.is_complete()
    tally.add(b'{"kind": "end", "gateway": "g2"}\n')
    assert tally.is_complete()
