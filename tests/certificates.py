"""Certificates for tests, made by openssl."""

import subprocess
from pathlib import Path


def make_certificate(
    folder: Path, name: str, *signer: str, hosts: str = "IP:127.0.0.1,DNS:localhost"
) -> None:
    """Make NAME.key and NAME.pem for the hosts, signed by SIGNER or by itself."""
    extra = [] if signer else ["-addext", "basicConstraints=critical,CA:TRUE"]
    args = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-addext", f"subjectAltName={hosts}", "-keyout",
            f"{name}.key", "-out", f"{name}.pem", *extra]  # fmt: skip
    if signer:
        args += ["-CA", f"{signer[0]}.pem", "-CAkey", f"{signer[0]}.key"]
    subprocess.run(args, cwd=folder, check=True, capture_output=True)
