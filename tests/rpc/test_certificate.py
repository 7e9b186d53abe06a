"""Certificates in files: what changes is noticed, and what does not fit is refused by name."""

import os
from pathlib import Path

import pytest

from rpc.certificate import CertificateFiles, Tls

pytestmark = pytest.mark.peer("openssl")


def test_contents_are_read(certificates: Path) -> None:
    cert, key = certificates / "one.pem", certificates / "one.key"
    assert CertificateFiles(cert, key).read() == Tls(cert.read_bytes(), key.read_bytes())
    ca = certificates / "two.pem"
    with_ca = CertificateFiles(cert, key, ca).read()
    assert with_ca == Tls(cert.read_bytes(), key.read_bytes(), ca.read_bytes())


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
    for read in (files.read, files.server_context):
        with pytest.raises(OSError, match=f"{cert} with .*{key}"):
            read()


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
