"""Resumption of a stream of events by `Last-Event-ID`. Pure.

The ids of events count the results of a request. To resume, the request runs again, and the results
that the client has are not sent; so the service must be idempotent. The last event has the id `end`
if the request is a GET: an EventSource connects again after it, and must learn that there is no
more. Source: WHATWG HTML, "Server-sent events".
"""

from collections.abc import Mapping
from typing import Final

from gateway.request.response import HttpError

END_ID: Final = b"end"
_HEADER: Final = b"last-event-id"
_MAX_DIGITS: Final = 9


def received_results(headers: Mapping[bytes, bytes], *, is_idempotent: bool) -> int:
    """Return how many results a client has; 0 if it does not resume, or its id is none of ours.

    Raises HttpError 409 if the request may not run again.
    """
    last_id = headers.get(_HEADER, b"")
    if not last_id.isdigit() or len(last_id) > _MAX_DIGITS or not int(last_id):
        return 0
    if not is_idempotent:
        raise HttpError(409, "this stream cannot be resumed: the service is not idempotent")
    return int(last_id)


def is_over(headers: Mapping[bytes, bytes], *, is_idempotent: bool) -> bool:
    """Return whether a GET request for events is to end for good: all results are sent, or lost.

    It is answered with 204, after which an EventSource does not connect again.
    """
    if headers.get(_HEADER, b"") == END_ID:
        return True
    try:
        received_results(headers, is_idempotent=is_idempotent)
    except HttpError:
        return True
    return False
