"""Which tracing headers a loader gets: valid ones, however their head was read."""

import pytest

from gateway.request import tracing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([], {}),
        ([("traceparent", PARENT)], {"traceparent": PARENT}),
        (
            [("TraceParent", PARENT), ("tracestate", "a=1"), ("Accept", "*/*")],
            {"traceparent": PARENT, "tracestate": "a=1"},
        ),
        (
            [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")],
            {"traceparent": PARENT, "tracestate": "a=1, b=2"},
        ),
        ([("X-Request-ID", "r-1")], {"x-request-id": "r-1"}),
        ([("x-request-id", "x" * 513)], {}),
        ([("x-request-id", "")], {}),
        ([("x-request-id", "a\tb")], {}),
        ([("x-request-id", "caf\xe9")], {}),
        # W3C Trace Context, 3.2.2 and 3.3: an invalid traceparent is ignored, and the state with it
        ([("traceparent", PARENT.upper())], {}),
        ([("traceparent", "ff" + PARENT[2:]), ("tracestate", "a=1")], {}),
        ([("traceparent", PARENT), ("traceparent", PARENT)], {}),
        ([("tracestate", "a=1")], {}),
    ],
)
def test_valid_headers_are_passed_on(lines: list[tuple[str, str]], passed: dict[str, str]) -> None:
    head = "POST /x HTTP/1.1" + "".join(f"\r\n{name}: {value}" for name, value in lines)
    assert tracing.from_head((head + "\r\n\r\n").encode("latin-1")) == passed
    headers: dict[bytes, bytes] = {}
    for name, value in lines:
        key = name.lower().encode()
        data = value.encode("latin-1")
        headers[key] = headers[key] + b", " + data if key in headers else data
    assert tracing.from_headers(headers) == passed
