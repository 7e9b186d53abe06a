"""Certificates for tests, made by openssl."""

import subprocess
from pathlib import Path


def make_certificate(
    folder: Path, name: str, *signer: str, hosts: str = "IP:127.0.0.1,DNS:localhost"
) -> None:
    """Make NAME.key and NAME.pem for the hosts, signed by SIGNER or by itself."""
    extra = [] if signer else ["-addext", "basicConstraints=critical,CA:TRUE"]
    args = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={hosts}",
            "-keyout", f"{name}.key", "-out", f"{name}.pem", *extra]  # fmt: skip
    if signer:
        args += ["-CA", f"{signer[0]}.pem", "-CAkey", f"{signer[0]}.key"]
    subprocess.run(args, cwd=folder, check=True, capture_output=True)


def make_revocation_list(folder: Path, signer: str, revoked: str) -> None:
    """Make SIGNER.crl, in which SIGNER says that the certificate REVOKED is not valid any more."""
    (folder / "index.txt").write_text("")
    (folder / "crlnumber").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = own\n[own]\ndatabase = index.txt\ncrlnumber = crlnumber\n"
        "default_md = sha256\ndefault_crl_days = 2\n"
    )
    ca = ["openssl", "ca", "-config", "ca.cnf", "-cert", f"{signer}.pem", "-keyfile",
          f"{signer}.key"]  # fmt: skip
    for args in (["-revoke", f"{revoked}.pem"], ["-gencrl", "-out", f"{signer}.crl"]):
        subprocess.run([*ca, *args], cwd=folder, check=True, capture_output=True)
