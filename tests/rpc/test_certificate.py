"""Certificates in files: what changes is noticed, and what does not fit is refused by name."""

import os
import ssl
from pathlib import Path

import pytest

from rpc.certificate import CertificateFiles

pytestmark = pytest.mark.peer("openssl")


def test_clients_need_a_certificate_if_there_is_a_ca(certificates: Path) -> None:
    cert, key = certificates / "one.pem", certificates / "one.key"
    assert CertificateFiles(cert, key).server_context().verify_mode is ssl.CERT_NONE
    with_ca = CertificateFiles(cert, key, certificates / "two.pem").server_context()
    assert with_ca.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("cert", "key", "ca"),
    [
        ("one.pem", "two.key", None),
        ("none.pem", "one.key", None),
        ("one.pem", "none.key", None),
        ("one.key", "one.key", None),
        ("one.pem", "one.key", "none.pem"),
        ("one.pem", "one.key", "one.key"),
    ],
)
def test_files_that_do_not_fit_are_named(
    certificates: Path, cert: str, key: str, ca: str | None
) -> None:
    files = CertificateFiles(
        certificates / cert, certificates / key, certificates / ca if ca else None
    )
    with pytest.raises(OSError, match=f"{cert} with .*{key}"):
        files.server_context()


def test_change_is_returned_once(certificates: Path, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("cert.pem", "cert.key", "ca.pem")]
    files = CertificateFiles(*paths)
    assert not files.take_change()
    for path in paths:
        path.write_bytes((certificates / "one.pem").read_bytes())
        assert files.take_change()
        assert not files.take_change()
    os.utime(paths[2], ns=(1, 1))
    assert files.take_change()
    paths[0].unlink()
    assert files.take_change()
