"""The head of a unary request, and the cache of heads that clients repeat. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

from gateway.access.authenticator import AUTHORIZATION, CREDENTIAL_HEADERS
from gateway.access.proxies import CLIENT_HEADERS
from gateway.http.head_cache import HeadCache, HeadKey
from gateway.request.tracing import NO_TRACING

# Headers that the unary path reads, besides the consumer header. Content-Length is not among them:
# its digits are read from each head.
_USED_HEADERS: Final = (
    b"content-type", b"content-encoding", b"accept", b"x-app-id", b"origin", b"sec-fetch-site",
    b"host", b"x-forwarded-host", *CLIENT_HEADERS, *CREDENTIAL_HEADERS,
)  # fmt: skip
# Headers whose value no other request has.
_SINGLE_USE_HEADERS: Final = (b"idempotency-key", b"last-event-id", b"digest", b"x-date")


class UnaryRequestHead:
    """The head of a request to a service route; `headers` have lower-case names.

    `expects_continue`: the client sends its body only after a 100 response. `chunked`: the client
    knows the chunked transfer coding, unlike one of HTTP/1.0. `tracing` are its tracing headers, if
    they are part of its key in a cache. `query` is still encoded, and so is
    `raw_path`, the path as sent; it is `path` if it is empty.
    """

    __slots__ = (
        "chunked", "expects_continue", "headers", "keep_alive", "path", "query", "raw_path",
        "service_id", "tracing",
    )  # fmt: skip

    def __init__(
        self,
        service_id: str,
        path: str,
        headers: Mapping[bytes, bytes],
        keep_alive: bool,
        expects_continue: bool,
        chunked: bool = True,
        tracing: Mapping[str, str] = NO_TRACING,
        query: str = "",
        raw_path: str = "",
    ) -> None:
        self.service_id = service_id
        self.path = path
        self.headers = headers
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.chunked = chunked
        self.tracing = tracing
        self.query = query
        self.raw_path = raw_path or path

    def is_cacheable(self) -> bool:
        """Return whether later requests can have the same head but for the length.

        One that is made for a single request would take the place of others.
        """
        has_content_length = (
            b"content-length" in self.headers and b"transfer-encoding" not in self.headers
        )
        is_single = any(name in self.headers for name in _SINGLE_USE_HEADERS)
        is_single = is_single or not self.keep_alive or self.expects_continue
        # Signatures are of one request, and cover headers that the cache would leave out.
        is_single = is_single or self.headers.get(AUTHORIZATION, b"")[:5].lower() == b"hmac "
        is_single = is_single or "authorization=" in self.query
        return has_content_length and not is_single

    def with_only_headers(self, names: Collection[bytes]) -> "UnaryRequestHead":
        """Return a head that has the headers of those names alone."""
        headers = {name: self.headers[name] for name in names if name in self.headers}
        return UnaryRequestHead(
            self.service_id,
            self.path,
            headers,
            self.keep_alive,
            self.expects_continue,
            self.chunked,
            self.tracing,
            self.query,
            self.raw_path,
        )


class UnaryHeadCache(HeadCache[UnaryRequestHead]):
    """Heads of unary requests by their bytes; one per process, shared by all connections."""

    def __init__(self, consumer_header: str) -> None:
        super().__init__(consumer_header)
        self._used_headers = (*_USED_HEADERS, consumer_header.lower().encode())

    def add(self, key: HeadKey, value: UnaryRequestHead) -> None:
        """Cache a head, if requests can repeat it, with the headers that the unary path reads."""
        if value.is_cacheable():
            super().add(key, value.with_only_headers(self._used_headers))
