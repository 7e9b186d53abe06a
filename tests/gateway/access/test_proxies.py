"""Which proxies are trusted, and the client's address that they give."""

import pytest

from gateway.access.proxies import TrustedProxies

PROXIES = TrustedProxies(["10.0.0.0/8", "::1/128", "127.0.0.1"])


@pytest.mark.parametrize(
    ("address", "is_trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::1", True),
        ("::ffff:10.0.0.1", True),
        ("::ffff:11.0.0.1", False),
        ("127.0.0.1", True),
        ("127.0.0.2", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("testclient", False),
        ("10.0.0.1,", False),
    ],
)
def test_trusted_addresses(address: str, is_trusted: bool) -> None:
    assert PROXIES.is_trusted(address) is is_trusted
    assert PROXIES.is_trusted(address) is is_trusted  # remembered


def test_invalid_network_is_named() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0"):
        TrustedProxies(["10.0.0"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        # What the client wrote itself stands before what the proxy saw.
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("203.0.113.7", "1.1.1.1", "203.0.113.7"),  # a stranger
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", ", ".join(["203.0.113.9"] + ["10.0.0.2"] * 100), "10.0.0.2"),
    ],
)
def test_client_is_the_last_address_that_no_trusted_proxy_has(
    peer: str, forwarded: str, client: str
) -> None:
    assert PROXIES.client_address(peer, forwarded.encode()) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        ("", "10.0.0.1"),
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"),
        ("proto=http; FOR=203.0.113.9", "203.0.113.9"),
        ('for="203.0.113.9:4711"', "203.0.113.9"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=1.1.1.1, for=203.0.113.9, for=10.0.0.2", "203.0.113.9"),
        ("for=1.1.1.1, for=unknown", "10.0.0.1"),
        ("for=1.1.1.1, for=_hidden, for=10.0.0.2", "10.0.0.2"),
        ("for=1.1.1.1, by=10.0.0.1", "10.0.0.1"),
        # What a client writes cannot reach over the element that the proxy adds.
        ('for="1.1.1.1, for=203.0.113.9', "203.0.113.9"),
        ('for=1.1.1.1;x=", for=203.0.113.9', "203.0.113.9"),
        ("xfor=1.1.1.1", "10.0.0.1"),
        ("1.1.1.1", "10.0.0.1"),
    ],
)
def test_client_of_forwarded(forwarded: str, client: str) -> None:
    """RFC 7239, 4 and 6."""
    proxies = TrustedProxies(["10.0.0.0/8"], "forwarded")
    head = b"GET / HTTP/1.1\r\nX-Forwarded-For: 9.9.9.9\r\nForwarded: %b\r\n\r\n"
    assert proxies.client_address("10.0.0.1", proxies.hops_of(head % forwarded.encode())) == client
    assert proxies.client_address("203.0.113.7", forwarded.encode()) == "203.0.113.7"


def test_lines_of_a_head_are_joined() -> None:
    head = (
        b"POST / HTTP/1.1\r\nX-Forwarded-For: 1.1.1.1\r\nx-forwarded-for:2.2.2.2, 3.3.3.3\r\n\r\n"
    )
    assert PROXIES.hops_of(head) == b"1.1.1.1, 2.2.2.2, 3.3.3.3"
    assert PROXIES.hops_of(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n") == b""
