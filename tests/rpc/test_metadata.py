"""Heads of gRPC: statuses, details, metadata, timeouts."""

import pytest
from hpack import Decoder

from rpc.metadata import encode_request_headers, encode_timeout_field, parse_response_headers
from rpc.status import Status


def test_a_head_of_a_good_response() -> None:
    head = parse_response_headers(
        (
            (b":status", b"200"),
            (b"content-type", b"application/grpc+proto"),
            (b"grpc-encoding", b"gzip"),
            (b"x-a", b"1"),
            (b"x-a", b"2"),
            (b"x-b-bin", b"AAE"),
        )
    )
    assert head.http_error() is None
    assert head.encoding == b"gzip"
    assert head.metadata == (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\0\1"))
    assert head.status is None


@pytest.mark.parametrize(
    ("told", "status"),
    [(b"0", Status.OK), (b"16", Status.UNAUTHENTICATED), (b"17", Status.UNKNOWN),
     (b"x", Status.UNKNOWN), (b"", Status.UNKNOWN), (b"999", Status.UNKNOWN)],
)  # fmt: skip
def test_statuses(told: bytes, status: Status) -> None:
    assert parse_response_headers(((b"grpc-status", told),)).status is status


@pytest.mark.parametrize(
    ("told", "words"),
    [(b"no%20way%21", "no way!"), (b"100%", "100%"), (b"%e4%b8%ad", "中"), (b"%ff", "\ufffd")],
)
def test_details_are_unquoted_leniently(told: bytes, words: str) -> None:
    assert (
        parse_response_headers(((b"grpc-status", b"3"), (b"grpc-message", told))).details == words
    )


@pytest.mark.parametrize(
    ("http", "kind", "status"),
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
def test_an_answer_that_is_no_grpc(http: bytes, kind: bytes, status: Status) -> None:
    fault = parse_response_headers(((b":status", http), (b"content-type", kind))).http_error()
    assert fault is not None
    assert fault[0] is status


def test_a_request_head_is_what_grpc_wants() -> None:
    coded = encode_request_headers("h:1", "http", "/a.B/C", (("x-a", "1"), ("x-b-bin", b"\0\1")))
    read = dict(Decoder().decode(coded + encode_timeout_field(1500)))
    assert read[":method"] == "POST"
    assert read[":path"] == "/a.B/C"
    assert read[":authority"] == "h:1"
    assert read["te"] == "trailers"
    assert read["content-type"] == "application/grpc"
    assert read["x-a"] == "1"
    assert read["x-b-bin"] == "AAE"
    assert read["grpc-timeout"] == "1500m"


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [(0, "1m"), (-5, "1m"), (2, "2m"), (3_600_000, "3600000m"), (10**12, "99999999m")],
)
def test_timeouts_stay_within_what_grpc_allows(milliseconds: int, told: str) -> None:
    assert dict(Decoder().decode(encode_timeout_field(milliseconds))) == {"grpc-timeout": told}


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "x"), (":path", "x"), ("Upper", "x"), ("grpc-x", "x"), ("x", "a\nb"), ("x", "\x7f")],
)
def test_metadata_that_is_not_allowed(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode_request_headers("h", "http", "/a/b", ((name, value),))
