"""Certificates: those of a server, in PEM files that may change, and those of its clients."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rpc.client_certificate import ClientCertificate

_CRL_HEADER: Final = "-----BEGIN X509 CRL-----"


def verified_certificate(decoded: Mapping[str, Any] | None) -> ClientCertificate | None:
    """Return the certificate of a connection's other end, None without one.

    `decoded` is as `ssl.SSLSocket.getpeercert` returns it.
    """
    if not decoded:
        return None
    return ClientCertificate(decoded, ssl.cert_time_to_seconds(decoded["notAfter"]))


class CertificateFiles:
    """Files of a certificate, its key, and the CA of clients, which a rotation replaces.

    With `needs_client` a client without a certificate of the CA cannot connect; else it can, but
    not with one that is invalid. `_fingerprint` holds modification time (ns) and size of each file
    at the last `take_change`.
    """

    def __init__(
        self, cert: Path, key: Path, ca: Path | None = None, *, needs_client: bool = True
    ) -> None:
        self._cert = cert
        self._key = key
        self._ca = ca
        self._needs_client = needs_client
        self._fingerprint: list[tuple[int, int]] = []
        self.take_change()

    def __str__(self) -> str:
        return f"{self._cert} with {self._key}"

    def take_change(self) -> bool:
        """Return whether a file has changed since the last call, or since the creation."""
        fingerprint = []
        for path in (self._cert, self._key, self._ca):
            try:
                stat = path.stat() if path is not None else None
            except OSError:
                stat = None
            fingerprint.append((stat.st_mtime_ns, stat.st_size) if stat is not None else (0, 0))
        has_changed, self._fingerprint = fingerprint != self._fingerprint, fingerprint
        return has_changed

    def server_context(self) -> ssl.SSLContext:
        """Return a TLS context for a server.

        With a CA, certificates of clients must be signed by it. If its file has a revocation list
        (CRL) too, those in the list are refused, and without a valid list every certificate.

        Raises OSError, with the names of the files, if one cannot be read, is no PEM file, or if
        the key is not that of the certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._cert, self._key)
            if self._ca is not None:
                context.load_verify_locations(self._ca)
                if _CRL_HEADER in self._ca.read_text("latin-1"):
                    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
                context.verify_mode = ssl.CERT_REQUIRED if self._needs_client else ssl.CERT_OPTIONAL
        except OSError as error:  # ssl.SSLError too
            ca = f" and CA {self._ca}" if self._ca is not None else ""
            raise OSError(f"{self}{ca}: {error}") from None
        return context
