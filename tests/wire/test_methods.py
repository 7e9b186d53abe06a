"""Any method, known or invented, with a body or without, in either lane: answered, never a hang.

The methods are those of the registry of RFC 9110, 16.1, as of 2026, and invented tokens.
"""

import random
import string
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.requests import read_all, statuses_of
from tests.wire.test_framing import connect, send_and_read_all

REGISTERED = [
    "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET",
    "HEAD", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL",
    "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS", "ORDERPATCH", "PATCH", "POST", "PRI",
    "PROPFIND", "PROPPATCH", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE", "UNBIND",
    "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
]  # fmt: skip
# Those that the parser takes besides.
OTHERS = [
    "PURGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "SOURCE", "DESCRIBE", "ANNOUNCE",
    "SETUP", "PLAY",
]  # fmt: skip
TARGETS = (b"/livez", b"/v1/private/probe", b"/x", b"*", b"a:80")
BODIES = (
    b"\r\n",
    b"Content-Length: 2\r\n\r\n{}",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: 2\r\n\r\n{}",
)


def random_methods(count: int) -> list[str]:
    rng = random.Random(1)
    tokens = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
    return ["".join(rng.choices(tokens, k=rng.randint(1, 24))) for _ in range(count)]


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast lane", "starlette"])
def gateway_by_lane(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway("--gateway-once-lane", request.param) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        yield gateway


@pytest.fixture
def alive(gateway_by_lane: Gateway) -> Iterator[None]:
    """Ask /livez all the while; each must be answered."""
    stop, errors = threading.Event(), list[Exception]()

    def poll_livez() -> None:
        try:
            with httpx.Client(
                base_url=gateway_by_lane.url, timeout=TIMEOUT_S, trust_env=False
            ) as http:
                while not stop.is_set():
                    assert http.get("/livez").status_code == 200
        except (AssertionError, httpx.HTTPError) as error:
            errors.append(error)

    poller = threading.Thread(target=poll_livez)
    poller.start()
    yield
    stop.set()
    poller.join()
    assert not errors, errors
    assert not gateway_by_lane.count("event loop stands still")


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("method", REGISTERED + OTHERS)
def test_known_method_gets_one_response(gateway_by_lane: Gateway, method: str) -> None:
    for target in TARGETS:
        for body in BODIES:
            head = b"%b %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" % (method.encode(), target)
            statuses = statuses_of(send_and_read_all(gateway_by_lane, head + body))
            assert len(statuses) == 1, (target, body, statuses)
            if method == "CONNECT":
                assert statuses[0] in (400, 405)


@pytest.mark.usefixtures("alive")
def test_random_methods_are_rejected(gateway_by_lane: Gateway) -> None:
    for number, method in enumerate(random_methods(1000)):
        target, body = TARGETS[number % len(TARGETS)], BODIES[number % len(BODIES)]
        response = send_and_read_all(
            gateway_by_lane, b"%b %b HTTP/1.1\r\nHost: a\r\n%b" % (method.encode(), target, body)
        )
        assert statuses_of(response) == [400], method


def test_connect_is_405_with_allow_and_closes_the_connection(
    gateway_by_lane: Gateway,
) -> None:
    response = send_and_read_all(
        gateway_by_lane, b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\n\r\n"
    )
    assert statuses_of(response) == [405]
    assert b"\r\nallow: GET, HEAD, POST\r\n" in response
    assert b"\r\nconnection: close\r\n" in response


def test_pipelined_connect_is_rejected_in_order(gateway_by_lane: Gateway) -> None:
    with connect(gateway_by_lane) as sock:
        sock.sendall(
            b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nCONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert statuses_of(read_all(sock)) == [200, 405]
