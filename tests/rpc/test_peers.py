"""Our client against HTTP/2 servers that nobody here wrote: nghttpd, nginx, HAProxy, Envoy.

Those that can stand before a grpcio server, and the calls go through.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rpc.client import Channel
from rpc.status import RpcError, Status
from tests.harness import free_port
from tests.rpc.test_oracle import run_oracle_server

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} http2; keepalive_requests 50;
    location / {{ grpc_pass grpc://127.0.0.1:{backend}; }}
  }}
}}
"""
HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend door
  bind 127.0.0.1:{port}{proto}
  default_backend loaders
backend loaders
  server one 127.0.0.1:{backend}{proto}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: door
          {manager}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: /}}, route: {{cluster: backend, timeout: 30s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: backend
    type: STATIC
    {cluster}
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}}}
"""  # noqa: E501 (names of Envoy's)
_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# What makes them speak HTTP/2 alone, on either side.
HTTP2 = {
    "proto": " proto h2",
    "manager": "codec_type: HTTP2",
    "cluster": f"typed_extension_protocol_options: {{{_OPTIONS}: {{'@type': type.googleapis.com/"
    f"{_OPTIONS}, explicit_http_config: {{http2_protocol_options: {{}}}}}}}}",
}
PROXIES = {
    "nginx": (NGINX, ["nginx", "-c"]),
    "haproxy": (HAPROXY, ["haproxy", "-db", "-f"]),
    "envoy": (
        ENVOY,
        [str(Path(sys.executable).with_name("envoy")), "--concurrency", "1", "-l", "error",
         "--disable-hot-restart", "-c"],
    ),
}  # fmt: skip


@contextlib.contextmanager
def run_process(args: list[str], port: int) -> Iterator[str]:
    """Run a program until its port is open, and then on."""
    with subprocess.Popen(args, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                assert process.poll() is None, f"{args[0]} ended"
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("nginx", marks=pytest.mark.peer("nginx")),
        pytest.param("haproxy", marks=pytest.mark.peer("haproxy")),
        pytest.param("envoy", marks=pytest.mark.peer(PROXIES["envoy"][1][0])),
    ],
)
def test_calls_through_a_proxy(name: str, tmp_path: Path) -> None:
    """nginx sends us away after 50 calls, again and again: none of them is lost."""
    template, args = PROXIES[name]

    async def main(addr: str) -> None:
        channel = Channel(addr)
        for size in (0, 1, 16_384, 65_537, 1 << 20):
            data = b"p" * size
            assert await channel.unary("/t.T/Echo", data, timeout=20) == data
        calls = [channel.unary("/t.T/Echo", b"%d" % n, timeout=20) for n in range(500)]
        assert await asyncio.gather(*calls) == [b"%d" % n for n in range(500)]
        with pytest.raises(RpcError) as caught:
            await channel.unary("/t.T/Fail", b"\x05not here", timeout=20)
        assert caught.value.status is Status.NOT_FOUND
        assert caught.value.details == "not here"
        await channel.close()

    with run_oracle_server() as backend:
        port = free_port()
        path = tmp_path / f"{name}.yaml"
        values = {"port": port, "backend": backend.rpartition(":")[2], "folder": tmp_path} | HTTP2
        path.write_text(template.format(**values))
        with run_process([*args, str(path)], port) as addr:
            asyncio.run(main(addr))


@pytest.mark.peer("nghttpd")
def test_non_grpc_server(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("hello")

    async def main(addr: str) -> None:
        channel = Channel(addr)
        for _ in range(100):
            for path, status in (("/page", Status.UNKNOWN), ("/none", Status.UNIMPLEMENTED)):
                with pytest.raises(RpcError) as caught:
                    await channel.unary(path, b"x", timeout=20)
                assert caught.value.status is status
        (transport,) = channel._transports
        assert not transport.connection.outbound.streams
        await channel.close()

    port = free_port()
    args = ["nghttpd", "--no-tls", "-d", str(tmp_path), str(port)]
    with run_process(args, port) as addr:
        asyncio.run(main(addr))
