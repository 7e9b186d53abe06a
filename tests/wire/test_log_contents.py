"""What a log holds of a request: nothing that forges a field, no name or secret of the caller."""

import base64
import contextlib
import json
import resource
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.harness import PATIENCE, Gateway, Loader, body
from tests.wire.test_framing import connect, rest, sent, statuses_of

NAME = "chosen_by_the_caller"
HANDSHAKE = (
    b"GET /v1/private/probe HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(b"k" * 16) + b"\r\n"
)


def last_line(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    return gateway.event("request", **fields)


def test_a_quote_in_a_path_that_leads_to_a_service_forges_nothing(
    gateway: Gateway, loader: Loader
) -> None:
    path = '/x", "status": 599, "forged": "/probe'
    data = json.dumps(body()).encode()
    target = path.replace('"', "%22").replace(" ", "%20")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    assert sent(gateway, head.encode() + data).startswith(b"HTTP/1.1 200 ")
    line = last_line(gateway, path=path)
    assert line["status"] == 200
    assert "forged" not in line
    assert not gateway.text, "every line is one JSON object"


def unknown_members() -> list[tuple[str, bytes]]:
    valid = body()
    in_header = json.loads(json.dumps(valid))
    in_header["header"][NAME] = 1
    in_parameter = json.loads(json.dumps(valid))
    in_parameter["parameter"]["probe"][NAME] = 1
    in_payload = json.loads(json.dumps(valid))
    in_payload["payload"][NAME] = {"text": "", "status": 3}
    twice = json.dumps(valid)[:-1] + f', "{NAME}": 1, "{NAME}": 2}}'
    return [
        ("header", json.dumps(in_header).encode()),
        ("parameter", json.dumps(in_parameter).encode()),
        ("payload", json.dumps(in_payload).encode()),
        ("top", json.dumps({**valid, NAME: 1}).encode()),
        ("twice", twice.encode()),
    ]


@pytest.mark.parametrize(("place", "data"), unknown_members(), ids=lambda v: str(v)[:9])
def test_the_caller_reads_the_name_and_the_log_does_not_hold_it(
    gateway: Gateway, loader: Loader, place: str, data: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = gateway.http.post("/v1/private/probe", content=data, headers=headers)
    assert answer.status_code == 400
    assert NAME in answer.json()["header"]["message"]
    line = last_line(gateway, sid=answer.json()["header"]["sid"])
    assert line["detail"]
    assert NAME not in json.dumps(line)


def test_an_origin_and_a_user_of_an_authority_are_not_logged(gateway: Gateway) -> None:
    answer = sent(gateway, HANDSHAKE + f"Origin: https://{NAME}.example\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert NAME.encode() in answer
    target = f"http://admin:{NAME}@evil/x?{NAME}"
    assert b" 400 " in sent(gateway, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())[:20]
    last_line(gateway, path="http://evil/x")
    last_line(gateway, detail="origin is not one of session.origins")
    assert NAME not in json.dumps(gateway.lines) + "".join(gateway.text)


def test_a_secret_is_taken_from_the_environment_or_a_file_and_never_from_a_flag(
    gateway: Gateway, tmp_path: Any
) -> None:
    from tests.harness import Hub, Process

    for words, cure in (
        (("lb", "--lb-token", NAME), "ASE_LB_TOKEN, or lb.token in the config file"),
        (("gateway", f"--lb-token={NAME}"), "ASE_LB_TOKEN, or lb.token in the config file"),
        (("loader", "run", "x.py:X", "--lb-token", NAME), "ASE_LB_TOKEN, or --lb-token-file"),
    ):
        with Process(*words) as refused:
            assert refused.ended() == 2
            said = " ".join(" ".join(refused.text).split())
            assert f"set {cure}" in said
            assert NAME not in said
    file = tmp_path / "token"
    file.write_text(f"{NAME}\n")
    spec = "tests/wrappers/probe.py:Probe"
    with (
        Hub(env={"ASE_LB_TOKEN": NAME}) as hub,
        Loader(hub.lb, spec, "--lb-token-file", str(file)) as loader,
    ):
        hub.event("instance up", instance=loader.addr)
        for process in (hub, loader):
            assert NAME not in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_an_admin_port_refuses_half_heads_and_large_ones(gateway: Gateway) -> None:
    where = urlsplit(gateway.admin)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        assert rest(sock).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "
        try:
            for _ in range(60):
                sock.sendall(head + b"a" * (1 << 20))
                head = b""
        except ConnectionError:
            pass
        else:
            pytest.fail("60 MB of one header were read")


def test_the_admin_port_answers_connect_too(gateway: Gateway) -> None:
    where = urlsplit(gateway.admin)
    with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
        sock.sendall(b"CONNECT /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert statuses_of(rest(sock)) == [405]
    assert httpx.get(f"{gateway.admin}/livez", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:8290", 200), ("[::1]:80", 200),
        ("10.1.2.3", 200), ("metrics.internal:9", 200), ("evil.example", 421),
        ("evil.example:8290", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil", 421),
    ],
)  # fmt: skip
def test_an_admin_port_answers_its_own_names_alone(named: Gateway, host: str, status: int) -> None:
    for path in ("/metrics", "/lb/state", "/livez"):
        where = urlsplit(named.admin)
        with socket.create_connection((where.hostname, where.port), timeout=PATIENCE) as sock:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            assert rest(sock).startswith(b"HTTP/1.1 %d " % status)


@pytest.fixture(scope="module")
def named() -> Any:
    with Gateway("--gateway-admin-hosts", "metrics.internal") as running:
        yield running


def test_clients_cannot_take_every_descriptor_and_a_process_without_any_says_so() -> None:
    def set_files(limit: int) -> None:
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (limit, 128))

    prefix = ("prlimit", "--nofile=128:128")
    with Gateway("--gateway-header-timeout", "300", prefix=prefix) as gateway:
        gateway.event("max_connections lowered to the limit of open files", connections=96)
        with contextlib.ExitStack() as clients:
            for _ in range(200):
                clients.enter_context(connect(gateway))
            gateway.event("request", status=503, detail="too many connections")
            assert "ase_" in gateway.metrics(), "the admin API has descriptors left"
            set_files(3)  # whatever was opened stays open, and nothing more can be
            gateway.event("file descriptors used up")
            set_files(128)
        assert httpx.get(f"{gateway.admin}/livez", trust_env=False).status_code == 200
