"""The certificate of a TLS client, which the handshake has verified. Pure."""

from collections.abc import Mapping
from typing import Any, Final

# The kinds of names, each with its type in a subjectAltName (RFC 5280, 4.2.1.6), as `ssl` says it.
_ALTERNATIVE_NAMES: Final = {"dns": "DNS", "uri": "URI", "email": "email"}
COMMON_NAME: Final = "common-name"
NAME_KINDS: Final = (COMMON_NAME, *_ALTERNATIVE_NAMES)


class ClientCertificate:
    """The names in a certificate, and when it ends.

    `decoded` is as `ssl.SSLSocket.getpeercert` returns it. `serial` is in hexadecimal digits,
    `not_after` in seconds of Unix time.
    """

    __slots__ = ("_names", "not_after", "serial")

    def __init__(self, decoded: Mapping[str, Any], not_after: float) -> None:
        self.not_after = not_after
        self.serial = str(decoded.get("serialNumber", "")).lower()
        subject = [pair for names in decoded.get("subject", ()) for pair in names]
        alternative_names = decoded.get("subjectAltName", ())
        self._names = {
            kind: _values(alternative_names, name_type)
            for kind, name_type in _ALTERNATIVE_NAMES.items()
        }
        self._names[COMMON_NAME] = _values(subject, "commonName")

    def names(self, kind: str) -> tuple[str, ...]:
        """Return its names of one of `NAME_KINDS`, in its order."""
        return self._names[kind]


def _values(pairs: Any, key: str) -> tuple[str, ...]:
    return tuple(value for name, value in pairs if name == key)
