"""Forms and queries; the errors are in test_exchange, through a socket."""

import random

import pytest

from gateway.plain.envelope import Blob, FormText, PlainRequestError
from gateway.plain.forms import MalformedFormError, parse_multipart, parse_pairs


def accept_all(_: str) -> None:
    """Accept every name."""


def test_pairs() -> None:
    values: dict[str, object] = {}
    parse_pairs("a=1&b=%C3%A9+x&&c=&d", accept_all, values)
    assert values == {
        "a": FormText("1"),
        "b": FormText("é x"),
        "c": FormText(""),
        "d": FormText(""),
    }


def test_parts_of_browsers_and_curl() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\nplain\r\n'
        b'--b\r\nContent-Disposition: form-data; name="p\\"q"; filename="a \xc3\xa9.png"\r\n'
        b"content-TYPE:  image/png \r\n\r\n\x89PNG\r\n--bb\r\n\r\n"
        b"--b\r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n--b--\r\nepilogue"
    )
    values: dict[str, object] = {}
    parse_multipart(body, 'multipart/form-data; charset=utf-8; boundary="b"', accept_all, values)
    assert values["text"] == Blob(b"plain")
    picture = values['p"q']
    assert isinstance(picture, Blob)
    assert (picture.data, picture.file_name) == (b"\x89PNG\r\n--bb\r\n", "a é.png")
    assert picture.media_type.strip() == "image/png"
    assert values["empty"] == Blob(b"")


def test_any_bytes_come_through_and_any_cut_is_an_error() -> None:
    rng = random.Random(7)
    data = bytes(rng.choices(b"\r\n-b \x00\xff", k=200))
    head = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n'
    body = head + data.replace(b"\r\n--b", b"") + b"\r\n--b--\r\n"
    values: dict[str, object] = {}
    parse_multipart(body, "multipart/form-data; boundary=b", accept_all, values)
    for size in range(len(body) - 2):
        with pytest.raises(MalformedFormError):
            parse_multipart(body[:size], "multipart/form-data; boundary=b", accept_all, {})


def test_transfer_encoding_of_mail_is_refused() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="x"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
    )
    with pytest.raises(PlainRequestError, match="x: has a content-transfer-encoding"):
        parse_multipart(body, "multipart/form-data; boundary=b", accept_all, {})


@pytest.mark.parametrize("disposition", ["attachment; name=x", "form-data", 'form-data; name=""'])
def test_parts_need_a_name(disposition: str) -> None:
    body = f"--b\r\nContent-Disposition: {disposition}\r\n\r\n1\r\n--b--\r\n".encode()
    with pytest.raises(MalformedFormError, match="has no name"):
        parse_multipart(body, "multipart/form-data; boundary=b", accept_all, {})
