"""Heads of gRPC: statuses, details, metadata, timeouts."""

import pytest
from hpack import Decoder

from rpc.metadata import encode_request_headers, encode_timeout_field, parse_response_headers
from rpc.status import Status


def test_response_headers() -> None:
    headers = parse_response_headers(
        (
            (b":status", b"200"),
            (b"content-type", b"application/grpc+proto"),
            (b"grpc-encoding", b"gzip"),
            (b"x-a", b"1"),
            (b"x-a", b"2"),
            (b"x-b-bin", b"AAE"),
        )
    )
    assert headers.http_error() is None
    assert headers.encoding == b"gzip"
    assert headers.metadata == (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\0\1"))
    assert headers.status is None


@pytest.mark.parametrize(
    ("status_field", "status"),
    [(b"0", Status.OK), (b"16", Status.UNAUTHENTICATED), (b"17", Status.UNKNOWN),
     (b"x", Status.UNKNOWN), (b"", Status.UNKNOWN), (b"999", Status.UNKNOWN)],
)  # fmt: skip
def test_statuses(status_field: bytes, status: Status) -> None:
    assert parse_response_headers(((b"grpc-status", status_field),)).status is status


@pytest.mark.parametrize(
    ("grpc_message", "details"),
    [(b"no%20way%21", "no way!"), (b"100%", "100%"), (b"%e4%b8%ad", "中"), (b"%ff", "\ufffd")],
)
def test_details_are_unquoted_leniently(grpc_message: bytes, details: str) -> None:
    assert (
        parse_response_headers(((b"grpc-status", b"3"), (b"grpc-message", grpc_message))).details
        == details
    )


@pytest.mark.parametrize(
    ("http_status", "content_type", "status"),
    [
        (b"200", b"text/html", Status.UNKNOWN),
        (b"400", b"", Status.INTERNAL),
        (b"401", b"", Status.UNAUTHENTICATED),
        (b"403", b"", Status.PERMISSION_DENIED),
        (b"404", b"", Status.UNIMPLEMENTED),
        (b"429", b"", Status.UNAVAILABLE),
        (b"503", b"application/grpc", Status.UNAVAILABLE),
        (b"500", b"", Status.UNKNOWN),
        (b"abc", b"", Status.UNKNOWN),
    ],
)
def test_http_error_of_a_non_grpc_response(
    http_status: bytes, content_type: bytes, status: Status
) -> None:
    http_error = parse_response_headers(
        ((b":status", http_status), (b"content-type", content_type))
    ).http_error()
    assert http_error is not None
    assert http_error[0] is status


def test_request_headers() -> None:
    block = encode_request_headers("h:1", "http", "/a.B/C", (("x-a", "1"), ("x-b-bin", b"\0\1")))
    headers = dict(Decoder().decode(block + encode_timeout_field(1500)))
    assert headers[":method"] == "POST"
    assert headers[":path"] == "/a.B/C"
    assert headers[":authority"] == "h:1"
    assert headers["te"] == "trailers"
    assert headers["content-type"] == "application/grpc"
    assert headers["x-a"] == "1"
    assert headers["x-b-bin"] == "AAE"
    assert headers["grpc-timeout"] == "1500m"


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [(0, "1m"), (-5, "1m"), (2, "2m"), (3_600_000, "3600000m"), (10**12, "99999999m")],
)
def test_timeouts_are_clamped(milliseconds: int, expected: str) -> None:
    assert dict(Decoder().decode(encode_timeout_field(milliseconds))) == {"grpc-timeout": expected}


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), (":path", "x"), ("Upper", "x"), ("grpc-x", "x"), ("x", "a\nb"), ("x", "\x7f")],
)
def test_invalid_metadata(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_request_headers("h", "http", "/a/b", ((name, value),))
