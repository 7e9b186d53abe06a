"""Heads of unary requests: which are kept for their next coming, and what of them."""

import pytest

from gateway.unary.request_head import UnaryHeadCache, UnaryRequestHead

LENGTH = {b"content-length": b"2"}


def new_head(
    headers: dict[bytes, bytes],
    *,
    keep_alive: bool = True,
    expects_continue: bool = False,
    query: str = "",
) -> UnaryRequestHead:
    return UnaryRequestHead(
        "probe", "/v1/private/probe", headers, keep_alive, expects_continue, query=query
    )


@pytest.mark.parametrize(
    ("candidate", "cacheable"),
    [
        (new_head(LENGTH), True),
        (new_head({}), False),
        (new_head({**LENGTH, b"transfer-encoding": b"chunked"}), False),
        (new_head(LENGTH, keep_alive=False), False),
        (new_head(LENGTH, expects_continue=True), False),
        (new_head({**LENGTH, b"idempotency-key": b"1"}), False),
        (new_head({**LENGTH, b"last-event-id": b"1"}), False),
        (new_head({**LENGTH, b"authorization": b"Bearer x"}), True),
        (new_head({**LENGTH, b"authorization": b"HMAC x"}), False),
        (new_head({**LENGTH, b"digest": b"x"}), False),
        (new_head(LENGTH, query="authorization=x"), False),
    ],
)
def test_only_plain_keep_alive_heads_are_cached(
    candidate: UnaryRequestHead, cacheable: bool
) -> None:
    cache = UnaryHeadCache("X-Consumer-Username")
    data = b"POST /v1/private/probe HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    lookup = cache.find(data)
    assert lookup is not None
    assert lookup.value is None
    cache.add(lookup.key, candidate)
    second_lookup = cache.find(data)
    assert second_lookup is not None
    assert (second_lookup.value is not None) is cacheable


def test_cached_head_keeps_only_the_used_headers() -> None:
    cache = UnaryHeadCache("X-Consumer-Username")
    data = b"POST /v1/private/probe HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    lookup = cache.find(data)
    assert lookup is not None
    headers = {
        **LENGTH,
        b"content-type": b"application/json",
        b"x-consumer-username": b"me",
        b"authorization": b"Bearer x",
        b"user-agent": b"x",
    }
    cache.add(lookup.key, new_head(headers))
    second_lookup = cache.find(data)
    assert second_lookup is not None
    assert second_lookup.value is not None
    assert dict(second_lookup.value.headers) == {
        b"content-type": b"application/json",
        b"x-consumer-username": b"me",
        b"authorization": b"Bearer x",
    }
