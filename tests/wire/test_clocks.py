"""What a connection is given time for, and how it ends then: nothing is kept for ever."""

import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.harness import Gateway, Loader
from tests.wire.test_framing import GET, POST, connect, good, rest, statuses_of

pytestmark = pytest.mark.sources_only  # its waits are the same

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    flags = ("--gateway-header-timeout", "0.4", "--gateway-keep-alive", "1",
             "--gateway-body-timeout", "2", "--gateway-max-body", "4096")  # fmt: skip
    with Gateway(*flags) as running:
        yield running


def silent(sock: socket.socket, seconds: float) -> bool:
    """Return whether nothing comes, not even the end, for so long."""
    sock.settimeout(seconds)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(30)
    return False


@pytest.mark.parametrize("before", [b"", good()], ids=["first", "second"])
def test_a_body_may_be_slower_than_a_head(gateway: Gateway, loader: Loader, before: bytes) -> None:
    data = good()
    with connect(gateway) as sock:
        if before:
            sock.sendall(before)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        sock.sendall(data[:-20])
        assert silent(sock, 1.2), "longer than a head may take, or an idle connection lasts"
        sock.sendall(data[-20:])
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        (b"", [408]),
        (b"GET /li", [408]),
        (POST + b"Content-Length: 99\r\n\r\n{", [408]),
        (POST + CHUNKED + b"1\r\n{\r\n", [408]),
        (good() + POST + b"Content-Length: 99\r\n\r\n{", [200, 408]),
        (good() + b"GET /li", [200, 408]),
        (good(), [200]),
        (GET + b"\r\n", [200]),
        (good().replace(b"probe", b"nobody", 1), [404]),
        (good().replace(b"probe", b"nobody", 1)[:-5], [404]),
        (POST.replace(b"probe", b"nobody") + CHUNKED + b"1000\r\n" + b"x" * 4096, [404]),
    ],
    ids=["nothing", "half a head", "half a body", "half the chunks", "half a body behind another",
         "half a head behind another", "idle", "idle after a page", "idle after an early answer",
         "half a body after an early answer", "an endless body after an early answer"],
)  # fmt: skip
def test_whatever_is_awaited_ends(
    gateway: Gateway, loader: Loader, sent: bytes, statuses: list[int]
) -> None:
    with connect(gateway) as sock:
        sock.sendall(sent)
        assert statuses_of(rest(sock)) == statuses


def test_a_body_that_stops_is_cut_by_its_rate_long_before_its_time() -> None:
    with Gateway("--gateway-body-timeout", "600") as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        with connect(gateway) as sock:
            sock.sendall(POST + b"Content-Length: 99\r\n\r\n{")
            answer = rest(sock)
    assert statuses_of(answer) == [408]
    assert b"1024 B/s" in answer


@pytest.mark.parametrize("chunked", [True, False])
def test_too_large_a_body_ends_the_connection_and_nothing_behind_it_runs(
    gateway: Gateway, loader: Loader, chunked: bool
) -> None:
    large = b"x" * 5000
    framed = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(large), large)
    told = b"Content-Length: %d\r\n\r\n%s" % (len(large), large)
    with connect(gateway) as sock:
        sock.sendall(POST + (framed if chunked else told) + good())
        assert statuses_of(rest(sock)) == [413]


def test_one_connection_too_many_is_told_so_and_the_admin_port_still_answers() -> None:
    with Gateway("--gateway-max-connections", "2") as gateway:  # noqa: SIM117 (its port comes first)
        with connect(gateway) as one, connect(gateway) as two:
            for sock in (one, two):
                sock.sendall(GET + b"\r\n")
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            with connect(gateway) as three:
                assert statuses_of(rest(three)) == [503]
            assert httpx.get(f"{gateway.admin}/metrics", trust_env=False).status_code == 200


def test_too_many_requests_at_once_are_refused(gateway: Gateway, loader: Loader) -> None:
    with connect(gateway) as sock:
        sock.sendall((GET + b"\r\n") * 2000)
        statuses = statuses_of(rest(sock))
    assert statuses[-1] == 400
    assert set(statuses[:-1]) == {200}
