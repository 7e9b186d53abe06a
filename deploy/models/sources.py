"""Which URLs models may be pulled from. Pure.

A deployer reaches hosts that those who deploy do not, such as the metadata of a cloud: it pulls
from nowhere but what its operator has named.
"""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

_PORTS = {"http": 80, "https": 443}


def find_problem(url: str, sources: Sequence[str]) -> str:
    """Return why a model may not be pulled from a URL; "" if it may."""
    origin = _origin(url)
    if origin is None:
        return f"{url}: must be an http or https URL without a user, as https://models.example/a.pt"
    path = unquote(urlsplit(url).path)
    if ".." in path.split("/") or not path.isprintable():
        return f"{url}: must not have '..' or control characters in its path"
    for source in sources:
        folder = unquote(urlsplit(source).path).rstrip("/")
        if _origin(source) == origin and (path == folder or path.startswith(folder + "/")):
            return ""
    return f"{url}: is not below one of deployer.model_sources ({', '.join(sources) or 'none'})"


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL; None for what models cannot be pulled from."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    has_control = any(not char.isprintable() or char.isspace() for char in url)
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or has_control:
        return None
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def same_origin(url: str, other: str) -> bool:
    """Return whether two URLs are of one server, which may see the same token."""
    return _origin(url) == _origin(other) is not None
