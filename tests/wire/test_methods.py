"""Any method, known or invented, with a body or without, in either lane: answered, never a hang.

The methods are those of the registry of RFC 9110, 16.1, as of 2026, and invented tokens.
"""

import random
import string
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.harness import PATIENCE, Gateway, Loader
from tests.wire.test_framing import connect, rest, sent, statuses_of

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


def invented(count: int) -> list[str]:
    rng = random.Random(1)
    tokens = string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~"
    return ["".join(rng.choices(tokens, k=rng.randint(1, 24))) for _ in range(count)]


@pytest.fixture(scope="module", params=["true", "false"], ids=["fast lane", "starlette"])
def either(request: pytest.FixtureRequest) -> Iterator[Gateway]:
    with Gateway("--gateway-once-lane", request.param) as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        yield gateway


@pytest.fixture
def alive(either: Gateway) -> Iterator[None]:
    """Ask /livez all the while; each must be answered."""
    done, failed = threading.Event(), list[Exception]()

    def ask() -> None:
        try:
            with httpx.Client(base_url=either.url, timeout=PATIENCE, trust_env=False) as http:
                while not done.is_set():
                    assert http.get("/livez").status_code == 200
        except (AssertionError, httpx.HTTPError) as error:
            failed.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    yield
    done.set()
    asking.join()
    assert not failed, failed
    assert not either.count("event loop stands still")


@pytest.mark.usefixtures("alive")
@pytest.mark.parametrize("method", REGISTERED + OTHERS)
def test_a_known_method_is_answered(either: Gateway, method: str) -> None:
    for target in TARGETS:
        for body in BODIES:
            head = b"%b %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" % (method.encode(), target)
            statuses = statuses_of(sent(either, head + body))
            assert len(statuses) == 1, (target, body, statuses)
            if method == "CONNECT":
                assert statuses[0] in (400, 405)


@pytest.mark.usefixtures("alive")
def test_a_thousand_invented_methods_are_refused(either: Gateway) -> None:
    for number, method in enumerate(invented(1000)):
        target, body = TARGETS[number % len(TARGETS)], BODIES[number % len(BODIES)]
        answer = sent(either, b"%b %b HTTP/1.1\r\nHost: a\r\n%b" % (method.encode(), target, body))
        assert statuses_of(answer) == [400], method


def test_connect_is_405_with_the_methods_that_there_are_and_ends_the_connection(
    either: Gateway,
) -> None:
    answer = sent(either, b"CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\nGET /livez HTTP/1.1\r\n\r\n")
    assert statuses_of(answer) == [405]
    assert b"\r\nallow: GET, HEAD, POST\r\n" in answer
    assert b"\r\nconnection: close\r\n" in answer


def test_connect_behind_another_request_is_refused_in_its_turn(either: Gateway) -> None:
    with connect(either) as sock:
        sock.sendall(
            b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nCONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        assert statuses_of(rest(sock)) == [200, 405]
