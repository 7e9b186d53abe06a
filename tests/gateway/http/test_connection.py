"""A connection: what it waits for and for how long, how it ends, what it refuses.

The gateway is in the same process and the clock is virtual, so that minutes take no time.
"""

import contextlib

import pytest

from config.options import GatewayOptions
from tests.fakes import output_frame
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import CHUNKED, GET, POST, read_all, read_statuses, statuses_of, valid_request

OPTIONS = GatewayOptions()


def assert_silent(sock: ClientSocket, seconds: float) -> None:
    """Check that nothing comes for a time, not even the end."""
    sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    sock.settimeout(3600)


@pytest.mark.parametrize("before", [b"", valid_request()], ids=["first", "second"])
def test_body_timeout_is_longer_than_header_timeout(
    gateway: InProcessGateway, before: bytes
) -> None:
    with gateway.connect() as sock:
        if before:
            sock.sendall(before)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        sock.sendall(POST + b"Content-Length: 200000\r\n\r\n")
        for _ in range(3 * int(OPTIONS.header_timeout)):
            sock.sendall(b" " * OPTIONS.min_body_rate)
            assert_silent(sock, 1.0)
        sock.sendall(valid_request().partition(b"\r\n\r\n")[2].ljust(200_000))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


HALF_BODY = b"Content-Length: 99\r\n\r\n{"
UNKNOWN = POST.replace(b"probe", b"nobody")
WAITS: list[tuple[str, bytes, list[int], float]] = [
    ("nothing", b"", [408], OPTIONS.header_timeout),
    ("half a head", b"GET /li", [408], OPTIONS.header_timeout),
    ("half a body", POST + HALF_BODY, [408], 6.0),
    ("half the chunks", POST + CHUNKED + b"1\r\n{\r\n", [408], 6.0),
    ("half a body behind another", valid_request() + POST + HALF_BODY, [200, 408], 6.0),
    ("half a head behind another", valid_request() + b"GET /li", [200, 408],
     OPTIONS.header_timeout),
    ("idle", valid_request(), [200], OPTIONS.keep_alive),
    ("idle after a page", GET + b"\r\n", [200], OPTIONS.keep_alive),
    ("idle after an early answer", valid_request("nobody"), [404], OPTIONS.keep_alive),
    ("half a body after an early answer", valid_request("nobody")[:-5], [404],
     OPTIONS.header_timeout),
    ("an endless body after an early answer", UNKNOWN + CHUNKED + b"1000\r\n" + b"x" * 4096, [404],
     OPTIONS.header_timeout),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "statuses", "seconds"), [row[1:] for row in WAITS], ids=[row[0] for row in WAITS]
)
def test_every_wait_times_out(
    gateway: InProcessGateway, data: bytes, statuses: list[int], seconds: float
) -> None:
    with gateway.connect() as sock:
        start = gateway.loop.time()
        sock.sendall(data)
        assert statuses_of(read_all(sock)) == statuses
        elapsed = gateway.loop.time() - start
        linger = 1.0 if statuses[-1] == 408 else 0.0
        assert seconds <= elapsed <= seconds + linger + 0.001


def test_stalled_body_is_ended_by_minimum_rate(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall(POST + b"Content-Length: 99\r\n\r\n{")
        response = read_all(sock)
    assert statuses_of(response) == [408]
    assert b"1024 B/s" in response


def test_body_that_keeps_the_minimum_rate_ends_at_the_body_timeout() -> None:
    with InProcessGateway(options=GatewayOptions(body_timeout=20.0)) as gateway:
        with gateway.connect() as sock:
            sock.sendall(POST + b"Content-Length: 1000000\r\n\r\n")
            for _ in range(19):
                sock.sendall(b" " * 2048)
                assert_silent(sock, 1.0)
            response = read_all(sock)
        assert statuses_of(response) == [408]
        assert b"took more than 20 s" in response


@pytest.mark.parametrize("chunked", [True, False])
def test_oversized_body_ends_the_connection(chunked: bool) -> None:
    oversized_body = b"x" * 5000
    chunked_body = CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(oversized_body), oversized_body)
    with_length = b"Content-Length: %d\r\n\r\n%s" % (len(oversized_body), oversized_body)
    options = GatewayOptions(max_body=4096)
    with InProcessGateway(options=options) as gateway, gateway.connect() as sock:
        sock.sendall(POST + (chunked_body if chunked else with_length) + valid_request())
        assert statuses_of(read_all(sock)) == [413]


def test_excess_connection_is_503() -> None:
    with InProcessGateway(options=GatewayOptions(max_connections=2)) as gateway:
        with gateway.connect() as first, gateway.connect() as second:
            for sock in (first, second):
                sock.sendall(GET + b"\r\n")
                assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
            with gateway.connect() as excess:
                assert statuses_of(read_all(excess)) == [503]
        with gateway.connect() as later:
            later.sendall(GET + b"\r\n")
            assert later.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_too_many_pipelined_requests_are_rejected(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.sendall((GET + b"\r\n") * 2000)
        statuses = statuses_of(read_all(sock))
    assert statuses[-1] == 400
    assert set(statuses[:-1]) == {200}


def test_pipelined_requests_are_answered_in_order(gateway: InProcessGateway) -> None:
    """The second is answered only after the first, which waits for its loader."""
    gateway.caller.result = None
    with gateway.connect() as sock:
        sock.sendall(valid_request() + GET + b"\r\n" + valid_request("nobody"))
        assert_silent(sock, 1.0)
        gateway.caller.finish_calls()
        gateway.loop.settle()
        assert statuses_of(sock.recv(65536)) == [200, 200, 404]


def test_reading_stops_while_many_requests_wait(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    with gateway.connect() as sock:
        for _ in range(9):
            sock.sendall(valid_request())
        assert not sock.transport.is_reading()
        first = gateway.caller.calls[0]
        first.result = output_frame()
        gateway.run(first.finish)
        assert sock.transport.is_reading(), "one fewer waits"
        gateway.caller.finish_calls()
        gateway.loop.settle()
        assert sock.transport.is_reading()
        assert statuses_of(sock.recv(65536)) == [200] * 9


def test_client_that_reads_nothing_is_cut_off(gateway: InProcessGateway) -> None:
    with gateway.connect() as sock:
        sock.stop_reading()
        start = gateway.loop.time()
        for _ in range(60):
            sock.sendall(b"GET /v1/apis/probe/schema HTTP/1.1\r\nHost: a\r\n\r\n")
        assert not sock.transport.aborted
        gateway.loop.sleep(OPTIONS.write_timeout + 1)
        assert sock.transport.aborted
        assert gateway.loop.time() - start < 2 * OPTIONS.write_timeout


def test_client_that_reads_on_gets_all_responses(gateway: InProcessGateway) -> None:
    page = b"GET /v1/apis/probe/schema HTTP/1.1\r\nHost: a\r\n\r\n"
    with gateway.connect() as sock:
        sock.stop_reading()
        for _ in range(60):
            sock.sendall(page)
        written = statuses_of(bytes(sock.transport.buffered()))
        assert len(written) < 60, "the requests wait while nothing is read"
        sock.continue_reading()
        assert read_statuses(sock, 60) == [200] * 60


def test_disconnect_cancels_the_call_and_frees_the_slot(gateway: InProcessGateway) -> None:
    gateway.caller.result = None
    sock = gateway.connect()
    sock.sendall(valid_request())
    sock.reset()
    (call,) = gateway.caller.calls
    (slot,) = gateway.picker.new_slots
    assert call.cancelled
    assert slot.in_flight == 0
    assert '"code": 10303' in gateway.lines[-1] or '"status": 499' in gateway.lines[-1]


def test_shutdown_closes_idle_connections_and_finishes_running_requests(
    gateway: InProcessGateway,
) -> None:
    gateway.caller.result = None
    with gateway.connect() as idle, gateway.connect() as busy:
        busy.sendall(valid_request())
        for connection in list(gateway.server.server_state.connections):
            connection.shutdown()
        gateway.loop.settle()
        assert idle.recv(1) == b""
        gateway.caller.finish_calls()
        response = read_all(busy)
        assert statuses_of(response) == [200]
        assert b"connection: close\r\n" in response


def test_linger_ends_after_a_second_or_a_mebibyte(gateway: InProcessGateway) -> None:
    """A client that is still sending gets time to read its response (RFC 9112, 9.6)."""
    oversized = POST + b"Content-Length: 99999999\r\n\r\n"
    with gateway.connect() as sock:
        start = gateway.loop.time()
        sock.sendall(oversized + b"x" * 1000)
        assert statuses_of(sock.recv(65536)) == [413]
        assert not sock.transport.is_closing()
        gateway.loop.sleep(1.001)
        assert sock.transport.lost
        assert gateway.loop.time() - start < 1.1
    with gateway.connect() as sock:
        sock.sendall(oversized)
        for _ in range(16):
            sock.sendall(b"x" * 65536)
        assert not sock.transport.aborted
        sock.sendall(b"x" * 65536)
        assert sock.transport.aborted


def test_expect_100_continue_is_answered_when_the_body_is_needed(
    gateway: InProcessGateway,
) -> None:
    head, _, content = valid_request().partition(b"\r\n\r\n")
    expecting = head + b"\r\nExpect: 100-continue\r\n\r\n"
    with gateway.connect() as sock:
        sock.sendall(expecting)
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(content)
        assert statuses_of(sock.recv(65536)) == [200]
        sock.sendall(expecting.replace(b"probe", b"nobody"))
        assert statuses_of(read_all(sock)) == [404]  # and the connection ends


@pytest.mark.parametrize(
    ("reads", "status"),
    [
        ([b"\r\n", valid_request()], 200),
        ([b"\r", b"\n" + valid_request()], 200),
        ([b"\r", valid_request()], 400),
        ([b"\n", valid_request()], 400),
        ([b"\r", b"\n", b"\r", valid_request()], 400),
    ],
)
def test_blank_line_before_a_plain_request(
    gateway: InProcessGateway, reads: list[bytes], status: int
) -> None:
    """However it is split; for a head that is not cached, and for one that is."""
    for _ in range(4):
        with gateway.connect() as sock:
            for read in reads:
                with contextlib.suppress(ConnectionResetError):  # it may be refused already
                    sock.sendall(read)
            assert read_statuses(sock, 1) == [status]
        with gateway.connect() as sock:
            sock.sendall(valid_request())
            assert read_statuses(sock, 1) == [200]
