"""Credentials and TLS of the connections between a hub and its loaders and gateways."""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config.options import LbOptions
from rpc.certificate import CertificateFiles
from rpc.client import Channel
from rpc.metadata import Metadata

_logger = logging.getLogger("ase.lb")


@dataclass(frozen=True, slots=True)
class HubCredentials:
    """Bearer token and TLS files of a client of a hub.

    `token` is empty if none is sent. `ca` is the CA that signed the hub's certificate; if it is
    empty, the client does not use TLS. `cert` and `key` are the client certificate and its key, for
    a hub that requires one. All three are paths of PEM files.
    """

    token: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @staticmethod
    def from_options(options: LbOptions, base_dir: Path) -> "HubCredentials":
        """Return the credentials of `options`, with file paths relative to `base_dir`."""
        ca, cert, key = (
            str(base_dir / path) if path else ""
            for path in (options.hub_ca, options.hub_cert, options.hub_key)
        )
        return HubCredentials(options.token, ca, cert, key)

    @property
    def metadata(self) -> Metadata:
        """Return the metadata of every call to the hub."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def open_channel(self, hub: str) -> Channel:
        """Return a channel to the hub at `hub` (host:port).

        Raises OSError or ssl.SSLError if a certificate file is missing or invalid.
        """
        return Channel(hub, tls=self._ssl_context() if self.ca else None)

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


# Of hubs that ask for none, and do not speak TLS.
NO_CREDENTIALS: Final = HubCredentials()


class ServerCertificate:
    """The certificate of the lb port, read again when its files change.

    Creating it raises OSError if the files do not fit. Later that is logged, and the last good one
    is served. `_context` is its TLS context.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._context = _http2_context(files)

    @property
    def context(self) -> ssl.SSLContext:
        """Return the TLS context for the next handshake."""
        if self._files.take_change():
            try:
                self._context = _http2_context(self._files)
            except OSError as error:
                message = "certificate refused; the old one is served"
                _logger.error(message, extra={"reason": str(error)})  # noqa: TRY400
            else:
                _logger.info("certificate reloaded", extra={"files": str(self._files)})
        return self._context


def _http2_context(files: CertificateFiles) -> ssl.SSLContext:
    context = files.server_context()
    context.set_alpn_protocols(["h2"])
    return context


def server_certificate(options: LbOptions, base_dir: Path) -> ServerCertificate | None:
    """Return the certificate of the lb port, None if none is configured.

    Raises OSError if a file cannot be read, or if the key is not that of the certificate.
    """
    if not options.tls_cert:
        return None
    cert, key = (base_dir / path for path in (options.tls_cert, options.tls_key))
    ca = base_dir / options.tls_ca if options.tls_ca else None
    return ServerCertificate(CertificateFiles(cert, key, ca))
