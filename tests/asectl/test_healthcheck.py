"""`asectl healthcheck` and the other clients: which server they ask, and whom they trust."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from asectl.http_client import HttpTarget
from tests.certificates import make_certificate
from tests.harness import Gateway, Hub, Loader, run_asectl

# Nothing of these may have an effect on a request to one's own host.
PROXIES = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running, Loader(running.lb) as loader:
        running.wait_until_up(loader)
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    make_certificate(folder, "tls", hosts="DNS:localhost")
    return folder


@pytest.fixture(scope="module")
def tls_gateway(certificate: Path) -> Iterator[Gateway]:
    flags = ("--gateway-tls-cert", f"{certificate}/tls.pem", "--gateway-tls-key",
             f"{certificate}/tls.key")  # fmt: skip
    with Gateway(*flags) as running:
        yield running


def environ(**variables: str) -> dict[str, str]:
    return {**os.environ, **PROXIES, **variables}


def test_healthcheck_asks_the_port_of_the_options(gateway: Gateway, tmp_path: Path) -> None:
    port = port_of(gateway.url)
    result = run_asectl("healthcheck", environ=environ(ASE_GATEWAY_PORT=port), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (tmp_path / "ase.yaml").write_text(f"gateway: {{port: {port}, host: 0.0.0.0}}\nauth: none\n")
    assert run_asectl("healthcheck", environ=environ(), cwd=tmp_path).returncode == 0
    assert run_asectl("healthcheck", "--url", gateway.url, environ=environ()).returncode == 0


def test_healthcheck_without_a_server_fails(tmp_path: Path) -> None:
    variables = environ(ASE_GATEWAY_PORT="9", ASE_LB_ADMIN_PORT="9")
    for flags in ((), ("--lb",)):
        result = run_asectl("healthcheck", *flags, environ=variables, cwd=tmp_path)
        assert result.returncode == 1
        assert "127.0.0.1:9/" in result.stderr


def test_healthcheck_beside_a_hub(tmp_path: Path) -> None:
    with Hub() as hub:
        variables = environ(ASE_GATEWAY_PORT="9", ASE_LB_ADMIN_PORT=port_of(hub.admin))
        for flags in ((), ("--lb",)):
            result = run_asectl("healthcheck", *flags, environ=variables, cwd=tmp_path)
            assert result.returncode == 0, result.stderr


@pytest.mark.peer("openssl")
def test_healthcheck_under_tls(tls_gateway: Gateway, certificate: Path, tmp_path: Path) -> None:
    """The certificate need not name the loopback address."""
    variables = environ(
        ASE_GATEWAY_PORT=port_of(tls_gateway.url),
        ASE_GATEWAY_TLS_CERT=f"{certificate}/tls.pem",
        ASE_GATEWAY_TLS_KEY=f"{certificate}/tls.key",
    )
    result = run_asectl("healthcheck", environ=variables, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.peer("openssl")
def test_clients_trust_the_ca_that_is_given(tls_gateway: Gateway, certificate: Path) -> None:
    url = f"https://localhost:{port_of(tls_gateway.url)}"
    ca = f"{certificate}/tls.pem"
    commands = [("api", "list"), ("call", "probe", "--file", ca), ("call", "probe", "--ws")]
    for command in commands:
        result = run_asectl(*command, "--url", url, environ=environ())
        assert "CERTIFICATE_VERIFY_FAILED" in result.stderr, command
        by_flag = run_asectl(*command, "--url", url, "--ca", ca, environ=environ())
        by_variable = run_asectl(*command, "--url", url, environ=environ(SSL_CERT_FILE=ca))
        assert "CERTIFICATE" not in by_flag.stderr + by_variable.stderr, command
    assert run_asectl("api", "list", "--url", url, "--ca", ca).returncode == 0
    for unusable in ("missing.pem", "README.md"):
        result = run_asectl("api", "list", "--url", url, "--ca", unusable)
        assert (result.returncode, unusable in result.stderr) == (1, True), result.stderr


def test_http_needs_no_certificates() -> None:
    assert HttpTarget("http://a", "missing.pem").tls_context() is None


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (
            ("gateway", "--gateway-host", "192.0.2.1", "--auth-methods", "none"),
            r"192.0.2.1:\d+: 192.0.2.1 is no address of",
        ),
        (("gateway", "--lb-host", "192.0.2.1"), r"192.0.2.1:\d+: 192.0.2.1 is no address of"),
        (("lb", "--lb-host", "no.such.invalid"), r"no.such.invalid:\d+: "),
        (("loader", "run", "tests/wrappers/probe.py:Probe", "--host", "192.0.2.1", "--lb", "a:1"),
         r"192.0.2.1:\d+: 192.0.2.1 is no address of"),
    ],
    ids=str,
)  # fmt: skip
def test_address_that_cannot_be_bound_is_explained(args: tuple[str, ...], reason: str) -> None:
    free_ports = environ(ASE_GATEWAY_PORT="0", ASE_GATEWAY_ADMIN_PORT="0", ASE_LB_ADMIN_PORT="0")
    result = run_asectl(*args, environ=free_ports)
    assert result.returncode == 1
    assert re.search(f"asectl: {reason}", result.stderr), result.stderr
    assert "in use" not in result.stderr


def test_kubernetes_service_links_are_reported_once() -> None:
    links = {"ASE_GATEWAY_PORT": "tcp://10.0.0.1:8200", "ASE_GATEWAY_SERVICE_HOST": "10.0.0.1"}
    result = run_asectl("kong", "render", environ=environ(ASE_KONG_GATEWAYS="a:1", **links))
    assert result.returncode == 0
    assert result.stderr.count("links of a Kubernetes Service") == 1


def test_hosts_may_have_brackets() -> None:
    """Each listens on IPv6, if this host has it, or says that it has not."""
    flags = ("--gateway-host", "[::1]", "--lb-host", "::1")
    if Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
        with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
            assert gateway.url.startswith("http://[::1]:")
            assert gateway.lb.startswith("[::1]:")
            gateway.wait_until_up(loader)
    else:
        result = run_asectl("gateway", *flags, environ=environ(ASE_GATEWAY_PORT="0"))
        assert "[::1]:0: " in result.stderr
