"""Pages of other origins: who may open sockets and request events."""

import pytest

from gateway.request.origin import check_fetch_site, check_origin
from gateway.request.response import HttpError
from schemas.model.errors import BAD_REQUEST


@pytest.mark.parametrize(
    ("headers", "allowed", "accepted"),
    [
        ({}, [], True),
        ({b"origin": b"https://app.example"}, [], False),
        ({b"origin": b"https://app.example"}, ["https://app.example"], True),
        ({b"origin": b"HTTPS://App.Example"}, ["https://APP.example"], True),
        ({b"origin": b"https://evil.example"}, ["*"], True),
        ({b"origin": b"https://gw:8200", b"host": b"gw:8200"}, [], True),
        ({b"origin": b"http://gw:8200", b"host": b"gw:8200"}, [], True),
        ({b"origin": b"https://gw", b"host": b"gw:8200"}, [], False),
        ({b"origin": b"https://gw", b"host": b"gw:443"}, [], True),
        ({b"origin": b"https://gw:443", b"host": b"gw"}, [], True),
        ({b"origin": b"http://gw", b"host": b"gw:80"}, [], True),
        ({b"origin": b"http://gw", b"host": b"gw:443"}, [], False),
        ({b"origin": b"https://GW", b"host": b"Gw"}, [], True),
        ({b"origin": b"https://gw", b"host": b"a", b"x-forwarded-host": b"gw, b"}, [], True),
        ({b"origin": b"https://b", b"host": b"a", b"x-forwarded-host": b"gw, b"}, [], False),
        ({b"origin": b"https://x", b"host": b"gw"}, ["https://x:443"], True),
        ({b"origin": b"null", b"host": b"gw"}, [], False),
        ({b"origin": b"null", b"host": b"gw"}, ["null"], True),
    ],
)
def test_origin(headers: dict[bytes, bytes], allowed: list[str], accepted: bool) -> None:
    if accepted:
        check_origin(headers, allowed)
    else:
        with pytest.raises(HttpError) as caught:
            check_origin(headers, allowed)
        assert (caught.value.status, caught.value.spec) == (403, BAD_REQUEST)
        assert headers[b"origin"].decode() not in caught.value.log_message


@pytest.mark.parametrize(
    ("headers", "allowed", "accepted"),
    [
        ({}, [], True),  # no browser
        ({b"sec-fetch-site": b"same-origin"}, [], True),
        ({b"sec-fetch-site": b"none"}, [], True),  # the address bar
        ({b"sec-fetch-site": b"cross-site"}, [], False),  # an image
        ({b"sec-fetch-site": b"cross-site", b"origin": b"https://x"}, [], True),  # judged by it
        ({b"sec-fetch-site": b"cross-site"}, ["*"], True),
    ],
)
def test_fetch_site(headers: dict[bytes, bytes], allowed: list[str], accepted: bool) -> None:
    if accepted:
        check_fetch_site(headers, allowed)
    else:
        with pytest.raises(HttpError) as caught:
            check_fetch_site(headers, allowed)
        assert caught.value.status == 403
