"""Checks of this machine and of the config, whether or not a gateway runs."""

import datetime
import platform
import resource
import socket
import ssl
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from asectl.doctor.check_result import CheckResult, Level
from config.options import Config

_SOON_DAYS = 21


def check_machine() -> Iterator[CheckResult]:
    """Yield what is so of Python and of the packages of this machine."""
    gateway_packages = ("httptools", "jiter", "starlette", "uvicorn", "uvloop", "websockets")
    missing = [name for name in gateway_packages if find_spec(name) is None]
    text = f"athena-serving {version('athena-serving')}, Python {platform.python_version()}"
    if missing:
        cure = "pip install 'athena-serving[gateway]'"
        yield CheckResult(Level.FAILED, "packages", f"{text}, without {', '.join(missing)}", cure)
    else:
        yield CheckResult(Level.OK, "packages", text)
    spec = find_spec("gateway.unary.handler")
    if spec is not None and not str(spec.origin).endswith(".so"):
        cure = "install a compiled wheel (docs/operate.md): it serves four times the requests"
        yield CheckResult(Level.WARNING, "compiled", "the product is not compiled", cure)
    else:
        yield CheckResult(Level.OK, "compiled", "the product is compiled")


def check_limits(config: Config) -> CheckResult:
    """Return whether the gateway may open as many files as its connections need.

    It raises its limit to the hard one.
    """
    from gateway.sockets import max_connections

    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted, possible = config.gateway.max_connections, max_connections(files)
    text = f"{files} may be open, enough for {possible} connections of {wanted} that are configured"
    if possible >= wanted:
        return CheckResult(Level.OK, "open files", text)
    cure = "LimitNOFILE=65536 in a systemd unit, or a lower gateway.max_connections"
    return CheckResult(Level.WARNING, "open files", text, cure)


def check_files(config: Config, base: Path) -> Iterator[CheckResult]:
    """Yield what is so of the schemas and the certificate that the config names."""
    from asectl.api.check import find_schema_error, schema_files

    if config.schemas:
        files = [*schema_files(base / config.schemas)]
        errors = [error for file in files if (error := find_schema_error(file)) is not None]
        if errors:
            text = f"{len(errors)} of {len(files)}: {str(errors[0]).splitlines()[0]}"
            cure = f"asectl api check {base / config.schemas}"
            yield CheckResult(Level.FAILED, "schemas", text, cure)
        else:
            yield CheckResult(Level.OK, "schemas", f"{len(files)} in {config.schemas}")
    if config.gateway.tls_cert:
        cert, key = base / config.gateway.tls_cert, base / config.gateway.tls_key
        yield check_certificate(cert, key, datetime.datetime.now(datetime.UTC))


def check_certificate(cert: Path, key: Path, now: datetime.datetime) -> CheckResult:
    """Return whether a certificate fits its key, and how long it is valid."""
    subject = "certificate"
    try:
        decoded = _decode_certificate(cert, key)
    except OSError as error:
        cure = "renew it, or correct gateway.tls_cert and gateway.tls_key"
        return CheckResult(Level.FAILED, subject, f"{cert}: {error}", cure)
    end = datetime.datetime.fromtimestamp(
        ssl.cert_time_to_seconds(str(decoded["notAfter"])), datetime.UTC
    )
    days = (end - now).days
    text = f"{cert} is valid until {end:%Y-%m-%d}, {days} days"
    if days < 0:
        return CheckResult(Level.FAILED, subject, text, "renew it")
    if days < _SOON_DAYS:
        return CheckResult(Level.WARNING, subject, text, "renew it; the gateway reads the new one")
    return CheckResult(Level.OK, subject, text)


def _decode_certificate(cert: Path, key: Path) -> dict[str, Any]:
    """Return a certificate, by a handshake in memory whose client trusts it alone.

    The standard library decodes no other certificates. Raises OSError (ssl.SSLError) if the files
    cannot be read or do not fit, or the certificate has expired.
    """
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(cert, key)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client_context.load_verify_locations(cert)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert() or {}


def check_names(config: Config) -> Iterator[CheckResult]:
    """Yield whether the hubs and loaders that the config names can be found."""
    addrs = [addr for addr in config.lb.hub.split(",") if ":" in addr]
    addrs += [instance.addr for instance in config.instances]
    for addr in dict.fromkeys(addrs):
        host = addr.rpartition(":")[0].strip("[]")
        try:
            addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            cure = "correct the name, or the DNS of this machine"
            yield CheckResult(Level.FAILED, "names", f"{host}: {error.strerror or error}", cure)
        else:
            yield CheckResult(Level.OK, "names", f"{host} is {addresses[0][4][0]}")
