"""Bodies in gzip: what they decompress to, and how the limit is kept."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.content_coding import check_coding, gunzip, is_gzip
from gateway.request.response import HttpError

BODY = b'{"header": {}}'


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_members_are_joined(parts: list[bytes]) -> None:
    content = b"".join(parts)
    assert gunzip(b"".join(map(gzip.compress, parts)), len(content) + 200) == content


@pytest.mark.parametrize(
    ("data", "max_size", "status"),
    [
        (gzip.compress(BODY * 9), len(BODY) * 9 - 1, 413),
        (gzip.compress(BODY), len(BODY), 413),  # its own size is above the limit
        (gzip.compress(bytes(100_000_000)), 1_000_000, 413),  # 97 KB
        (gzip.compress(b"") * 17, 1000, 400),  # members without content cost time all the same
        (gzip.compress(b"") * 50_000, 2_000_000, 400),
        (gzip.compress(BODY)[:-1], 100, 400),
        (gzip.compress(BODY) + b"x", 100, 400),
        (gzip.compress(BODY)[:-8] + b"\0" * 8, 100, 400),  # wrong checksum
        (zlib.compress(BODY), 100, 400),
        (BODY, 100, 400),
        (b"", 100, 400),
    ],
    ids=range(11),
)
def test_other_bodies_are_rejected(data: bytes, max_size: int, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        gunzip(data, max_size)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("coding", "expected"),
    [
        (b"gzip", True), (b"GZIP", True), (b"x-gzip", True), (b" gzip ", True),
        (b"identity", False), (b"", False),
    ],
)  # fmt: skip
def test_gzip_is_recognised(coding: bytes, expected: bool) -> None:
    assert is_gzip(coding) is expected
    check_coding(coding)


@pytest.mark.parametrize("coding", [b"br", b"gzip, gzip", b"deflate", b"gzip;q=1"])
def test_other_codings_are_415_and_the_response_names_gzip(coding: bytes) -> None:
    """RFC 9110, 15.5.16."""
    assert not is_gzip(coding)
    with pytest.raises(HttpError) as caught:
        check_coding(coding)
    assert caught.value.status == 415
    assert (b"accept-encoding", b"gzip") in caught.value.headers
