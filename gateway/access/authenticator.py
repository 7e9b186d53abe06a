"""Finds out who calls, by the credential of a request. Pure: no I/O; the clock is passed in.

The path of a decision: which credentials are there, whether this gateway takes their kind, whether
the one is valid. Every failure is one error, 10105 with status 401, whose message says what is
wrong and never contains a credential.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from config.options import AuthOptions
from gateway.access import api_key, position_certificate, signature
from gateway.access.caller_head import CallerHead, decode_header
from gateway.access.certificates import CallerCertificates, CertificateError
from gateway.access.identity import ANONYMOUS, Identity
from gateway.access.key_table import KeySource, KeyTable, StoredKey
from gateway.access.nonces import NonceCache
from gateway.access.peer import Peer
from gateway.access.position_certificate import InvalidCertificateError, PositionCertificate
from gateway.access.proxies import TrustedProxies
from gateway.access.signature import SignatureError
from gateway.request.response import HttpError
from rpc.bounded_cache import BoundedCache
from rpc.client_certificate import ClientCertificate
from schemas.model.errors import BAD_REQUEST, NO_SERVICE, UNAUTHENTICATED

AUTHORIZATION: Final = b"authorization"
_KEY_HEADERS: Final = (b"x-api-key", b"apikey")
# Headers that may have a credential; the consumer header is not among them.
CREDENTIAL_HEADERS: Final = (AUTHORIZATION, *_KEY_HEADERS)
_MAX_REMEMBERED: Final = 4096
_MAX_REMEMBERED_BYTES: Final = 2048  # of a field; in sum 8 MiB
_MAX_DATES: Final = 64  # all are of one length
_MAX_PADDING: Final = 16  # of a field beside the key or the token: "Bearer " has 7
_PORT: Final = re.compile(r":\d+\Z")
_HELP: Final[Mapping[str, str]] = {
    "key": "an API key (Authorization: Bearer ase_..., or X-Api-Key)",
    "hmac": "a signature (Authorization: hmac ..., or the query parameters of asectl sign)",
    "jwt": "a token (Authorization: Bearer ...)",
    "certificate": "a certificate (POST /certificate; Authorization: Certificate ...)",
    "mtls": "a client certificate (mTLS)",
    "proxy": "a trusted proxy that names the caller",
}

_EXPIRING: Final[Mapping[str, str]] = {
    "jwt": "token", "certificate": "certificate", "mtls": "client certificate",
}  # fmt: skip
_SCHEMES: Final[Mapping[str, bytes]] = {
    "key": b"Bearer", "jwt": b"Bearer", "hmac": b"hmac", "certificate": b"Certificate",
}  # fmt: skip


class TokenVerifier(Protocol):
    """Verifies tokens (RFC 7519)."""

    def verify(self, token: str, now: float) -> Identity:
        """Return the caller of a token at the Unix time `now`.

        Raises TokenError, whose message says what is wrong.
        """

    def key_set(self) -> object:
        """Return the present public keys; another object after each change."""


class TokenError(Exception):
    """A token that is not accepted; `str()` says why, without the token."""


class Authenticator:
    """Finds the caller of each request of a gateway.

    `keys` has the API keys and the secrets of signatures. `tokens` verifies tokens, `certificates`
    finds the callers of certificates; they are None if the gateway takes none. `wall_clock` returns
    Unix time in seconds.

    `_accepted` has the callers of the Authorization fields that were accepted, each with the Unix
    time at which it ends, while the store has the table `_accepted_by` and tokens are verified by
    the keys `_accepted_by_keys`. `_forms` are those of the signatures that were read.
    """

    def __init__(
        self,
        options: AuthOptions,
        consumer_header: str,
        proxies: TrustedProxies,
        keys: KeySource,
        tokens: TokenVerifier | None,
        certificates: CallerCertificates | None,
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
        self._certificates = certificates
        self._wall_clock = wall_clock
        self._nonces = NonceCache(options.max_nonces, 2.0 * options.clock_skew)
        self._required_names = tuple(options.hmac_headers)
        self._accepted: BoundedCache[bytes, tuple[Identity, float]] = BoundedCache(_MAX_REMEMBERED)
        self._forms = signature.SignatureForms()
        self._times_of_dates: BoundedCache[str, float] = BoundedCache(_MAX_DATES)
        self._accepted_by: KeyTable | None = None
        self._accepted_by_keys: object = None

    @property
    def methods(self) -> tuple[str, ...]:
        """Return the ways in which callers prove who they are, as in the config."""
        return tuple(self._options.methods)

    def identify(self, head: CallerHead) -> Identity:
        """Return the caller of a request. Raises HttpError 401 (10105).

        What the request says itself counts before what a proxy says, and that before the
        certificate of the connection. A gateway that is open to anyone still reads the caller that
        a trusted proxy names.
        """
        if self._takes and not head.query:
            remembered = self._remembered(head)
            if remembered is not None:
                return remembered
        consumer = self._named_consumer(head)
        if not self._takes:
            return Identity(app_id=consumer, method="proxy") if consumer else ANONYMOUS
        is_named = bool(consumer) and (self._is_open or "proxy" in self._takes)
        certificate = self._certificate_of_caller(head.peer)
        is_known = is_named or self._is_open or certificate is not None
        credential = self._choose_credential(head, must_be_taken=not is_known)
        if credential is not None:
            return self._identify_by(credential, head)
        if is_named:
            return Identity(app_id=consumer, method="proxy")
        if certificate is not None:
            return self._identify_by_certificate(certificate)
        if self._is_open:
            return ANONYMOUS
        raise self._error("the request has no credential; this gateway takes ", self._takes)

    def _certificate_of_caller(self, peer: Peer) -> ClientCertificate | None:
        """Return the certificate of a connection, None if it is that of a proxy for its callers."""
        if self._certificates is None:
            return None
        is_of_proxy = "proxy" in self._takes and self._proxies.is_trusted(peer.ip)
        return None if is_of_proxy else peer.certificate

    def renew(self, identity: Identity) -> Identity:
        """Return the caller with its present rights, when it begins something later.

        Raises HttpError 401 if its key was revoked or has expired since, or its token has.
        """
        now = self._wall_clock()
        if identity.expires_at and now >= identity.expires_at:
            raise self._error(f"the {_EXPIRING[identity.method]} has expired")
        if identity.method not in ("key", "hmac", "certificate"):
            return identity
        stored = self._keys.table().find_by_id(identity.key_id)
        problem = stored.problem(now) if stored is not None else "it is not known here any more"
        if stored is None or problem:
            raise self._error(f"the key is not accepted any more: {problem}")
        return identity if identity.method == "certificate" else stored.identity

    def issue_certificate(
        self, app_id: str, client: str, service_id: str, key: str
    ) -> PositionCertificate:
        """Return a certificate with which a client of an application may call one service.

        `key` is an API key of the application. Raises HttpError 401, 403 or 400.
        """
        if "certificate" not in self._takes:
            raise HttpError(404, "this gateway has no `auth: certificate`", NO_SERVICE)
        stored = self._find_key(key)
        if stored.identity.app_id not in ("", app_id):
            raise self._error("the API key is not accepted: it is of another application")
        stored.identity.check_service(service_id)
        ends = [self._wall_clock() + self._options.certificate_lifetime]
        ends += [at for at in (stored.expires_at, stored.revoked_at) if at]
        certificate = PositionCertificate(
            app_id, client, service_id, stored.identity.key_id, int(min(ends))
        )
        try:
            mac = position_certificate.sign(certificate, stored)
        except InvalidCertificateError as error:
            raise HttpError(400, str(error), BAD_REQUEST) from None
        return replace(certificate, mac=mac)

    def unsigned_query(self, query: str) -> str:
        """Return a query without the parameters of a signature, if signatures are taken."""
        if "hmac" not in self._takes or "authorization=" not in query:
            return query
        return signature.unsigned_query(query)

    def check_body(self, identity: Identity, head: CallerHead, body: bytes) -> None:
        """Raise HttpError 401 if the caller signed the digest of another body."""
        if identity.method == "hmac" and b"digest" in head.headers:
            try:
                signature.check_digest(head, body)
            except SignatureError as error:
                raise self._error(str(error)) from None

    def _remembered(self, head: CallerHead) -> Identity | None:
        """Return the caller of an Authorization field that was accepted; None if it is new.

        After a change of the store or of the public keys everything is new.
        """
        table = self._keys.table()
        key_set = self._tokens.key_set() if self._tokens is not None else None
        if table is not self._accepted_by or key_set is not self._accepted_by_keys:
            self._accepted.entries.clear()
            self._accepted_by, self._accepted_by_keys = table, key_set
        headers = head.headers
        entry = self._accepted.entries.get(headers.get(AUTHORIZATION, b""))
        if entry is None or b"x-api-key" in headers or b"apikey" in headers:
            return None
        identity, ends_at = entry
        return None if ends_at and self._wall_clock() >= ends_at else identity

    def _remember(self, head: CallerHead, text: str, identity: Identity, ends_at: float) -> None:
        """Remember the caller of an Authorization field, if that is what `text` came from.

        Beside a key in X-Api-Key, the field may have what is for someone else.
        """
        authorization = head.headers.get(AUTHORIZATION, b"")
        scheme, _, value = authorization.decode("latin-1").partition(" ")
        is_source = (
            scheme.lower() in ("bearer", position_certificate.SCHEME) and value.strip() == text
        )
        if is_source and len(authorization) <= len(text) + _MAX_PADDING <= _MAX_REMEMBERED_BYTES:
            self._accepted.add(authorization, (identity, ends_at))

    def _named_consumer(self, head: CallerHead) -> str:
        value = head.headers.get(self._consumer_header) if self._consumer_header else None
        if value is None or not self._proxies.is_trusted(head.peer.ip):
            return ""
        return decode_header(value)

    def _choose_credential(
        self, head: CallerHead, *, must_be_taken: bool
    ) -> tuple[str, str] | None:
        """Return the method and the text of the one credential of a request; None without one.

        `must_be_taken`: a credential of a kind that this gateway does not take is an error. Else
        it is for someone else, such as the proxy before the gateway, and is passed over.
        """
        credentials = _credentials(head, takes_tokens="jwt" in self._takes)
        if not must_be_taken:
            credentials = [pair for pair in credentials if pair[0] in self._takes]
        if len(credentials) > 1:
            raise self._error("the request has two credentials; send one")
        if not credentials:
            return None
        method = credentials[0][0]
        if method not in self._takes:
            kind = _HELP.get(method, "this scheme of Authorization")
            raise self._error(f"this gateway does not take {kind}; it takes ", self._takes)
        return credentials[0]

    def _identify_by(self, credential: tuple[str, str], head: CallerHead) -> Identity:
        method, text = credential
        if method == "hmac":
            return self._identify_by_signature(head)
        if method == "jwt":
            identity = self._identify_by_token(text)
            self._remember(head, text, identity, identity.expires_at)
            return identity
        if method == "certificate":
            identity = self._identify_by_position_certificate(text)
            self._remember(head, text, identity, identity.expires_at)
            return identity
        stored = self._find_key(text)
        ends = [at for at in (stored.expires_at, stored.revoked_at) if at]
        self._remember(head, text, stored.identity, min(ends, default=0.0))
        return stored.identity

    def _find_key(self, key: str) -> StoredKey:
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
        if self._tokens is None:
            raise self._error("the token is not accepted: this gateway has no public keys")
        try:
            return self._tokens.verify(token, self._wall_clock())
        except TokenError as error:
            raise self._error(f"the token is not accepted: {error}") from None

    def _identify_by_position_certificate(self, text: str) -> Identity:
        try:
            certificate = PositionCertificate.parse(text)
            stored = self._keys.table().find_by_id(certificate.key_id)
            position_certificate.verify(certificate, stored, self._wall_clock())
        except InvalidCertificateError as error:
            raise self._error(f"the certificate is not accepted: {error}") from None
        assert stored is not None  # noqa: S101 (it is verified)
        stored.identity.check_service(certificate.position)
        ends = [at for at in (certificate.expires_at, stored.expires_at, stored.revoked_at) if at]
        return replace(
            stored.identity,
            app_id=certificate.app,
            services=frozenset({certificate.position}),
            roles=frozenset(),
            method="certificate",
            expires_at=float(min(ends)),
        )

    def _identify_by_certificate(self, certificate: ClientCertificate) -> Identity:
        assert self._certificates is not None  # noqa: S101 (`identify` checked it)
        try:
            return self._certificates.identify(certificate, self._wall_clock())
        except CertificateError as error:
            raise self._error(f"the client certificate is not accepted: {error}") from None

    def _identify_by_signature(self, head: CallerHead) -> Identity:
        now = self._wall_clock()
        try:
            claim = signature.find_signature(head, self._forms)
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
        signature.check_skew(self._time_of(claim.date), now, self._options.clock_skew)
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

    def _time_of(self, date: str) -> float:
        """Return the Unix time of a date; clients send that of a second with many requests."""
        time = self._times_of_dates.entries.get(date)
        if time is None:
            time = signature.parse_date(date)
            self._times_of_dates.add(date, time)
        return time

    def _is_own_host(self, host: str, head: CallerHead) -> bool:
        own = head.header("host")
        if self._proxies.is_trusted(head.peer.ip):
            own = head.header("x-forwarded-host").partition(",")[0].strip() or own
        return host.lower() in (own.lower(), _PORT.sub("", own.lower()))

    def _error(self, message: str, methods: frozenset[str] = frozenset()) -> HttpError:
        """Return the error 401 with the challenges of RFC 9110, 11.6.1."""
        names = [name for name in _HELP if name in methods]
        message += "; or ".join(_HELP[name] for name in names)
        schemes = [_SCHEMES[name] for name in self._challenges()]
        headers = [
            (b"www-authenticate", b'%s realm="ase"' % name) for name in dict.fromkeys(schemes)
        ]
        return HttpError(401, message, UNAUTHENTICATED, headers)

    def _challenges(self) -> list[str]:
        """Return the methods with a scheme; a 401 must have a challenge (RFC 9110, 15.5.2)."""
        return [name for name in _SCHEMES if name in self._takes] or ["key"]


def _credentials(head: CallerHead, *, takes_tokens: bool) -> list[tuple[str, str]]:
    """Return the methods and texts of the credentials of a request.

    The method is "other" for a scheme that is not known. A Bearer text without the prefix of keys
    is a token, if tokens are taken.
    """
    scheme, _, value = head.header("authorization").partition(" ")
    scheme, value = scheme.lower(), value.strip()
    credentials = [
        ("key", head.headers[name].decode("latin-1"))
        for name in _KEY_HEADERS
        if name in head.headers
    ]
    if scheme == "bearer" and value:
        is_token = takes_tokens and not value.startswith(api_key.PREFIX)
        credentials.append(("jwt" if is_token else "key", value))
    elif scheme == position_certificate.SCHEME:
        credentials.append(("certificate", value))
    elif scheme and scheme != "hmac":
        credentials.append(("other", ""))
    if scheme == "hmac" or "authorization=" in head.query:
        credentials.append(("hmac", ""))
    return credentials


def _has_body(head: CallerHead) -> bool:
    return head.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in head.headers
