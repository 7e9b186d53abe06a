"""What a connection is given time for, and how it ends then: nothing is kept for ever."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.harness import Gateway, Loader
from tests.wire.test_framing import GET, POST, connect, read_all, statuses_of, valid_request

pytestmark = pytest.mark.sources_only  # its waits are the same

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flags = ("--gateway-header-timeout", "0.4", "--gateway-keep-alive", "1",
             "--gateway-body-timeout", "2", "--gateway-max-body", "4096")  # fmt: skip
    with Gateway(*flags) as running:
        yield running


def stays_silent(sock: socket.socket, seconds: float) -> bool:
    """Return whether nothing comes, not even the end, for so long."""
    sock.settimeout(seconds)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(30)
    return False


@pytest.mark.parametrize("before", [b"", valid_request()], ids=["first", "second"])
def test_body_timeout_is_longer_than_header_timeout(
    gateway: Gateway, loader: Loader, before: bytes
) -> None:
    data = valid_request()
    with connect(gateway) as sock:
        if before:
            sock.sendall(before)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        sock.sendall(data[:-20])
        assert stays_silent(sock, 1.2), "longer than a head may take, or an idle connection lasts"
        sock.sendall(data[-20:])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (b"", [408]),
        (b"GET /li", [408]),
        (POST + b"Content-Length: 99\r\n\r\n{", [408]),
        (POST + CHUNKED + b"1\r\n{\r\n", [408]),
        (valid_request() + POST + b"Content-Length: 99\r\n\r\n{", [200, 408]),
        (valid_request() + b"GET /li", [200, 408]),
        (valid_request(), [200]),
        (GET + b"\r\n", [200]),
        (valid_request().replace(b"probe", b"nobody", 1), [404]),
        (valid_request().replace(b"probe", b"nobody", 1)[:-5], [404]),
        (POST.replace(b"probe", b"nobody") + CHUNKED + b"1000\r\n" + b"x" * 4096, [404]),
    ],
    ids=["nothing", "half a head", "half a body", "half the chunks", "half a body behind another",
         "half a head behind another", "idle", "idle after a page", "idle after an early answer",
         "half a body after an early answer", "an endless body after an early answer"],
)  # fmt: skip
def test_every_wait_times_out(
    gateway: Gateway, loader: Loader, data: bytes, statuses: list[int]
) -> None:
    with connect(gateway) as sock:
        sock.sendall(data)
        assert statuses_of(read_all(sock)) == statuses


def test_stalled_body_is_ended_by_minimum_rate() -> None:
    with Gateway("--gateway-body-timeout", "600") as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with connect(gateway) as sock:
            sock.sendall(POST + b"Content-Length: 99\r\n\r\n{")
            response = read_all(sock)
    assert statuses_of(response) == [408]
    assert b"1024 B/s" in response


@pytest.mark.parametrize("chunked", [True, False])
def test_oversized_body_ends_the_connection(
    gateway: Gateway, loader: Loader, chunked: bool
) -> None:
    oversized_body = b"x" * 5000
    chunked_body = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(oversized_body), oversized_body)
    with_length = b"Content-Length: %d\r\n\r\n%s" % (len(oversized_body), oversized_body)
    with connect(gateway) as sock:
        sock.sendall(POST + (chunked_body if chunked else with_length) + valid_request())
        assert statuses_of(read_all(sock)) == [413]


def test_excess_connection_is_503_and_admin_port_still_responds() -> None:
    with Gateway("--gateway-max-connections", "2") as gateway:  # noqa: SIM117 (its port comes first)
        with connect(gateway) as first, connect(gateway) as second:
            for sock in (first, second):
                sock.sendall(GET + b"\r\n")
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            with connect(gateway) as excess:
                assert statuses_of(read_all(excess)) == [503]
            assert httpx.get(f"{gateway.admin}/metrics", trust_env=False).status_code == 200


def test_too_many_pipelined_requests_are_rejected(gateway: Gateway, loader: Loader) -> None:
    with connect(gateway) as sock:
        sock.sendall((GET + b"\r\n") * 2000)
        statuses = statuses_of(read_all(sock))
    assert statuses[-1] == 400
    assert set(statuses[:-1]) == {200}
