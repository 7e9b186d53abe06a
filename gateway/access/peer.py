"""The other end of a connection, as far as it says who calls. Values only."""

from rpc.client_certificate import ClientCertificate


class Peer:
    """The address that a connection comes from, and the certificate that it has proved to own.

    `ip` may be the address of a proxy; it is "" for a Unix socket. `certificate` is None without
    one.
    """

    __slots__ = ("certificate", "ip")

    def __init__(self, ip: str, certificate: ClientCertificate | None = None) -> None:
        self.ip = ip
        self.certificate = certificate
