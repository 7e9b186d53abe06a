"""Answers kept for requests that come again with the same `Idempotency-Key`. Pure.

A client that got no answer does not know whether its request ran. It sends the request again with
the key, and gets the answer of the first run. Source: draft-ietf-httpapi-idempotency-key-header.
"""

from collections.abc import Mapping
from typing import Final

from gateway.request.response import HttpError, HttpResponse

HEADER: Final = b"idempotency-key"
_REPLAYED_LINE: Final = b"idempotency-replayed: true\r\n"
_MAX_KEY_BYTES: Final = 255
# Memory of an answer besides its texts, estimated.
_ANSWER_OVERHEAD_BYTES: Final = 512

AnswerKey = tuple[str, str, bytes]  # the service, the application, and its key


def find_key(headers: Mapping[bytes, bytes], service_id: str, app_id: str) -> AnswerKey | None:
    """Return the key of a request; None if it has none. Raises HttpError 400 for an invalid one."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= _MAX_KEY_BYTES or not key.isascii():
        raise HttpError(400, f"idempotency-key must be 1 to {_MAX_KEY_BYTES} ASCII characters")
    return service_id, app_id, key


class _Answer:
    """An answer, or a request that runs: then `response` is None."""

    __slots__ = ("expires_at", "fingerprint", "response", "size")

    def __init__(self, fingerprint: bytes) -> None:
        self.fingerprint = fingerprint
        self.response: HttpResponse | None = None
        self.expires_at = 0.0
        self.size = 0


class AnswerStore:
    """The answers of one gateway process: for `window` seconds each, `max_bytes` in all.

    Beyond that the oldest answer is dropped. `_running` are the requests that run, `_answers` the
    answers in the order of their expiry; `_size` is the sum of their bytes.
    """

    def __init__(self, window: float, max_bytes: int) -> None:
        self._window = window
        self._max_bytes = max_bytes
        self._running: dict[AnswerKey, _Answer] = {}
        self._answers: dict[AnswerKey, _Answer] = {}
        self._size = 0

    def begin(self, key: AnswerKey, fingerprint: bytes, now: float) -> HttpResponse | None:
        """Return the answer that a request has; None if it has to run.

        Then `complete` or `abandon` must follow. Raises HttpError 409 if it runs already, and 422
        if the key was used for a request with another fingerprint.
        """
        self._drop_expired(now)
        answer = self._answers.get(key) or self._running.get(key)
        if answer is None:
            self._running[key] = _Answer(fingerprint)
            return None
        if answer.fingerprint != fingerprint:
            raise HttpError(422, "idempotency-key was used for another request")
        response = answer.response
        if response is None:
            retry_after = [(b"retry-after", b"1")]
            raise HttpError(409, "the request with this idempotency-key runs", headers=retry_after)
        return HttpResponse(response.status, response.head + _REPLAYED_LINE, response.body)

    def complete(self, key: AnswerKey, response: HttpResponse, now: float) -> None:
        """Keep the answer of a request that ran."""
        answer = self._running.pop(key)
        size = len(response.head) + len(response.body) + _ANSWER_OVERHEAD_BYTES
        size += 4 * (len(key[0]) + len(key[1])) + len(key[2]) + len(answer.fingerprint)
        if size > self._max_bytes or self._window <= 0:
            return
        answer.response = response
        answer.expires_at = now + self._window
        answer.size = size
        self._answers[key] = answer
        self._size += size
        while self._size > self._max_bytes:
            self._drop_oldest()

    def abandon(self, key: AnswerKey) -> None:
        """Forget a request that failed, so that it can run again."""
        del self._running[key]

    def _drop_expired(self, now: float) -> None:
        while self._answers and next(iter(self._answers.values())).expires_at <= now:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        key = next(iter(self._answers))
        self._size -= self._answers.pop(key).size
