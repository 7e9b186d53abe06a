"""HTTP/1.1 requests as bytes, and how to read their responses from a socket."""

import contextlib
import json
import re
import time
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from gateway.access import signature
from tests.harness import make_envelope

HOST = b"Host: a\r\n"
POST = b"POST /v1/private/probe HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED = TE + b"\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


class Receiver(Protocol):
    """A socket, or what stands for one."""

    def recv(self, size: int, /) -> bytes: ...


def valid_request(service: str = "probe") -> bytes:
    """Return a request that is answered 200."""
    content = json.dumps(make_envelope(service)).encode()
    head = POST.replace(b"probe", service.encode(), 1)
    return head + b"Content-Length: %d\r\n\r\n%s" % (len(content), content)


def statuses_of(responses: bytes) -> list[int]:
    """Return the statuses of the responses on a connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d\d\d) [A-Z]", responses)]


def read_statuses(sock: Receiver, count: int) -> list[int]:
    """Read until there are `count` responses, the last one perhaps in part; return the statuses."""
    received = b""
    while len(statuses_of(received)) < count:
        data = sock.recv(1 << 20)
        assert data, received
        received += data
    return statuses_of(received)


def read_all(sock: Receiver) -> bytes:
    """Read until the connection ends, in whatever way."""
    response = b""
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            response += piece
    return response


def signed_query(url: str, method: str, key: str, secret: str) -> str:
    """Return a query that is signed now, as clients of the original sign theirs."""
    parts, date = urlsplit(url), signature.http_date(time.time())
    text = f"host: {parts.netloc}\ndate: {date}\n{method} {parts.path} HTTP/1.1"
    mac = signature.encode_mac(signature.compute_mac("hmac-sha256", secret, text))
    fields = f'api_key="{key}", algorithm="hmac-sha256", headers="host date request-line"'
    authorization = signature.encode_mac(f'{fields}, signature="{mac}"'.encode())
    return urlencode({"authorization": authorization, "host": parts.netloc, "date": date})
