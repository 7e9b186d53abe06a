"""How a hub is reached by those who report to it and those who follow it: token and TLS."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from config.options import LbOptions
from rpc.client import Channel
from rpc.metadata import Metadata
from rpc.server import Tls


@dataclass(frozen=True, slots=True)
class Access:
    """A token, empty for none; the CA that signed the hub's certificate, empty for no TLS.

    `cert` and `key` are our own certificate, for a hub that asks for one. All are PEM files.
    """

    token: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @staticmethod
    def of(options: LbOptions, base: Path) -> "Access":
        """Return what options say of the hubs that are followed; paths start from `base`."""
        ca, cert, key = (
            str(base / told) if told else ""
            for told in (options.hub_ca, options.hub_cert, options.hub_key)
        )
        return Access(options.token, ca, cert, key)

    @property
    def metadata(self) -> Metadata:
        """Return what each call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def channel(self, hub: str) -> Channel:
        """Return a channel to a hub. Raises OSError or ssl.SSLError for files that do not do."""
        return Channel(hub, tls=self._context() if self.ca else None)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def server_tls(options: LbOptions, base: Path) -> Tls | None:
    """Return the certificate of the lb port, None for no TLS. Raises OSError for a file."""
    if not options.tls_cert:
        return None
    ca = (base / options.tls_ca).read_bytes() if options.tls_ca else b""
    cert, key = (base / told for told in (options.tls_cert, options.tls_key))
    return Tls(cert.read_bytes(), key.read_bytes(), ca)
