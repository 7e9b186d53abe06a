"""Finds out who calls, by the credential of a request. Pure: no I/O; the clock is passed in.

The path of a decision: which credentials are there, whether this gateway takes their kind, whether
the one is valid. Every failure is one error, 10105 with status 401, whose message says what is
wrong and never contains a credential.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from config.options import AuthOptions
from gateway.access import api_key, signature
from gateway.access.caller_head import CallerHead, decode_header
from gateway.access.identity import ANONYMOUS, Identity
from gateway.access.key_table import KeySource, KeyTable, StoredKey
from gateway.access.nonces import NonceCache
from gateway.access.proxies import TrustedProxies
from gateway.access.signature import SignatureError
from gateway.request.response import HttpError
from rpc.bounded_cache import BoundedCache
from schemas.model.errors import UNAUTHENTICATED

AUTHORIZATION: Final = b"authorization"
_KEY_HEADERS: Final = (b"x-api-key", b"apikey")
# Headers that may have a credential; the consumer header is not among them.
CREDENTIAL_HEADERS: Final = (AUTHORIZATION, *_KEY_HEADERS)
_MAX_REMEMBERED: Final = 4096
_HELP: Final[Mapping[str, str]] = {
    "key": "an API key (Authorization: Bearer ase_..., or X-Api-Key)",
    "hmac": "a signature (Authorization: hmac ..., or the query parameters of asectl sign)",
    "jwt": "a token (Authorization: Bearer ...)",
    "proxy": "a trusted proxy that names the caller",
}


class TokenVerifier(Protocol):
    """Verifies tokens (RFC 7519)."""

    def verify(self, token: str, now: float) -> Identity:
        """Return the caller of a token at the Unix time `now`.

        Raises TokenError, whose message says what is wrong.
        """


class TokenError(Exception):
    """A token that is not accepted; `str()` says why, without the token."""


class Authenticator:
    """Finds the caller of each request of a gateway.

    `keys` has the API keys and the secrets of signatures, `tokens` verifies tokens, None if the
    gateway takes none. `wall_clock` returns Unix time in seconds.

    `_accepted` has the keys of the Authorization fields that were accepted, while `_remembered_of`
    is the table of the store.
    """

    def __init__(
        self,
        options: AuthOptions,
        consumer_header: str,
        proxies: TrustedProxies,
        keys: KeySource,
        tokens: TokenVerifier | None,
        wall_clock: Callable[[], float],
    ) -> None:
        methods = frozenset(options.methods)
        self._options = options
        self._takes = methods - {"none"}
        self._is_open = not self._takes or "none" in methods
        self._consumer_header = consumer_header.lower().encode()
        self._proxies = proxies
        self._keys = keys
        self._tokens = tokens
        self._wall_clock = wall_clock
        self._nonces = NonceCache(options.max_nonces, 2.0 * options.clock_skew)
        self._required_names = tuple(options.hmac_headers)
        self._accepted: BoundedCache[bytes, StoredKey] = BoundedCache(_MAX_REMEMBERED)
        self._remembered_of: KeyTable | None = None

    def identify(self, head: CallerHead) -> Identity:
        """Return the caller of a request. Raises HttpError 401 (10105).

        A gateway that is open to anyone still reads the caller that a trusted proxy names.
        """
        if self._takes:
            if not head.query:
                stored = self._remembered(head)
                if stored is not None:
                    return stored.identity
            identity = self._identify_by_credential(head)
            if identity is not None:
                return identity
        consumer = self._named_consumer(head)
        if consumer and (self._is_open or "proxy" in self._takes):
            return Identity(app_id=consumer, method="proxy")
        if self._is_open:
            return ANONYMOUS
        raise self._error("the request has no credential; this gateway takes ", self._takes)

    def check_body(self, identity: Identity, head: CallerHead, body: bytes) -> None:
        """Raise HttpError 401 if the caller signed the digest of another body."""
        if identity.method == "hmac" and b"digest" in head.headers:
            try:
                signature.check_digest(head, body)
            except SignatureError as error:
                raise self._error(str(error)) from None

    def _remembered(self, head: CallerHead) -> StoredKey | None:
        """Return the key of an Authorization field that was accepted before; None if it is new.

        What is remembered is of one table: after a change of the store everything is new.
        """
        table = self._keys.table()
        if table is not self._remembered_of:
            self._accepted.entries.clear()
            self._remembered_of = table
        headers = head.headers
        stored = self._accepted.entries.get(headers.get(AUTHORIZATION, b""))
        if stored is None or b"x-api-key" in headers or b"apikey" in headers:
            return None
        has_end = stored.expires_at or stored.revoked_at
        return None if has_end and stored.problem(self._wall_clock()) else stored

    def _named_consumer(self, head: CallerHead) -> str:
        value = head.headers.get(self._consumer_header) if self._consumer_header else None
        if value is None or not self._proxies.is_trusted(head.peer_ip):
            return ""
        return decode_header(value)

    def _identify_by_credential(self, head: CallerHead) -> Identity | None:
        """Return the caller by the one credential of a request; None without one."""
        scheme, _, value = head.header("authorization").partition(" ")
        scheme = scheme.lower()
        bearer = value.strip() if scheme == "bearer" else ""
        keys = [
            head.headers[name].decode("latin-1") for name in _KEY_HEADERS if name in head.headers
        ]
        is_signed = scheme == "hmac" or "authorization=" in head.query
        if len(keys) + bool(bearer) + is_signed > 1:
            raise self._error("the request has two credentials; send one")
        if is_signed:
            return self._identify_by_signature(head)
        if keys:
            return self._find_key(keys[0]).identity
        if bearer.startswith(api_key.PREFIX) or (bearer and "jwt" not in self._takes):
            stored = self._find_key(bearer)
            self._accepted.add(head.headers[AUTHORIZATION], stored)
            return stored.identity
        if bearer:
            return self._identify_by_token(bearer)
        if scheme:
            raise self._error(
                "authorization: this scheme is not known; this gateway takes ", self._takes
            )
        return None

    def _find_key(self, key: str) -> StoredKey:
        self._require("key")
        stored = self._keys.table().find_key(key)
        problem = (
            stored.problem(self._wall_clock())
            if stored is not None
            else api_key.format_problem(key) or "it is not known here"
        )
        if stored is None or problem:
            raise self._error(f"the API key is not accepted: {problem}")
        return stored

    def _identify_by_token(self, token: str) -> Identity:
        self._require("jwt")
        if self._tokens is None:
            raise self._error("the token is not accepted: this gateway has no public keys")
        try:
            return self._tokens.verify(token, self._wall_clock())
        except TokenError as error:
            raise self._error(f"the token is not accepted: {error}") from None

    def _identify_by_signature(self, head: CallerHead) -> Identity:
        self._require("hmac")
        now = self._wall_clock()
        try:
            claim = signature.find_signature(head)
            if claim is None:
                raise SignatureError("authorization: it is no signature")
            return self._verify(claim, head, now)
        except SignatureError as error:
            raise self._error(f"the signature is not accepted: {error}") from None

    def _verify(self, claim: signature.Signature, head: CallerHead, now: float) -> Identity:
        """Return the owner of a signature. Raises SignatureError.

        The secret of an unknown key is "", and the comparison takes as long as for a known one.
        """
        needs_digest = self._options.hmac_digest and _has_body(head)
        signature.check_coverage(claim, self._required_names, needs_digest=needs_digest)
        if claim.in_query and not self._is_own_host(claim.host, head):
            raise SignatureError("the `host` of the query is not the host of the request")
        signature.check_date(claim, now, self._options.clock_skew)
        text = signature.signed_text(claim, head)
        stored = self._keys.table().find_pair(claim.key_id)
        mac = signature.compute_mac(claim.algorithm, stored.secret if stored else "", text)
        if not signature.is_equal(mac, claim.mac) or stored is None:
            raise SignatureError(
                "the key is not known, or the signature is of another request or by another secret "
                "(asectl sign --explain shows what is compared)"
            )
        problem = stored.problem(now)
        if problem:
            raise SignatureError(f"its key: {problem}")
        if self._options.replay == "refuse" and not self._nonces.use(claim.mac, now):
            raise SignatureError("it was used before; sign each request, with a header of its own")
        return stored.identity

    def _is_own_host(self, host: str, head: CallerHead) -> bool:
        own = head.header("host")
        if self._proxies.is_trusted(head.peer_ip):
            own = head.header("x-forwarded-host") or own
        return host.lower() in (own.lower(), own.lower().partition(":")[0])

    def _require(self, method: str) -> None:
        if method not in self._takes:
            raise self._error(f"this gateway does not take {_HELP[method]}; it takes ", self._takes)

    def _error(self, message: str, methods: frozenset[str] = frozenset()) -> HttpError:
        """Return the error 401 with the challenges of RFC 9110, 11.6.1."""
        names = [name for name in _HELP if name in methods]
        message += "; or ".join(_HELP[name] for name in names)
        schemes = [b"Bearer" if name in ("key", "jwt") else b"hmac" for name in self._challenges()]
        headers = [
            (b"www-authenticate", b'%s realm="ase"' % name) for name in dict.fromkeys(schemes)
        ]
        return HttpError(401, message, UNAUTHENTICATED, headers)

    def _challenges(self) -> list[str]:
        """Return the methods with a scheme; a 401 must have a challenge (RFC 9110, 15.5.2)."""
        return [name for name in ("key", "jwt", "hmac") if name in self._takes] or ["key"]


def _has_body(head: CallerHead) -> bool:
    return head.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in head.headers
