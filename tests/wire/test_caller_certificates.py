"""Callers that prove who they are by a client certificate (mTLS), by every way in."""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from schemas.wire import InferRequest
from tests.certificates import make_certificate, make_revocation_list
from tests.harness import TIMEOUT_S, Gateway, Loader, Process, make_envelope, run_asectl
from tests.requests import GET, statuses_of
from tests.sessions import TALKER
from tests.wire.test_access import talker_envelope

pytestmark = pytest.mark.peer("openssl")


class MutualTls:
    """A gateway that takes client certificates, and the files of some callers.

    The certificates "tests" and "other" are of its CA, "stranger" is of no one.
    """

    def __init__(self, folder: Path, once_lane: str) -> None:
        self.folder = folder
        for name, *signer in (
            ["ca"],
            ["tls", "ca"],
            ["tests", "ca"],
            ["other", "ca"],
            ["stranger"],
        ):
            make_certificate(folder, name, *signer)
        (folder / "ase.yaml").write_text("auth: [mtls, key]\n")
        result = run_asectl("key", "create", "--app", "tests", "-c", str(folder / "ase.yaml"))
        self.key = result.stdout.strip()
        self.gateway = Gateway(
            "-c", str(folder / "ase.yaml"), "--gateway-once-lane", once_lane,
            "--gateway-tls-cert", "tls.pem", "--gateway-tls-key", "tls.key",
            "--gateway-tls-ca", "ca.pem",
            "--gateway-grpc", "true", "--gateway-grpc-port", "0",
        )  # fmt: skip

    def serve(self) -> Iterator["MutualTls"]:
        """Yield this while the gateway and two loaders serve."""
        with (
            self.gateway as gateway,
            Loader(gateway.lb) as probe,
            Loader(gateway.lb, TALKER) as talker,
        ):
            gateway.wait_until_up(probe)
            gateway.wait_until_up(talker)
            yield self

    def tls_context(self, name: str = "") -> ssl.SSLContext:
        """Return the context of a caller; without a name it has no certificate."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context

    def post(
        self, name: str = "", service: str = "probe", count: int = 1, **headers: str
    ) -> httpx.Response:
        """Return the last one of some equal responses on one connection."""
        envelope = talker_envelope() if service == "talker" else make_envelope(service)
        url = f"{self.gateway.url}/v1/private/{service}"
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        context = self.tls_context(name)
        with httpx.Client(verify=context, trust_env=False, timeout=TIMEOUT_S) as client:
            for _ in range(count):
                response = client.post(url, json=envelope, headers=fields)
        return response


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def mutual(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MutualTls]:
    yield from MutualTls(tmp_path_factory.mktemp("mutual"), request.param).serve()


def test_certificate_opens_the_services_of_its_application(mutual: MutualTls) -> None:
    assert mutual.post("tests", count=3).status_code == 200, "the third one is a cached head"
    refused = mutual.post("other")
    assert (refused.status_code, refused.json()["header"]["code"]) == (403, 10313)
    assert mutual.post("tests").status_code == 200, "a cached head is not the caller"


def test_caller_without_a_certificate(mutual: MutualTls) -> None:
    refused = mutual.post()
    assert (refused.status_code, refused.json()["header"]["code"]) == (401, 10105)
    assert "a client certificate (mTLS)" in refused.json()["header"]["message"]
    assert mutual.post(x_api_key=mutual.key).status_code == 200
    with httpx.Client(verify=mutual.tls_context(), trust_env=False) as client:
        assert client.get(f"{mutual.gateway.url}/livez").status_code == 200


def test_key_counts_before_the_certificate(mutual: MutualTls) -> None:
    assert mutual.post("other", x_api_key=mutual.key).status_code == 200


def test_certificate_of_no_one_known(mutual: MutualTls) -> None:
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        mutual.post("stranger")
    assert mutual.post("tests").status_code == 200


def test_events(mutual: MutualTls) -> None:
    events = {"accept": "text/event-stream"}
    assert mutual.post("", "talker", **events).status_code == 401
    assert mutual.post("tests", "talker", **events).text.count("event: end") == 1


async def call_by_socket(mutual: MutualTls, name: str = "") -> int:
    """Return the code of the first result of a session.

    websockets' client with threads uses one TLS object in two of them, and may lose what it sends.
    """
    url = mutual.gateway.url.replace("https", "wss", 1) + "/v1/private/talker"
    context = mutual.tls_context(name)
    async with connect(url, ssl=context, proxy=None, open_timeout=TIMEOUT_S) as ws:
        await ws.send(json.dumps(talker_envelope()))
        code: int = json.loads(await ws.recv())["header"]["code"]
        return code


def test_socket(mutual: MutualTls) -> None:
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(call_by_socket(mutual))
    assert refused.value.response.status_code == 401
    assert asyncio.run(call_by_socket(mutual, "tests")) == 0


def infer(mutual: MutualTls, name: str = "") -> Any:
    def read(file: str) -> bytes:
        return (mutual.folder / file).read_bytes()

    pair = (read(f"{name}.key"), read(f"{name}.pem")) if name else (None, None)
    credentials = grpc.ssl_channel_credentials(read("ca.pem"), *pair)
    with grpc.secure_channel(mutual.gateway.grpc, credentials) as channel:
        call = channel.unary_unary("/ase.v1.Gateway/Infer")
        message = InferRequest(service="probe")
        message.members["text"].text = "hi"
        return call(message.SerializeToString(), timeout=TIMEOUT_S)


def test_grpc(mutual: MutualTls) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        infer(mutual)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert infer(mutual, "tests")


@pytest.mark.parametrize(
    ("service", "flags"),
    [("probe", ()), ("talker", ("--ws",)), ("talker", ("--sse",))],
    ids=["unary", "ws", "sse"],
)
def test_command_shows_a_certificate(
    mutual: MutualTls, tmp_path: Path, service: str, flags: tuple[str, ...]
) -> None:
    text, both = tmp_path / "text", tmp_path / "both.pem"
    text.write_bytes(b"hello")
    ca, cert, key = (str(mutual.folder / name) for name in ("ca.pem", "tests.pem", "tests.key"))
    both.write_bytes(Path(key).read_bytes() + Path(cert).read_bytes())
    url = mutual.gateway.url.replace("127.0.0.1", "localhost")
    command = ("call", service, *flags, "--file", str(text), "--app-id", "tests", "--url", url,
               "--ca", ca)  # fmt: skip
    assert run_asectl(*command).returncode != 0
    for own in (("--cert", cert, "--cert-key", key), ("--cert", str(both))):
        result = run_asectl(*command, *own)
        assert result.returncode == 0, result.stderr
    unusable = run_asectl(*command, "--cert", cert)
    assert unusable.returncode == 1
    assert cert in unusable.stderr


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--cert", "a.pem"), "--cert: certificates are shown over https, not http://"),
        (("--cert-key", "a.key"), "--cert-key: goes with --cert"),
    ],
)
def test_certificate_that_would_not_be_shown_is_refused(
    flags: tuple[str, ...], problem: str
) -> None:
    result = run_asectl("call", "probe", "text=hi", "--url", "http://127.0.0.1:9", *flags)
    assert result.returncode == 2
    assert problem in result.stderr


def can_connect(folder: Path, url: str, name: str) -> bool:
    """Return whether a caller with a certificate is answered."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 0)
    with (
        contextlib.suppress(OSError),  # the refusal comes after the client's part of TLS 1.3
        socket.create_connection(address, TIMEOUT_S) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        tls.sendall(GET + b"\r\n")
        return statuses_of(tls.recv(65536)) == [200]
    return False


def test_revocation_list_is_heeded_once_it_is_there(tmp_path: Path) -> None:
    for name, *signer in (["ca"], ["tls", "ca"], ["tests", "ca"], ["lost", "ca"]):
        make_certificate(tmp_path, name, *signer)
    make_revocation_list(tmp_path, "ca", "lost")
    trusted = tmp_path / "clients.pem"
    trusted.write_bytes((tmp_path / "ca.pem").read_bytes())
    (tmp_path / "ase.yaml").write_text(
        "auth: mtls\ngateway: {tls_cert: tls.pem, tls_key: tls.key, tls_ca: clients.pem}\n"
    )
    with Gateway("-c", str(tmp_path / "ase.yaml")) as gateway:
        assert can_connect(tmp_path, gateway.url, "lost")
        with trusted.open("ab") as file:
            file.write((tmp_path / "ca.crl").read_bytes())
        gateway.wait_for_event("certificate reloaded")
        assert not can_connect(tmp_path, gateway.url, "lost")
        assert can_connect(tmp_path, gateway.url, "tests")


APPS = "apps: {a: {certificates: [x]}, b: {certificates: [y, x]}}"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("auth: mtls", "mtls needs gateway.tls_ca"),
        (
            "gateway: {tls_ca: ca.pem}",
            "mtls needs gateway.tls_ca, the CA of clients, and only mtls",
        ),
        ("auth: mtls\ngateway: {tls_ca: ca.pem}", "set gateway.tls_cert"),
        (
            "auth: mtls\ngateway: {tls_cert: tls.pem, tls_key: tls.key, tls_ca: none.pem}",
            "none.pem",
        ),
        (
            "auth: mtls\ngateway: {tls_cert: tls.pem, tls_key: tls.key, tls_ca: tls.pem}\n" + APPS,
            "apps: the certificate name 'x' is that of a and of b",
        ),
    ],
)
def test_what_does_not_fit_prevents_the_start(
    certificates: Path, tmp_path: Path, config: str, problem: str
) -> None:
    for suffix in ("pem", "key"):
        (tmp_path / f"tls.{suffix}").write_bytes((certificates / f"one.{suffix}").read_bytes())
    (tmp_path / "ase.yaml").write_text(config)
    with Process("gateway", "-c", str(tmp_path / "ase.yaml")) as process:
        assert process.wait_for_exit() == 3
        assert problem in "\n".join(process.text)
