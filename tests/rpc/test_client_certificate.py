"""The names of a certificate, as `ssl` decodes it."""

import calendar
import ssl
from pathlib import Path

import pytest

from rpc.certificate import verified_certificate
from rpc.client_certificate import NAME_KINDS, ClientCertificate
from tests.certificates import make_certificate

DECODED = {
    "subject": ((("organizationName", "Acme"),), (("commonName", "shop"), ("commonName", "two"))),
    "serialNumber": "0AFF",
    "notAfter": "Nov 30 12:00:00 2030 GMT",
    "subjectAltName": (
        ("URI", "spiffe://acme/shop"), ("DNS", "shop.internal"), ("DNS", "other.internal"),
        ("email", "shop@acme.example"), ("IP Address", "10.0.0.7"),
    ),
}  # fmt: skip


def test_names_by_kind() -> None:
    certificate = verified_certificate(DECODED)
    assert certificate is not None
    assert {kind: certificate.names(kind) for kind in NAME_KINDS} == {
        "common-name": ("shop", "two"),
        "dns": ("shop.internal", "other.internal"),
        "uri": ("spiffe://acme/shop",),
        "email": ("shop@acme.example",),
    }
    assert certificate.serial == "0aff"
    assert certificate.not_after == calendar.timegm((2030, 11, 30, 12, 0, 0))


def test_certificate_without_names() -> None:
    certificate = ClientCertificate({}, 0.0)
    assert [certificate.names(kind) for kind in NAME_KINDS] == [()] * 4


@pytest.mark.parametrize("decoded", [None, {}])
def test_connection_without_a_certificate(decoded: dict[str, str] | None) -> None:
    assert verified_certificate(decoded) is None


@pytest.mark.peer("openssl")
def test_certificate_as_a_server_sees_it(tmp_path: Path) -> None:
    make_certificate(tmp_path, "ca")
    make_certificate(tmp_path, "shop", "ca", hosts="URI:spiffe://acme/shop,email:a@b.example")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "ca.key")
    server_context.load_verify_locations(tmp_path / "ca.pem")
    server_context.verify_mode = ssl.CERT_REQUIRED
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname, client_context.verify_mode = False, ssl.CERT_NONE
    client_context.load_cert_chain(tmp_path / "shop.pem", tmp_path / "shop.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = verified_certificate(server.getpeercert())
    assert certificate is not None
    assert certificate.names("common-name") == ("shop",)
    assert certificate.names("uri") == ("spiffe://acme/shop",)
    assert certificate.names("email") == ("a@b.example",)
