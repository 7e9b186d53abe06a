"""A client of supervisord's XML-RPC interface (http://supervisord.org/api.html)."""

import http.client
import socket
import xmlrpc.client
from typing import Any, Final
from urllib.parse import urlsplit
from xml.parsers.expat import ExpatError

from deploy.shimlets.interface import ShimletError

_TIMEOUT_S: Final = 10.0
# Of supervisor.xmlrpc.Faults.
BAD_NAME, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED, STILL_RUNNING = 10, 60, 70, 90, 91
CANT_REREAD: Final = 92
# A log with control characters is no XML: expat's error is of no other kind.
_FAILURES: Final = (
    OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError, ExpatError,
)  # fmt: skip


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """Connects to a host, or to the socket file `path`; never waits longer than ten seconds."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        known_host, connection = self._connection
        if connection is not None and host == known_host:
            return connection
        chost, self._extra_headers, _ = self.get_host_info(host)
        connection = (
            _UnixConnection(self._path)
            if self._path
            else http.client.HTTPConnection(chost, timeout=_TIMEOUT_S)
        )
        self._connection = host, connection
        return connection


class SupervisorFaultError(Exception):
    """supervisord refuses a call; `code` is that of its fault."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class SupervisorRpc:
    """Calls the methods of the namespace `supervisor`, in one thread at a time.

    `address` is unix:///path/supervisor.sock, or http://user:password@host:9001.
    """

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        path = url.path if url.scheme == "unix" else ""
        self._place = path or f"{url.hostname}:{url.port}"
        self._transport = _Transport(path)
        self._proxy = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2" if path else f"{address.rstrip('/')}/RPC2",
            transport=self._transport,
        )

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def call(self, method: str, *args: str | int | bool) -> Any:
        """Return the result of a method. Raises SupervisorFaultError, ShimletError."""
        try:
            return getattr(self._proxy.supervisor, method)(*args)
        except xmlrpc.client.Fault as fault:
            raise SupervisorFaultError(fault.faultCode, fault.faultString) from None
        except xmlrpc.client.ProtocolError as error:
            message = f"supervisor at {self._place}: {error.errcode} {error.errmsg}"
            raise ShimletError(message) from None
        except _FAILURES as error:
            reason = str(error) or type(error).__name__
            raise ShimletError(
                f"supervisor at {self._place} does not answer: {reason}; start supervisord, or see "
                "deployer.supervisor"
            ) from None
