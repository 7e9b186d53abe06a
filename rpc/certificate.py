"""The certificate of a server in PEM files, read again when they change."""

import ssl
from pathlib import Path


class CertificateFiles:
    """Files of a certificate, its key, and the CA of clients, which a rotation replaces.

    `_fingerprint` holds modification time (ns) and size of each file at the last `take_change`.
    """

    def __init__(self, cert: Path, key: Path, ca: Path | None = None) -> None:
        self._cert = cert
        self._key = key
        self._ca = ca
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

        With a CA, clients must present a certificate signed by it.

        Raises OSError, with the names of the files, if one cannot be read, is no PEM file, or if
        the key is not that of the certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._cert, self._key)
            if self._ca is not None:
                context.load_verify_locations(self._ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError too
            ca = f" and CA {self._ca}" if self._ca is not None else ""
            raise OSError(f"{self}{ca}: {error}") from None
        return context
