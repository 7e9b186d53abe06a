"""Memory that clients keep busy is bounded in sum, whatever they ask for, and given back."""

import gc
import json
from collections.abc import Callable

import pytest

from config.options import GatewayOptions
from gateway.unary.cycle import UnaryRequestCycle
from tests.fakes import output_frame
from tests.harness import make_envelope
from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import CHUNKED, POST, read_all, read_statuses, statuses_of, valid_request
from tests.sessions import InProcessWebSocket, frame, handshake_request, masked_frame

MIB = 1 << 20
CLIENTS = 40
# What one connection may have unread without being counted.
UNCOUNTED = 16_384


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def ask_for_page(gateway: InProcessGateway) -> ClientSocket:
    sock = gateway.connect()
    sock.stop_reading()
    sock.sendall(get("/docs/swagger-ui-bundle.js"))
    return sock


def ask_for_large_output(gateway: InProcessGateway) -> ClientSocket:
    gateway.caller.result = output_frame(b"x" * 300_000)
    sock = gateway.connect()
    sock.stop_reading()
    sock.sendall(valid_request())
    return sock


def ask_for_events(gateway: InProcessGateway) -> ClientSocket:
    sock = gateway.connect()
    sock.stop_reading()
    body = json.dumps(frame(3, b"hello")).encode()
    sock.sendall(
        POST.replace(b"probe", b"talker")
        + b"Accept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    for _ in range(3):
        gateway.caller.streams[-1].push_result(1, b"x" * 100_000)
    return sock


def ask_for_messages(gateway: InProcessGateway) -> ClientSocket:
    websocket = InProcessWebSocket(gateway)
    websocket.sock.stop_reading()
    websocket.send(frame(0, b"hello"))
    for _ in range(3):
        gateway.caller.streams[-1].push_result(1, b"x" * 100_000)
    return websocket.sock


@pytest.mark.unmeasured
@pytest.mark.parametrize("once_lane", [True, False], ids=["fast path", "starlette"])
@pytest.mark.parametrize(
    "ask", [ask_for_page, ask_for_large_output, ask_for_events, ask_for_messages]
)
def test_unread_output_of_all_clients_is_bounded(
    ask: Callable[[InProcessGateway], ClientSocket], once_lane: bool
) -> None:
    options = GatewayOptions(max_unread=2 * MIB, once_lane=once_lane)
    with InProcessGateway(options=options) as gateway:
        sockets = [ask(gateway) for _ in range(CLIENTS)]
        gateway.loop.settle()
        cut = [sock.transport.aborted for sock in sockets]
        assert cut == sorted(cut, reverse=True), "the oldest are cut"
        assert 0 < sum(cut) < CLIENTS
        assert len(gateway.cuts) == sum(cut)
        unread = sum(sock.transport.get_write_buffer_size() for sock in sockets)
        assert unread <= 2 * MIB + CLIENTS * UNCOUNTED
        gateway.caller.result = output_frame()
        with gateway.connect() as reader:
            reader.sendall(valid_request())
            assert read_statuses(reader, 1) == [200]
        for sock in sockets:
            if not sock.transport.aborted:
                sock.continue_reading()
        gateway.loop.settle()
        assert gateway.server_context.unread_output.total == 0


def test_small_unread_responses_are_counted_too() -> None:
    with InProcessGateway(options=GatewayOptions(max_unread=100_000)) as gateway:
        gateway.caller.result = output_frame(b"x" * 20_000)
        sockets = []
        for _ in range(CLIENTS):
            sockets.append(gateway.connect())
            sockets[-1].stop_reading()
            sockets[-1].sendall(valid_request())
        unread = sum(sock.transport.get_write_buffer_size() for sock in sockets)
        assert unread <= 100_000


def test_one_large_response_is_not_cut() -> None:
    with InProcessGateway(options=GatewayOptions(max_unread=100_000)) as gateway:
        sock = ask_for_page(gateway)
        assert not sock.transport.aborted
        sock.continue_reading()
        assert read_statuses(sock, 1) == [200]


def start_body(gateway: InProcessGateway, size: int, total: int = 8 * MIB) -> ClientSocket:
    sock = gateway.connect()
    sock.sendall(POST + b"Content-Length: %d\r\n\r\n" % total + b" " * size)
    return sock


def held_bytes(gateway: InProcessGateway) -> int:
    total: int = gateway.server_context.body_budget.total
    return total


@pytest.mark.parametrize("once_lane", [True, False], ids=["fast path", "starlette"])
def test_bodies_of_all_clients_are_bounded(once_lane: bool) -> None:
    options = GatewayOptions(max_bodies=8 * MIB, once_lane=once_lane)
    with InProcessGateway(options=options) as gateway:
        small = start_body(gateway, 100_000, total=100_001)
        sockets = [start_body(gateway, MIB) for _ in range(20)]
        assert held_bytes(gateway) <= 8 * MIB
        rejected = [sock for sock in sockets if sock.transport.delivered]
        assert len(rejected) == 13
        for sock in rejected:
            response = read_all(sock)
            assert statuses_of(response) == [503]
            assert b"\r\nretry-after: 1\r\n" in response
            assert b"\r\nconnection: close\r\n" in response
        small.sendall(b"x")
        assert read_statuses(small, 1) == [400], "it was not rejected, though it is no JSON"
        for sock in sockets:
            sock.reset()
        gateway.loop.settle()
        assert held_bytes(gateway) == 0


def test_complete_body_is_kept_until_its_response() -> None:
    with InProcessGateway(options=GatewayOptions(max_bodies=3 * MIB)) as gateway:
        gateway.caller.result = None
        body = json.dumps(make_envelope()).encode().ljust(2 * MIB)
        with gateway.connect() as running:
            running.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert len(gateway.caller.calls) == 1
            late = start_body(gateway, 2 * MIB)
            assert statuses_of(read_all(late)) == [503]
            gateway.caller.finish_calls()
            assert read_statuses(running, 1) == [200]
            assert held_bytes(gateway) == 0


def test_websocket_messages_count_as_bodies() -> None:
    with InProcessGateway(options=GatewayOptions(max_bodies=MIB)) as gateway:
        handshake = handshake_request("a")
        fragment = masked_frame(1, b"x" * 60_000, fin=False)
        rest = masked_frame(0, b"x" * 60_000, fin=False)
        sockets = []
        for _ in range(12):
            sock = gateway.connect()
            sock.sendall(handshake + fragment + rest)
            sockets.append(sock)
        assert held_bytes(gateway) <= MIB
        closed = [b"too many bytes" in sock.recv(65536) for sock in sockets]
        assert sum(closed) == 4
        for sock in sockets:
            sock.reset()
        gateway.loop.settle()
        assert held_bytes(gateway) == 0


def live_cycles() -> list[UnaryRequestCycle]:
    return [thing for thing in gc.get_objects() if isinstance(thing, UnaryRequestCycle)]


def test_lost_connections_free_their_bodies_at_once() -> None:
    """Without the cycle collector: it may not run for minutes."""
    with InProcessGateway() as gateway:
        gc.collect()
        ids_before = {id(cycle) for cycle in live_cycles()}
        gc.disable()
        try:
            for reset in (True, False):
                sock = start_body(gateway, MIB)
                queued = gateway.connect()
                gateway.caller.result = None
                queued.sendall(valid_request() + POST + b"Content-Length: 999\r\n\r\n{")
                for lost in (sock, queued):
                    if reset:
                        lost.reset()
                    else:
                        lost.close()
                gateway.loop.settle()
            gateway.caller.calls.clear()
            assert [cycle for cycle in live_cycles() if id(cycle) not in ids_before] == []
        finally:
            gc.enable()


def test_rejected_body_is_freed_while_the_client_still_sends() -> None:
    with InProcessGateway(options=GatewayOptions(max_bodies=MIB)) as gateway:
        gc.collect()
        ids_before = {id(cycle) for cycle in live_cycles()}
        sock = start_body(gateway, 2 * MIB)
        assert sock.transport.is_reading()
        new_cycles = [cycle for cycle in live_cycles() if id(cycle) not in ids_before]
        assert [len(cycle._body) for cycle in new_cycles] in ([], [0])
        sock.reset()


def chunked_body(body: bytes, size: int) -> bytes:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize("once_lane", [True, False], ids=["fast path", "starlette"])
@pytest.mark.parametrize(
    ("chunks", "size", "status"), [(9_990, 1, 200), (10_100, 1, 400), (20_000, 16, 200)]
)
def test_body_of_many_tiny_chunks_is_rejected(
    chunks: int, size: int, status: int, once_lane: bool
) -> None:
    with InProcessGateway(options=GatewayOptions(once_lane=once_lane)) as gateway:
        body = json.dumps(make_envelope()).encode().ljust(chunks * size)
        with gateway.connect() as sock:
            sock.sendall(POST + CHUNKED + chunked_body(body, size))
            response = sock.recv(65536)
            assert statuses_of(response) == [status]
            assert (b"16 bytes on average" in response) is (status == 400)


def test_chunk_size_is_an_option() -> None:
    with InProcessGateway(options=GatewayOptions(min_chunk=0)) as gateway:
        body = json.dumps(make_envelope()).encode().ljust(20_000)
        with gateway.connect() as sock:
            sock.sendall(POST + CHUNKED + chunked_body(body, 1))
            assert read_statuses(sock, 1) == [200]
