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

from tests.harness import TIMEOUT_S, Gateway, Hub, Loader, Process, make_envelope
from tests.requests import read_all, statuses_of
from tests.wire.test_framing import connect, send_and_read_all

UNKNOWN_NAME = "chosen_by_the_caller"
HANDSHAKE = (
    b"GET /v1/private/probe HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(b"k" * 16) + b"\r\n"
)


def request_line(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    return gateway.wait_for_event("request", **fields)


def test_quote_in_a_service_path_forges_no_log_field(gateway: Gateway, loader: Loader) -> None:
    path = '/x", "status": 599, "forged": "/probe'
    data = json.dumps(make_envelope()).encode()
    target = path.replace('"', "%22").replace(" ", "%20")
    head = (
        f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Connection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    assert send_and_read_all(gateway, head.encode() + data).startswith(b"HTTP/1.1 200 ")
    line = request_line(gateway, path=path)
    assert line["status"] == 200
    assert "forged" not in line
    assert not gateway.text, "every line is one JSON object"


def unknown_members() -> list[tuple[str, bytes]]:
    valid = make_envelope()
    in_header = json.loads(json.dumps(valid))
    in_header["header"][UNKNOWN_NAME] = 1
    in_parameter = json.loads(json.dumps(valid))
    in_parameter["parameter"]["probe"][UNKNOWN_NAME] = 1
    in_payload = json.loads(json.dumps(valid))
    in_payload["payload"][UNKNOWN_NAME] = {"text": "", "status": 3}
    duplicate = json.dumps(valid)[:-1] + f', "{UNKNOWN_NAME}": 1, "{UNKNOWN_NAME}": 2}}'
    return [
        ("header", json.dumps(in_header).encode()),
        ("parameter", json.dumps(in_parameter).encode()),
        ("payload", json.dumps(in_payload).encode()),
        ("top", json.dumps({**valid, UNKNOWN_NAME: 1}).encode()),
        ("twice", duplicate.encode()),
    ]


@pytest.mark.parametrize(("place", "data"), unknown_members(), ids=lambda v: str(v)[:9])
def test_unknown_member_is_named_to_the_caller_and_not_logged(
    gateway: Gateway, loader: Loader, place: str, data: bytes
) -> None:
    headers = {"content-type": "application/json"}
    response = gateway.http.post("/v1/private/probe", content=data, headers=headers)
    assert response.status_code == 400
    assert UNKNOWN_NAME in response.json()["header"]["message"]
    line = request_line(gateway, sid=response.json()["header"]["sid"])
    assert line["detail"]
    assert UNKNOWN_NAME not in json.dumps(line)


def test_origin_and_userinfo_are_not_logged(gateway: Gateway, loader: Loader) -> None:
    response = send_and_read_all(
        gateway, HANDSHAKE + f"Origin: https://{UNKNOWN_NAME}.example\r\n\r\n".encode()
    )
    assert response.startswith(b"HTTP/1.1 403 ")
    assert UNKNOWN_NAME.encode() in response
    target = f"http://admin:{UNKNOWN_NAME}@evil/x?{UNKNOWN_NAME}"
    assert (
        b" 400 "
        in send_and_read_all(gateway, f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())[:20]
    )
    request_line(gateway, path="http://evil/x")
    request_line(gateway, detail="origin is not one of session.origins")
    assert UNKNOWN_NAME not in json.dumps(gateway.lines) + "".join(gateway.text)


def test_secrets_are_accepted_from_environment_or_file_only(
    gateway: Gateway, tmp_path: Any
) -> None:

    for args, remedy in (
        (("lb", "--lb-token", UNKNOWN_NAME), "ASE_LB_TOKEN, or lb.token in the config file"),
        (("gateway", f"--lb-token={UNKNOWN_NAME}"), "ASE_LB_TOKEN, or lb.token in the config file"),
        (
            ("loader", "run", "x.py:X", "--lb-token", UNKNOWN_NAME),
            "ASE_LB_TOKEN, or --lb-token-file",
        ),
    ):
        with Process(*args) as rejected:
            assert rejected.wait_for_exit() == 2
            stderr = " ".join(" ".join(rejected.text).split())
            assert f"set {remedy}" in stderr
            assert UNKNOWN_NAME not in stderr
    file = tmp_path / "token"
    file.write_text(f"{UNKNOWN_NAME}\n")
    spec = "tests/wrappers/probe.py:Probe"
    with (
        Hub(env={"ASE_LB_TOKEN": UNKNOWN_NAME}) as hub,
        Loader(hub.lb, spec, "--lb-token-file", str(file)) as loader,
    ):
        hub.wait_for_event("instance up", instance=loader.addr)
        for process in (hub, loader):
            assert UNKNOWN_NAME not in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_admin_port_rejects_incomplete_and_large_heads(gateway: Gateway) -> None:
    address = urlsplit(gateway.admin)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: local")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "
        try:
            for _ in range(60):
                sock.sendall(head + b"a" * (1 << 20))
                head = b""
        except ConnectionError:
            pass
        else:
            pytest.fail("60 MB of one header were read")


def test_admin_port_rejects_connect(gateway: Gateway) -> None:
    address = urlsplit(gateway.admin)
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"CONNECT /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert statuses_of(read_all(sock)) == [405]
    assert httpx.get(f"{gateway.admin}/livez", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:1", 200), ("localhost", 200), ("LOCALHOST:8290", 200), ("[::1]:80", 200),
        ("10.1.2.3", 200), ("metrics.internal:9", 200), ("evil.example", 421),
        ("evil.example:8290", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil", 421),
    ],
)  # fmt: skip
def test_admin_port_serves_only_its_own_hosts(
    gateway_with_admin_host: Gateway, host: str, status: int
) -> None:
    for path in ("/metrics", "/lb/state", "/livez"):
        address = urlsplit(gateway_with_admin_host.admin)
        with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
            head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            sock.sendall(head.encode())
            assert read_all(sock).startswith(b"HTTP/1.1 %d " % status)


def test_admin_port_of_a_hub_has_its_own_address_and_hosts() -> None:
    with Hub("--lb-admin-host", "127.0.0.2", "--lb-admin-hosts", "hub.internal") as hub:
        assert hub.admin.startswith("http://127.0.0.2:")
        for host, status in (("hub.internal", 200), ("metrics.internal", 421)):
            response = httpx.get(f"{hub.admin}/metrics", headers={"Host": host}, trust_env=False)
            assert response.status_code == status


@pytest.fixture(scope="module")
def gateway_with_admin_host() -> Any:
    with Gateway("--gateway-admin-hosts", "metrics.internal") as running:
        yield running


def test_connections_leave_descriptors_and_exhaustion_is_logged() -> None:
    def set_files(limit: int) -> None:
        resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (limit, 128))

    prefix = ("prlimit", "--nofile=128:128")
    with Gateway("--gateway-header-timeout", "300", prefix=prefix) as gateway:
        gateway.wait_for_event("max_connections lowered to the limit of open files", connections=96)
        with contextlib.ExitStack() as clients:
            for _ in range(200):
                clients.enter_context(connect(gateway))
            gateway.wait_for_event("request", status=503, detail="too many connections")
            assert "ase_" in gateway.metrics(), "the admin API has descriptors left"
            set_files(3)  # whatever was opened stays open, and nothing more can be
            gateway.wait_for_event("file descriptors used up")
            set_files(128)
        assert httpx.get(f"{gateway.admin}/livez", trust_env=False).status_code == 200
