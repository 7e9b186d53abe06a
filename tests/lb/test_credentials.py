"""The certificate of the lb port, as the port asks for it in each handshake."""

import logging
import ssl
from pathlib import Path

import pytest

from config.options import LbOptions
from lb.credentials import server_certificate
from tests.certificates import make_certificate


def test_without_a_certificate_the_port_has_no_tls(tmp_path: Path) -> None:
    assert server_certificate(LbOptions(), tmp_path) is None


@pytest.mark.peer("openssl")
def test_context_is_replaced_after_a_change_that_fits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("one", "two"):
        make_certificate(tmp_path, name)
    cert, key = tmp_path / "cert.pem", tmp_path / "cert.key"
    cert.write_bytes((tmp_path / "one.pem").read_bytes())
    key.write_bytes((tmp_path / "one.key").read_bytes())
    options = LbOptions(tls_cert="cert.pem", tls_key="cert.key", tls_ca="one.pem")
    certificate = server_certificate(options, tmp_path)
    assert certificate is not None
    first = certificate.context
    assert first.verify_mode is ssl.CERT_REQUIRED
    assert certificate.context is first
    with caplog.at_level(logging.INFO, "ase.lb"):
        cert.write_bytes((tmp_path / "two.pem").read_bytes())
        assert certificate.context is first, "the key is that of the other one"
        key.write_bytes((tmp_path / "two.key").read_bytes())
        assert certificate.context is not first
    assert [record.getMessage() for record in caplog.records] == [
        "certificate refused; the old one is served",
        "certificate reloaded",
    ]
