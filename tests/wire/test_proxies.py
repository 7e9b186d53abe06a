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

from tests.harness import PATIENCE, Gateway, Loader
from tests.rpc.test_peers import ENVOY, HAPROXY, PROXIES, free_port, run_process
from tests.wire.test_events import EVENTS, asked, events
from tests.wire.test_sockets import TALKER, closed, frame, free, heard, reset, said, send

pytestmark = pytest.mark.sources_only  # it tests the proxies, compiled or not

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{}}
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
    with Gateway("--session-keep-alive", "0.3") as told, Loader(told.lb, TALKER) as loader:
        told.joined(loader)
        yield told


@pytest.fixture(
    params=[
        pytest.param("nginx", marks=pytest.mark.peer("nginx")),
        pytest.param("haproxy", marks=pytest.mark.peer("haproxy")),
        pytest.param("envoy", marks=pytest.mark.peer(PROXIES["envoy"][1][0])),
    ]
)
def door(request: pytest.FixtureRequest, gateway: Gateway, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a proxy before the gateway."""
    port, path = free_port(), tmp_path / "proxy.yaml"
    filled = {"port": port, "backend": urlsplit(gateway.url).port, "folder": tmp_path} | UPGRADES
    path.write_text(CONFIGS[request.param].format(**filled))
    with run_process([*PROXIES[request.param][1], str(path)], port) as addr:
        yield addr


@contextlib.contextmanager
def opened(door: str) -> Iterator[ClientConnection]:
    url = f"ws://{door}/v1/private/talker"
    with connect(url, open_timeout=PATIENCE, proxy=None) as ws:
        yield ws


def test_a_socket_through_a_proxy(gateway: Gateway, door: str) -> None:
    with opened(door) as ws:
        send(ws, frame(0, b"one"))
        heard(ws)
        assert said(heard(ws)) == b"ONE"
        send(ws, frame(2))
        assert heard(ws)["header"]["status"] == 2
        assert closed(ws) == 1000
    with opened(door) as ws:
        send(ws, frame(0, b"one"), frame(0))
        assert closed(ws) == 1008
    with opened(door) as ws:
        send(ws, frame(0, act="hold"))
        heard(ws)
        reset(ws)
        free(gateway)


def test_events_through_a_proxy(gateway: Gateway, door: str) -> None:
    """Each comes when it is made: the comment of a session that holds comes, too."""
    where = f"http://{door}/v1/private/talker"
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        answer = http.post(where, json=asked(act="flood", many=3), headers=EVENTS)
        assert [event for event, _, _ in events(answer.text)] == ["result"] * 4 + ["end"]
        with http.stream("POST", where, json=asked(act="hold"), headers=EVENTS) as held:
            assert next(held.iter_lines()).startswith(":")
    free(gateway)
