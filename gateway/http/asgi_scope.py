"""The ASGI scope of a request whose head is validated. Pure: no I/O, no clock.

Source: ASGI, "HTTP & WebSocket ASGI Message Format".
"""

from collections.abc import Mapping
from typing import Any, Final

from gateway.access.caller_head import CallerHead
from gateway.access.peer import Peer

# Of the scope: the other end of the connection. Its certificate is not part of ASGI's `client`.
PEER_KEY: Final = "ase.peer"


def asgi_scope(
    method: bytes,
    path: str,
    query: bytes,
    *,
    version: str,
    raw_path: bytes,
    headers: list[tuple[bytes, bytes]],
    client: tuple[str, int] | None,
    peer: Peer,
    server: tuple[str, int | None] | None,
    scheme: str,
    state: dict[str, Any],
) -> Any:
    """Return the ASGI scope; `path` is canonical and decoded, `headers` have lower-case names."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": version,
        "server": server,
        "client": client,
        "scheme": scheme,
        "root_path": "",
        "method": method.decode("ascii"),
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "state": state,
        PEER_KEY: peer,
    }


def caller_head(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> CallerHead:
    """Return what says who calls; `headers` are those of the scope, combined."""
    path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
    return CallerHead(scope["method"], path, query, headers, scope[PEER_KEY])
