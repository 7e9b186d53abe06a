"""Sessions through proxies that nobody here wrote: what comes, comes at once, and so does an end.

nginx is what Kong is, with its buffers left on.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.harness import TIMEOUT_S, Gateway, Loader, free_port
from tests.rpc.test_peers import ENVOY, HAPROXY, PROXIES, run_process
from tests.sessions import TALKER, frame, output_bytes
from tests.wire.test_events import EVENTS, parse_events, talker_envelope
from tests.wire.test_sockets import (
    receive,
    receive_close_code,
    reset_connection,
    send,
    wait_until_idle,
)

pytestmark = pytest.mark.sources_only  # it tests the proxies, compiled or not

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{backend};
      proxy_http_version 1.1;
      proxy_set_header Host $host:$server_port;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
    }}
  }}
}}
"""
CONFIGS = {"nginx": NGINX, "haproxy": HAPROXY, "envoy": ENVOY}
UPGRADES = {
    "proto": "", "cluster": "connect_timeout: 5s",
    "manager": "upgrade_configs: [{upgrade_type: websocket}]",
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway("--session-keep-alive", "0.3") as started, Loader(started.lb, TALKER) as loader:
        started.wait_until_up(loader)
        yield started


@pytest.fixture(
    params=[
        pytest.param("nginx", marks=pytest.mark.peer("nginx")),
        pytest.param("haproxy", marks=pytest.mark.peer("haproxy")),
        pytest.param("envoy", marks=pytest.mark.peer(PROXIES["envoy"][1][0])),
    ]
)
def proxy_addr(request: pytest.FixtureRequest, gateway: Gateway, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a proxy before the gateway."""
    port, path = free_port(), tmp_path / "proxy.yaml"
    values = {"port": port, "backend": urlsplit(gateway.url).port, "folder": tmp_path} | UPGRADES
    path.write_text(CONFIGS[request.param].format(**values))
    with run_process([*PROXIES[request.param][1], str(path)], port) as addr:
        yield addr


@contextlib.contextmanager
def open_session(proxy_addr: str) -> Iterator[ClientConnection]:
    url = f"ws://{proxy_addr}/v1/private/talker"
    with connect(url, open_timeout=TIMEOUT_S, proxy=None) as ws:
        yield ws


def test_a_socket_through_a_proxy(gateway: Gateway, proxy_addr: str) -> None:
    with open_session(proxy_addr) as ws:
        send(ws, frame(0, b"one"))
        receive(ws)
        assert output_bytes(receive(ws)) == b"ONE"
        send(ws, frame(2))
        assert receive(ws)["header"]["status"] == 2
        assert receive_close_code(ws) == 1000
    with open_session(proxy_addr) as ws:
        send(ws, frame(0, b"one"), frame(0))
        assert receive_close_code(ws) == 1008
    with open_session(proxy_addr) as ws:
        send(ws, frame(0, act="hold"))
        receive(ws)
        reset_connection(ws)
        wait_until_idle(gateway)


def test_events_through_a_proxy(gateway: Gateway, proxy_addr: str) -> None:
    """Each comes when it is made: the comment of a session that holds comes, too."""
    url = f"http://{proxy_addr}/v1/private/talker"
    with httpx.Client(trust_env=False, timeout=TIMEOUT_S) as http:
        response = http.post(url, json=talker_envelope(act="flood", many=3), headers=EVENTS)
        assert [event for event, _, _ in parse_events(response.text)] == ["result"] * 4 + ["end"]
        with http.stream("POST", url, json=talker_envelope(act="hold"), headers=EVENTS) as stream:
            assert next(stream.iter_lines()).startswith(":")
    wait_until_idle(gateway)
