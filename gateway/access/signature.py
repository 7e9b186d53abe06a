"""Signatures of requests by HMAC, in the two forms that clients use. Pure.

- In headers, as Kong's plugin `hmac-auth`: `Authorization: hmac username="ID",
  algorithm="hmac-sha256", headers="date request-line", signature="BASE64"`. The request line has
  the query. (https://developer.konghq.com/plugins/hmac-auth/)
- In the query, as clients of iFlytek's services: `authorization` is the base64 of the same text,
  `host` and `date` are parameters, and the request line has no query. `api_key="ID"` may stand in
  the place of `hmac username="ID"`. (https://www.xfyun.cn/doc/asr/voicedictation/API.html)

The signed text has a line `name: value` for each header of the list; `request-line` adds the
request line and `@request-target` the method in lower case and the target, both without a name.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qs

from gateway.access.caller_head import CallerHead
from rpc.bounded_cache import BoundedCache

# By the names of the algorithms that both forms use. hmac-sha1 is not among them.
ALGORITHMS: Final[Mapping[str, str]] = {
    "hmac-sha256": "sha256",
    "hmac-sha384": "sha384",
    "hmac-sha512": "sha512",
}
_DIGESTS: Final[Mapping[str, Callable[[bytes], "hashlib._Hash"]]] = {
    "SHA-256": hashlib.sha256,
    "SHA-384": hashlib.sha384,
    "SHA-512": hashlib.sha512,
}
REQUEST_LINE: Final = "request-line"
REQUEST_TARGET: Final = "@request-target"
# The parameters of a signature in the query.
QUERY_NAMES: Final = ("authorization", "host", "date")
_MAX_AUTHORIZATION: Final = 4096
_MAX_NAMES: Final = 32
_MAX_FORMS: Final = 512
_MAX_FORM_CHARS: Final = 512
_HOST: Final = re.compile(r"[A-Za-z0-9._~:\[\]-]{1,255}")
_DATE: Final = re.compile(
    r"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII
)
_NAME_CHAR: Final = re.compile(r"[a-z_]")
_PARAMETER: Final = re.compile(r'([a-z_]+)="([^"]*)"')
_PARAMETER_LIST: Final = re.compile(r'(?:\s*[a-z_]+="[^"]*"\s*(?:,|$))*')


class SignatureError(Exception):
    """A signature that is malformed or does not fit; `str()` says which part and why.

    The message has no secret and no signature.
    """


class Signature:
    """A signature as a request gives it, not verified yet.

    `key_id` names the pair of key and secret, `signed_names` are the parts that are signed, in
    their order, and `mac` is what signs them by `algorithm`, a key of `ALGORITHMS`. `date` is the
    date that the request gives, as its text, and `host` the host if the signature stands in the
    query (`in_query`).
    """

    __slots__ = ("algorithm", "date", "host", "in_query", "key_id", "mac", "signed_names")

    def __init__(
        self,
        key_id: str,
        algorithm: str,
        signed_names: tuple[str, ...],
        mac: bytes,
        date: str,
        host: str,
        *,
        in_query: bool,
    ) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.signed_names = signed_names
        self.mac = mac
        self.date = date
        self.host = host
        self.in_query = in_query


class SignatureForms:
    """What the texts of signatures say but for their MACs: clients repeat it in each request.

    `entries` has (key id, algorithm, signed names) by the part of the text before the MAC: at most
    512 entries, each of a part of at most 512 characters. Nothing in it is verified.
    """

    __slots__ = ("_cache", "entries")

    def __init__(self) -> None:
        self._cache: BoundedCache[str, tuple[str, str, tuple[str, ...]]] = BoundedCache(_MAX_FORMS)
        self.entries = self._cache.entries

    def add(self, prefix: str, form: tuple[str, str, tuple[str, ...]]) -> None:
        """Keep a form, if its text is short."""
        if len(prefix) <= _MAX_FORM_CHARS:
            self._cache.add(prefix, form)


def find_signature(head: CallerHead, forms: SignatureForms | None = None) -> Signature | None:
    """Return the signature of a request; None if it has none.

    `forms` are those of earlier signatures. Raises SignatureError if it is malformed or there are
    two.
    """
    authorization = head.header("authorization")
    in_header = authorization[:5].lower() == "hmac "
    in_query = "authorization=" in head.query
    if in_header and in_query:
        raise SignatureError("the request has two signatures, in its headers and in its query")
    if in_header:
        text = authorization[5:]
        key_id, algorithm, names, mac = _parse(text, forms)
        name = "x-date" if "x-date" in names else "date"
        date = head.header(name) if name in names else ""  # one that is not signed proves nothing
        return Signature(key_id, algorithm, names, mac, date, "", in_query=False)
    if in_query:
        query = parse_qs(head.query, keep_blank_values=True)
        for name in QUERY_NAMES:
            if len(query.get(name, ())) != 1:
                raise SignatureError(f"query: `{name}` must be there once")
        if "serviceId" in query:
            raise SignatureError("query: `serviceId` is not signed; name the service in the path")
        if not _HOST.fullmatch(query["host"][0]):
            raise SignatureError("query: `host` is no host")
        text = _decode_base64(query["authorization"][0], "query: `authorization`").decode("latin-1")
        text = re.sub(r"^\s*hmac\s+", "", text)
        key_id, algorithm, names, mac = _parse(text, forms)
        date, host = query["date"][0], query["host"][0]
        return Signature(key_id, algorithm, names, mac, date, host, in_query=True)
    return None


def _parse(text: str, forms: SignatureForms | None) -> tuple[str, str, tuple[str, ...], bytes]:
    """Return key id, algorithm, signed names and MAC of the parameters in `text`.

    Raises SignatureError.
    """
    if len(text) > _MAX_AUTHORIZATION:
        raise SignatureError(f"authorization: it has more than {_MAX_AUTHORIZATION} characters")
    prefix, _, quoted_mac = text.rpartition('signature="')
    if _NAME_CHAR.fullmatch(prefix[-1:]):  # the name of the parameter is longer
        forms = None
    form = forms.entries.get(prefix) if forms is not None else None
    if form is not None and 0 < quoted_mac.find('"') == len(quoted_mac) - 1:
        mac_text = quoted_mac[:-1]
    else:
        form, mac_text = _parse_parameters(text)
        if forms is not None and quoted_mac == f'{mac_text}"':
            forms.add(prefix, form)
    key_id, algorithm, names = form
    return key_id, algorithm, names, _decode_base64(mac_text, "authorization: `signature`")


def _parse_parameters(text: str) -> tuple[tuple[str, str, tuple[str, ...]], str]:
    """Return the form of a text, and its MAC as text. Raises SignatureError."""
    if _PARAMETER_LIST.fullmatch(text) is None:
        raise SignatureError('authorization: it is no list of NAME="VALUE", separated by commas')
    pairs: list[tuple[str, str]] = _PARAMETER.findall(text)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        raise SignatureError(f"authorization: `{_repeated_name(pairs)}` stands there twice")
    key_id = parameters.get("username", "") or parameters.get("api_key", "")
    has_two_ids = "username" in parameters and "api_key" in parameters
    algorithm, mac_text = parameters.get("algorithm", ""), parameters.get("signature", "")
    names = parameters.get("headers", "").lower().split()
    if not key_id or has_two_ids or not algorithm or not names or not mac_text:
        name = _missing_name(key_id if not has_two_ids else "", algorithm, names)
        raise SignatureError(f"authorization: `{name}` must be there once")
    if len(names) > _MAX_NAMES or len(set(names)) < len(names):
        raise SignatureError(f"authorization: `headers` are at most {_MAX_NAMES} different names")
    if algorithm not in ALGORITHMS:
        raise SignatureError(f"authorization: algorithm must be one of {', '.join(ALGORITHMS)}")
    return (key_id, algorithm, tuple(names)), mac_text


def _missing_name(key_id: str, algorithm: str, names: list[str]) -> str:
    """Return the first parameter that is not there."""
    if not key_id:
        return "username"
    if not algorithm:
        return "algorithm"
    return "signature" if names else "headers"


def _repeated_name(pairs: list[tuple[str, str]]) -> str:
    names = [name for name, _ in pairs]
    return next(name for name in names if names.count(name) > 1)


def _decode_base64(text: str, name: str) -> bytes:
    try:
        return binascii.a2b_base64(text.encode("latin-1", "replace"), strict_mode=True)
    except binascii.Error:
        raise SignatureError(f"{name} is not base64") from None


def signed_text(signature: Signature, head: CallerHead) -> str:
    """Return the text that a signature covers. Raises SignatureError if a header is missing."""
    lines = []
    for name in signature.signed_names:
        if name == REQUEST_LINE:
            target = head.path if signature.in_query else head.target
            lines.append(f"{head.method} {target} HTTP/1.1")
        elif name == REQUEST_TARGET:
            lines.append(f"{head.method.lower()} {head.target}")
        elif signature.in_query and name == "host":
            lines.append(f"host: {signature.host}")
        elif signature.in_query and name == "date":
            lines.append(f"date: {signature.date}")
        else:
            value = head.headers.get(name.encode())
            if value is None:
                reason = "which the request does not have"
                raise SignatureError(f"the signature covers `{name}`, {reason}")
            lines.append(f"{name}: {value.decode('latin-1')}")
    return "\n".join(lines)


def compute_mac(algorithm: str, secret: str, text: str) -> bytes:
    """Return the HMAC (RFC 2104) of a text; `algorithm` is one of `ALGORITHMS`."""
    return hmac.digest(secret.encode(), text.encode("latin-1", "replace"), ALGORITHMS[algorithm])


def unsigned_query(query: str) -> str:
    """Return a query without the parameters of a signature in it."""
    pairs = [pair for pair in query.split("&") if pair.partition("=")[0] not in QUERY_NAMES]
    return "&".join(pairs)


def authorization_text(signature: Signature, mac: bytes) -> str:
    """Return the text that carries a signature; in a header it has `hmac ` before it."""
    owner = "api_key" if signature.in_query else "username"
    return (
        f'{owner}="{signature.key_id}", algorithm="{signature.algorithm}", '
        f'headers="{" ".join(signature.signed_names)}", signature="{encode_mac(mac)}"'
    )


def encode_mac(mac: bytes) -> str:
    """Return a MAC in base64, as requests have it."""
    return base64.b64encode(mac).decode()


def is_equal(mac: bytes, other: bytes) -> bool:
    """Return whether two MACs are equal, in a time that does not depend on where they differ."""
    return hmac.compare_digest(mac, other)


def check_coverage(
    signature: Signature, required_names: tuple[str, ...], *, needs_digest: bool
) -> None:
    """Raise SignatureError unless a signature covers what it must.

    A signature in the query must cover `host`, `date` and the request line: its clients sign
    these. One in headers must cover `required_names`, where `@request-target` may stand for the
    request line and `x-date` for `date`, and the digest of the body if `needs_digest`.
    """
    names = set(signature.signed_names)
    if REQUEST_TARGET in names:
        names.add(REQUEST_LINE)
    if "x-date" in names and not signature.in_query:
        names.add("date")
    required = ("host", "date", REQUEST_LINE) if signature.in_query else required_names
    if needs_digest and not signature.in_query:
        required = (*required, "digest")
    missing = [name for name in required if name not in names]
    if missing:
        raise SignatureError(f"the signature does not cover {', '.join(missing)}: sign it too")


def check_skew(signed_at: float, now: float, max_skew: float) -> None:
    """Raise SignatureError unless the date of a signature is near; both are Unix times.

    The message says by how many seconds the caller's clock differs.
    """
    skew = signed_at - now
    if abs(skew) > max_skew:
        direction = "ahead of" if skew > 0 else "behind"
        raise SignatureError(
            f"the date is {abs(skew):.0f} s {direction} this gateway's clock; "
            f"{max_skew:g} s are allowed"
        )


def parse_date(text: str) -> float:
    """Return the Unix time of a date of a header (RFC 9110, 5.6.7). Raises SignatureError."""
    if not text:
        raise SignatureError("the request has no signed date: send and sign `Date` or `X-Date`")
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        hint = "Mon, 02 Jan 2006 15:04:05 GMT"
        raise SignatureError(f"the date is not of the form {hint} (RFC 9110, 5.6.7)") from None


def check_digest(head: CallerHead, body: bytes) -> None:
    """Raise SignatureError if a `Digest` header is not that of the body (RFC 3230)."""
    name, _, text = head.header("digest").partition("=")
    hash_function = _DIGESTS.get(name.strip().upper())
    if hash_function is None:
        raise SignatureError(f"digest: it must be one of {', '.join(_DIGESTS)}, then =BASE64")
    digest = _decode_base64(text.strip(), "digest: its value")
    if not hmac.compare_digest(digest, hash_function(body).digest()):
        raise SignatureError(
            f"the {name} in `Digest` is not that of the {len(body)} bytes received"
        )


def digest_header(body: bytes) -> str:
    """Return the value of a `Digest` header of a body (RFC 3230)."""
    return "SHA-256=" + base64.b64encode(hashlib.sha256(body).digest()).decode()


def http_date(now: float) -> str:
    """Return a Unix time as the date of a header (RFC 9110, 5.6.7)."""
    return formatdate(now, usegmt=True)
