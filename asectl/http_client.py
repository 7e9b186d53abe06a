"""The HTTP requests of the commands: to one server, never by a proxy, with a CA of one's own."""

import argparse
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from asectl.main import EXIT_USAGE, Failure

KEY_VARIABLE = "ASE_API_KEY"
TOKEN_VARIABLE = "ASE_ADMIN_TOKEN"  # noqa: S105 (its name)
DEFAULT_URL = "http://127.0.0.1:8200"
_TIMEOUT_S = 5.0  # to connect, and for each piece of a response


def add_url_arguments(
    parser: argparse.ArgumentParser, url_help: str = "the gateway", default: str = DEFAULT_URL
) -> None:
    """Declare `--url` and `--ca`."""
    parser.add_argument("--url", default=default, help=f"{url_help} ({default})")
    add_ca_argument(parser)


def add_ca_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--ca` alone, for a command with a `--url` of its own."""
    parser.add_argument(
        "--ca",
        metavar="FILE",
        default="",
        help="certificates (PEM) to trust for https; else SSL_CERT_FILE, else the system's",
    )


def add_key_argument(parser: argparse.ArgumentParser) -> None:
    """Declare how a caller proves who it is: `--key-file`, `--cert` and `--cert-key`.

    A key itself as a flag would be in the list of processes.
    """
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        default="",
        help=f"a file with the API key of asectl key create; else {KEY_VARIABLE}",
    )

    parser.add_argument(
        "--cert",
        metavar="FILE",
        default="",
        help="our certificate (PEM), for a gateway with auth: mtls; may have its key too",
    )
    parser.add_argument(
        "--cert-key", metavar="FILE", default="", help="the key (PEM) of the certificate"
    )


def add_token_argument(parser: argparse.ArgumentParser) -> None:
    """Declare `--token-file`, for a command that asks an admin port."""
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default="",
        help=f"a file with the token of the admin port (admin_token); else {TOKEN_VARIABLE}",
    )


def _read_bearer(args: argparse.Namespace) -> str:
    """Return the API key or the token of a command that takes one; "" without. Raises Failure."""
    for flag, variable in (("key_file", KEY_VARIABLE), ("token_file", TOKEN_VARIABLE)):
        path = getattr(args, flag, None)
        if path is not None:
            return _read_secret(path, variable, f"--{flag.replace('_', '-')}")
    return ""


def _read_secret(path: str, variable: str, flag: str) -> str:
    try:
        secret = Path(path).read_text("utf-8") if path else os.environ.get(variable, "")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{flag}: {error}", EXIT_USAGE) from None
    secret = secret.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise Failure(f"{flag if path else variable}: it has characters that none has", EXIT_USAGE)
    return secret


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """The server that a command asks: its URL, and the file of `--ca` or "".

    `bearer` is the API key or token that every request has, "" for none. `cert` and `cert_key` are
    files of our certificate and its key, or "".

    `verify` is False for a server of this host that is asked by its loopback address, which its
    certificate does not name. Proxies of the environment are never used. Every method raises
    OSError with the name of the file of `--ca` or SSL_CERT_FILE if it cannot be read or has no
    certificate.
    """

    url: str
    ca: str = ""
    verify: bool = True
    bearer: str = ""
    cert: str = ""
    cert_key: str = ""

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Self:
        """Return the target of the flags of `add_url_arguments` and `add_key_argument`.

        Raises Failure if a file with a key cannot be read, or for a certificate without https.
        """
        cert, cert_key = getattr(args, "cert", ""), getattr(args, "cert_key", "")
        if cert_key and not cert:
            raise Failure("--cert-key: goes with --cert", EXIT_USAGE)
        if cert and not args.url.startswith("https:"):
            raise Failure(f"--cert: certificates are shown over https, not {args.url}", EXIT_USAGE)
        return cls(
            args.url.rstrip("/"),
            args.ca,
            bearer=_read_bearer(args),
            cert=cert,
            cert_key=cert_key,
        )

    def headers(self) -> dict[str, str]:
        """Return the headers that every request has."""
        return {"authorization": f"Bearer {self.bearer}"} if self.bearer else {}

    def tls_context(self) -> ssl.SSLContext | None:
        """Return the context for connections to an https URL, None for http."""
        if not self.url.startswith("https:"):
            return None
        if not self.verify:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            return context
        ca = self.ca or os.environ.get("SSL_CERT_FILE") or None
        file = ca
        try:
            context = ssl.create_default_context(cafile=ca)
            if self.cert:
                file = self.cert
                context.load_cert_chain(self.cert, self.cert_key or None)
        except OSError as error:  # ssl.SSLError, if the file has no certificate or no key
            raise OSError(error.errno, error.strerror or "no certificate (PEM)", file) from error
        return context

    def client(self, timeout: float = _TIMEOUT_S) -> httpx.Client:
        """Return a client whose paths are relative to the URL; `timeout` is in seconds."""
        verify = self.tls_context() or True
        return httpx.Client(
            base_url=self.url,
            headers=self.headers(),
            timeout=timeout,
            trust_env=False,
            verify=verify,
        )

    def get(self, path: str, timeout: float = _TIMEOUT_S) -> httpx.Response:
        """Return the response to a GET. Raises httpx.HTTPError or httpx.InvalidURL."""
        with self.client(timeout) as client:
            return client.get(path)
