"""How a hub is reached by those who report to it and those who follow it: token and TLS."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from config.options import LbOptions
from rpc.client import Channel
from rpc.metadata import Metadata
from rpc.server import Tls


@dataclass(frozen=True, slots=True)
class HubCredentials:
    """A token, empty for none; the CA that signed the hub's certificate, empty for no TLS.

    `cert` and `key` are our own certificate, for a hub that asks for one. All are PEM files.
    """

    token: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @staticmethod
    def from_options(options: LbOptions, base_dir: Path) -> "HubCredentials":
        """Return what options say of the hubs that are followed; paths start from `base`."""
        ca, cert, key = (
            str(base_dir / path) if path else ""
            for path in (options.hub_ca, options.hub_cert, options.hub_key)
        )
        return HubCredentials(options.token, ca, cert, key)

    @property
    def metadata(self) -> Metadata:
        """Return what each call carries."""
        return (("authorization", f"Bearer {self.token}"),) if self.token else ()

    def open_channel(self, hub: str) -> Channel:
        """Return a channel to a hub. Raises OSError or ssl.SSLError for files that do not do."""
        return Channel(hub, tls=self._ssl_context() if self.ca else None)

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


def server_tls(options: LbOptions, base_dir: Path) -> Tls | None:
    """Return the certificate of the lb port, None for no TLS. Raises OSError for a file."""
    if not options.tls_cert:
        return None
    ca = (base_dir / options.tls_ca).read_bytes() if options.tls_ca else b""
    cert, key = (base_dir / path for path in (options.tls_cert, options.tls_key))
    return Tls(cert.read_bytes(), key.read_bytes(), ca)
