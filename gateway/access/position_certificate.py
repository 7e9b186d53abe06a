"""Certificates with which an application calls one position for a while. Pure; the clock is passed.

A certificate is what MITLab's platform calls one: 64 hexadecimal digits of a MAC (HMAC-SHA-256,
RFC 2104), and the Unix time at which it ends. The MAC is by what the gateway keeps of the API key
that it was issued for: all gateways of a store verify it, it ends with the key, and whoever has it
has not the key. It is sent in the Authorization header, with the names that it is about:

    Certificate app="battery", client="uav-1", position="north", key="k2epldaubg", value="9f...1796"
"""

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from gateway.access.identity import ANONYMOUS
from gateway.access.key_table import StoredKey

SCHEME: Final = "certificate"
_MAC_CHARS: Final = 64
_MAX_TEXT: Final = 1024
# Printable ASCII without quotes and backslashes: what a quoted text may be without escapes.
_NAME: Final = re.compile(r"[ !#-\[\]-~]{1,128}")
_PARAMETER: Final = re.compile(r'\s*([a-z]+)="([^"\\]*)"\s*(?:,|\Z)')
_VALUE: Final = re.compile(r"[0-9a-f]{64}[0-9]{1,12}")
_UNKNOWN: Final = StoredKey(ANONYMOUS, key_hash=bytes(32))
_MEMBERS: Final = ("app", "client", "position", "key", "value")


class InvalidCertificateError(Exception):
    """A certificate that is none, or is not accepted; `str()` says why, and never contains it."""


@dataclass(frozen=True, slots=True)
class PositionCertificate:
    """What a certificate says: `client` of the application `app` may call `position` until then.

    `key_id` names the API key that it was issued for. `mac` are hexadecimal digits.
    """

    app: str
    client: str
    position: str
    key_id: str
    expires_at: int
    mac: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the certificate of an Authorization field, without its scheme.

        Raises InvalidCertificateError.
        """
        members: dict[str, str] = {}
        end = 0
        while end < len(text) <= _MAX_TEXT:
            match = _PARAMETER.match(text, end)
            if match is None or match[1] in members:
                break
            members[match[1]], end = match[2], match.end()
        if end != len(text) or sorted(members) != sorted(_MEMBERS):
            raise InvalidCertificateError(
                f'it must have {", ".join(_MEMBERS)}, each as name="text"'
            )
        value = members["value"]
        if not _VALUE.fullmatch(value):
            raise InvalidCertificateError("its value must be 64 hexadecimal digits and a Unix time")
        return cls(
            members["app"],
            members["client"],
            members["position"],
            members["key"],
            int(value[_MAC_CHARS:]),
            value[:_MAC_CHARS],
        )

    @property
    def value(self) -> str:
        """The MAC and the time at which it ends, as a client gets them."""
        return f"{self.mac}{self.expires_at}"


def sign(certificate: PositionCertificate, stored: StoredKey) -> str:
    """Return the MAC of a certificate by a stored API key, 64 hexadecimal digits.

    Raises InvalidCertificateError for a name that cannot be sent in a header.
    """
    names = (certificate.app, certificate.client, certificate.position)
    for member, name in zip(_MEMBERS, names, strict=False):
        if not _NAME.fullmatch(name):
            message = f"{member}: must be 1 to 128 printable ASCII characters, no quotes"
            raise InvalidCertificateError(message)
    lines = ("ase-certificate-1", certificate.key_id, *names, str(certificate.expires_at))
    return hmac.new(stored.key_hash, "\n".join(lines).encode(), sha256).hexdigest()


def verify(certificate: PositionCertificate, stored: StoredKey | None, now: float) -> None:
    """Raise InvalidCertificateError unless the key of a certificate has signed it and it is valid.

    The comparison takes as long for a key that is not known as for one that is.
    """
    if stored is not None and not stored.key_hash:
        stored = None  # a pair: whoever has its secret could sign
    mac = sign(certificate, stored or _UNKNOWN)
    if not hmac.compare_digest(mac, certificate.mac) or stored is None:
        raise InvalidCertificateError("it is of other names, or of a key that is not known")
    problem = stored.problem(now)
    if problem:
        raise InvalidCertificateError(f"its key: {problem}")
    if now >= certificate.expires_at:
        raise InvalidCertificateError("it has expired; ask for another one at /certificate")
