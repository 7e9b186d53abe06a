"""The tracing headers of a request, which its loader gets too. Pure.

Sources: W3C Trace Context; `X-Request-Id`, which proxies set or pass on.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

# As the names of headers and of the members that a loader gets.
TRACING_HEADERS: Final = ("traceparent", "tracestate", "x-request-id")

NO_TRACING: Final[Mapping[str, str]] = {}

_NAMES: Final = tuple(name.encode() for name in TRACING_HEADERS)
_LINE: Final = re.compile(rb"\r\n(traceparent|tracestate|x-request-id): ?([^\r\n]*)", re.IGNORECASE)
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TEXT: Final = re.compile(r"[ -~]{1,512}")  # tracestate: "at least 512 characters"


def from_headers(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """Return the tracing headers that have a valid value; `headers` have lower-case names."""
    return _valid((name, headers[name]) for name in _NAMES if name in headers)


def from_head(head: bytes) -> dict[str, str]:
    """Return the tracing headers of a head of which all lines are well-formed."""
    lines: dict[bytes, bytes] = {}
    for name, value in _LINE.findall(head):
        key = name.lower()
        lines[key] = lines[key] + b", " + value if key in lines else value
    return _valid(lines.items())


def _valid(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the valid headers; without a valid `traceparent` there is no `tracestate`."""
    values = {name.decode(): value.decode("latin-1").strip() for name, value in pairs}
    values = {name: value for name, value in values.items() if _TEXT.fullmatch(value)}
    if not _TRACEPARENT.fullmatch(values.get("traceparent", "")):
        values.pop("traceparent", None)
        values.pop("tracestate", None)
    return values
