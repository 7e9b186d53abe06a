"""How callers prove who they are, as OpenAPI describes it. Pure.

Source: OpenAPI 3.1, Security Scheme Object and Security Requirement Object.
"""

from collections.abc import Iterable, Mapping
from typing import Final

# By method of `auth`. A trusted proxy adds what it says itself: clients know nothing of it.
_SCHEMES: Final[Mapping[str, Mapping[str, str]]] = {
    "key": {
        "type": "http", "scheme": "bearer", "bearerFormat": "ase_...",
        "description": "an API key (asectl key create)",
    },
    "jwt": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "a token of the identity provider",
    },
    "hmac": {
        "type": "http", "scheme": "hmac",
        "description": "a signature (asectl sign), in headers or in the query",
    },
    "certificate": {
        "type": "http", "scheme": "certificate",
        "description": "a certificate of a position (POST /certificate, aseclient)",
    },
    "mtls": {"type": "mutualTLS", "description": "a client certificate"},
}  # fmt: skip


def security_schemes(methods: Iterable[str]) -> dict[str, Mapping[str, str]]:
    """Return the schemes of the methods of `auth`, by method."""
    return {method: _SCHEMES[method] for method in methods if method in _SCHEMES}


def security_requirements(methods: Iterable[str]) -> list[dict[str, list[str]]]:
    """Return what an operation requires: one of the schemes, or nothing if anyone may call."""
    allowed = set(methods)
    requirements: list[dict[str, list[str]]] = [{name: []} for name in security_schemes(methods)]
    is_open = not allowed or "none" in allowed or "proxy" in allowed
    return [*requirements, {}] if requirements and is_open else requirements


def takes_bearer(methods: Iterable[str]) -> bool:
    """Return whether a caller has to send a key or a token, so that examples should show one."""
    return bool({"key", "jwt"} & set(methods)) and {} not in security_requirements(methods)
