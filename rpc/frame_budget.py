"""How many frames a peer may send that bring nothing, relative to the work on its connection. Pure.

A token bucket. A frame costs tokens if it carries no data: DATA of a few bytes, header blocks,
WINDOW_UPDATE, PING and every other frame. Time and work bring tokens back: a call needs some such
frames, and so do each frame and each KiB of data that is sent to the peer (some servers ping for
each), and each message of a stream. So a peer that serves calls and floods the connection beside
them runs out of tokens too (RFC 9113, 10.5).
"""

from collections.abc import Callable
from typing import Final

BURST: Final = 4_000  # tokens at most, and those of the open streams
RATE: Final = 1_000.0  # tokens a second
_PER_STREAM, _PER_FRAME_SENT, _PER_KIB_SENT, _PER_MESSAGE = 16, 2, 1, 2
# DATA of fewer bytes costs a token; of a header block, each KiB costs one more.
SMALL_DATA: Final = 64


class FrameBudget:
    """The tokens of one connection; `clock` returns seconds.

    `tokens` is lowered by the owner, which calls `renew` when it is negative. `_work` is what
    streams and sent bytes have earned so far.
    """

    __slots__ = ("_clock", "_renewed_at", "_work", "tokens")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.tokens = BURST
        self._clock = clock
        self._renewed_at = clock()
        self._work = 0

    def earn(self, message_count: int) -> None:
        """Add the tokens of messages that were received on a stream with several."""
        if self.tokens < BURST:
            self.tokens += _PER_MESSAGE * message_count

    def renew(self, stream_count: int, open_count: int, sent_frames: int, sent_bytes: int) -> bool:
        """Add the tokens of the time and the work since the last call.

        `stream_count`, `sent_frames` (of data) and `sent_bytes` are totals of the connection,
        `open_count` are the streams that are open now. Returns False if the tokens are used up all
        the same.
        """
        now = self._clock()
        work = _PER_STREAM * stream_count + _PER_FRAME_SENT * sent_frames
        work += _PER_KIB_SENT * (sent_bytes >> 10)
        earned = int((now - self._renewed_at) * RATE) + work - self._work
        self.tokens = min(BURST + _PER_STREAM * open_count, self.tokens + earned)
        self._renewed_at, self._work = now, work
        return self.tokens >= 0
