"""Pages of other origins that may read answers (CORS, https://fetch.spec.whatwg.org/#cors-protocol).

Starlette's middleware answers preflights and adds the header lines of responses that Starlette
serves; `CorsPolicy` gives the same lines to responses of the fast path.
"""

from typing import Any, Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from config.options import GatewayOptions
from gateway.request.origin import normal_origin

_METHODS: Final = ("GET", "POST", "OPTIONS")
_EXPOSED_HEADERS: Final = (
    "Retry-After", "RateLimit", "X-Ase-Request-Id", "X-Ase-Overhead-Ms", "X-Ase-Upstream-Ms",
)  # fmt: skip


class CorsPolicy:
    """Which origins may read answers, by `session.origins` and the options of the gateway.

    Any origin together with credentials is refused before, at the start.
    """

    __slots__ = ("_any_origin", "_common_lines", "_credentials", "_options", "_origins")

    def __init__(self, origins: list[str], options: GatewayOptions) -> None:
        self._origins = frozenset(normal_origin(origin).encode() for origin in origins)
        self._any_origin = "*" in origins
        self._credentials = options.cors_credentials
        self._options = options
        lines = [f"access-control-expose-headers: {', '.join(_EXPOSED_HEADERS)}"]
        if self._any_origin:
            lines.insert(0, "access-control-allow-origin: *")
        elif self._credentials:
            lines.insert(0, "access-control-allow-credentials: true")
        self._common_lines = "".join(f"{line}\r\n" for line in lines).encode()

    def lines(self, origin: bytes | None) -> bytes:
        """Return the header lines of a response to a request with this Origin, or with none."""
        if not self._origins:
            return b""
        if origin is None:
            return b"vary: Origin\r\n"
        is_named = not self._any_origin and origin in self._origins
        own_line = b"access-control-allow-origin: %b\r\n" % origin if is_named else b""
        return b"%b%bvary: Origin\r\n" % (self._common_lines, own_line)

    def middleware(self) -> list[Middleware]:
        """Return Starlette's middleware with the same rules; none if no origin is allowed."""
        if not self._origins:
            return []
        arguments: dict[str, Any] = {
            "allow_origins": [origin.decode() for origin in self._origins],
            "allow_methods": _METHODS,
            "allow_headers": self._options.cors_headers,
            "allow_credentials": self._credentials,
            "expose_headers": _EXPOSED_HEADERS,
            "max_age": self._options.cors_max_age,
        }
        return [Middleware(CORSMiddleware, **arguments)]
