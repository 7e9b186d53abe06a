"""Heads of unary requests: which are kept for their next coming, and what of them."""

import pytest

from gateway.unary.request_head import UnaryHeadCache, UnaryRequestHead

LENGTH = {b"content-length": b"2"}


def head(
    headers: dict[bytes, bytes], *, keep_alive: bool = True, expects_continue: bool = False
) -> UnaryRequestHead:
    return UnaryRequestHead("probe", "/v1/private/probe", headers, keep_alive, expects_continue)


@pytest.mark.parametrize(
    ("candidate", "cacheable"),
    [
        (head(LENGTH), True),
        (head({}), False),
        (head({**LENGTH, b"transfer-encoding": b"chunked"}), False),
        (head(LENGTH, keep_alive=False), False),
        (head(LENGTH, expects_continue=True), False),
    ],
)
def test_a_head_with_a_plain_length_on_a_kept_connection_is_kept(
    candidate: UnaryRequestHead, cacheable: bool
) -> None:
    cache = UnaryHeadCache("X-Consumer-Username")
    data = b"POST /v1/private/probe HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    lookup = cache.find(data)
    assert lookup is not None
    assert lookup.value is None
    cache.add(lookup.key, candidate)
    again = cache.find(data)
    assert again is not None
    assert (again.value is not None) is cacheable


def test_of_a_kept_head_only_the_headers_stay_that_are_read() -> None:
    cache = UnaryHeadCache("X-Consumer-Username")
    data = b"POST /v1/private/probe HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    lookup = cache.find(data)
    assert lookup is not None
    headers = {
        **LENGTH,
        b"content-type": b"application/json",
        b"x-consumer-username": b"me",
        b"authorization": b"Bearer x",
    }
    cache.add(lookup.key, head(headers))
    again = cache.find(data)
    assert again is not None
    assert again.value is not None
    assert dict(again.value.headers) == {
        b"content-type": b"application/json",
        b"x-consumer-username": b"me",
    }
