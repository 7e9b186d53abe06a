"""API keys: their text, their checksum and their hash. Pure; randomness is passed in.

A key is `ase_`, 36 random characters of base 62 (214 bits) and a checksum of 6 characters: the
CRC-32 of what precedes it in base 62. Scanners of source code find leaked keys by the prefix and
the checksum, as they find those of GitHub
(https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
"""

import hmac
import string
import zlib
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

PREFIX: Final = "ase_"
_SECRET_CHARS: Final = 36
_CHECKSUM_CHARS: Final = 6
_BASE62: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_KEY_CHARS: Final = len(PREFIX) + _SECRET_CHARS + _CHECKSUM_CHARS
_KEY_ID_CHARS: Final = 10
HASH_KEY_BYTES: Final = 32


def new_key(choose: Callable[[str], str]) -> str:
    """Return a new key; `choose` returns a random character of a text."""
    text = PREFIX + "".join(choose(_BASE62) for _ in range(_SECRET_CHARS))
    return text + _checksum(text)


def new_key_id(choose: Callable[[str], str]) -> str:
    """Return a new id of a key: it names the key in lists and logs, and tells nothing of it."""
    return "k" + "".join(choose(string.ascii_lowercase + string.digits[2:]) for _ in range(9))


def format_problem(key: str) -> str:
    """Return why a text is no key, without showing it; "" if it may be one."""
    if not key.startswith(PREFIX):
        return f"it does not begin with {PREFIX}"
    if len(key) != _KEY_CHARS:
        return f"it has {len(key)} characters and not {_KEY_CHARS}: is it cut?"
    if not hmac.compare_digest(_checksum(key[:-_CHECKSUM_CHARS]).encode(), key[-6:].encode()):
        return "its checksum is wrong: is a character mistyped?"
    return ""


def key_hash(key: str, hash_key: bytes) -> bytes:
    """Return the keyed hash under which a key is stored (BLAKE2b, RFC 7693, 32 bytes).

    A key has 214 random bits, so that a slow hash would protect nothing.
    """
    return blake2b(key.encode(), key=hash_key, digest_size=32).digest()


def _checksum(text: str) -> str:
    value, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_CHARS):
        value, remainder = divmod(value, 62)
        digits = _BASE62[remainder] + digits
    return digits
