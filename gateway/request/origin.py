"""Which web pages may use the gateway from a browser without a preflight. Pure.

A page can open WebSockets and request events by GET at any host. The browser names the page's
origin, which the gateway checks.
"""

from collections.abc import Mapping
from typing import Final

from gateway.request.response import HttpError

_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def check_origin(headers: Mapping[bytes, bytes], allowed: list[str]) -> None:
    """Reject the request of a web page whose origin is not allowed. Raises HttpError 403.

    The gateway's own host is allowed, by the name that a proxy received too: a page cannot set
    X-Forwarded-Host. So are the origins in `allowed`, and any origin if `*` is in it. A request
    without Origin is accepted: it does not come from a browser (RFC 6455, 4.1).
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin or "*" in allowed:
        return
    forwarded_host = headers.get(b"x-forwarded-host", b"").split(b",")[0].strip()
    own_hosts = [headers.get(b"host", b""), forwarded_host]
    own_origins = [
        f"{scheme}://{host.decode('latin-1')}" for host in own_hosts for scheme in _DEFAULT_PORTS
    ]
    if normal_origin(origin) not in map(normal_origin, [*own_origins, *allowed]):
        cure = "is not one of session.origins"
        raise HttpError(403, f"origin {origin[:128]} {cure}", log_message=f"origin {cure}")


def normal_origin(origin: str) -> str:
    """Return an origin in lower case, without the default port of its scheme (RFC 6454, 6.2)."""
    origin = origin.lower()
    default_port = _DEFAULT_PORTS.get(origin.partition("://")[0])
    return origin.removesuffix(default_port) if default_port else origin


def check_fetch_site(headers: Mapping[bytes, bytes], allowed: list[str]) -> None:
    """Reject a request of a page of another site without Origin, such as that of an image.

    It is accepted if `*` is in `allowed`. Raises HttpError 403. Source: W3C Fetch Metadata,
    "Sec-Fetch-Site".
    """
    if "*" in allowed or b"origin" in headers:
        return
    if headers.get(b"sec-fetch-site") == b"cross-site":
        raise HttpError(403, "a page of another site must request events by EventSource or fetch")
