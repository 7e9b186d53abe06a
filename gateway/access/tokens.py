"""Verifies JSON Web Tokens (RFC 7519) by public keys. Pure: no I/O; the clock is passed in.

PyJWT and cryptography verify the signatures. Only algorithms with public keys are accepted: with a
symmetric one, whoever knows the public key could sign (RFC 8725, 2.1).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn

import jwt
from jwt import PyJWK
from jwt.exceptions import PyJWTError
from jwt.types import Options

from config.options import AuthOptions
from gateway.access.authenticator import TokenError
from gateway.access.identity import Identity
from rpc.bounded_cache import BoundedCache

_MAX_TOKEN_CHARS: Final = 16_384
_MAX_CACHED: Final = 4096
_LEEWAY_S: Final = 30.0  # between the clocks of the issuer and of this gateway
_MAX_TIME: Final = 1e12
_ALGORITHMS_BY_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "OKP": frozenset({"EdDSA"}),
}
_EC_ALGORITHMS: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_OWN_CHECKS: Final[Options] = {
    "verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False,
    "verify_iss": False,
}  # fmt: skip


class _PublicKey(NamedTuple):
    """A key, and the algorithms that it may verify."""

    key: Any
    algorithms: frozenset[str]


def _algorithms_of(jwk: Mapping[str, Any]) -> frozenset[str]:
    """Return the algorithms of a key: its `alg`, else those of its type; none for other keys."""
    by_type = _ALGORITHMS_BY_TYPE.get(jwk["kty"], frozenset())
    declared = jwk.get("alg")
    if jwk["kty"] == "EC":
        by_type = frozenset({_EC_ALGORITHMS[jwk["crv"]]} if jwk["crv"] in _EC_ALGORITHMS else ())
    return by_type if declared is None else by_type & {declared}


class PublicKeys:
    """The keys of a JWKS document (RFC 7517) by their `kid`."""

    def __init__(self, document: Any) -> None:
        """Read a document. Raises ValueError if it has no public key for signatures."""
        self._keys: dict[str, _PublicKey] = {}
        try:
            for jwk in document["keys"]:
                key_id, use = jwk.get("kid", ""), jwk.get("use", "sig")
                algorithms = _algorithms_of(jwk)
                if isinstance(key_id, str) and use == "sig" and algorithms:
                    self._keys[key_id] = _PublicKey(PyJWK(jwk, min(algorithms)).key, algorithms)
        except (PyJWTError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"it is no JWKS (RFC 7517, 5): {error}") from None
        if not self._keys:
            raise ValueError("it has no public key for signatures")

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key_id: object) -> "_PublicKey | None":
        """Return the key of a `kid`; a token without one may use the only key there is."""
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id) if isinstance(key_id, str) else None


class JwtVerifier:
    """Verifies tokens: a `TokenVerifier`.

    `public_keys` returns the present keys, None while there are none. A verified token is
    remembered until the keys change.
    """

    def __init__(self, options: AuthOptions, public_keys: Callable[[], PublicKeys | None]) -> None:
        self._options = options
        self._public_keys = public_keys
        self._algorithms = frozenset(options.jwt_algorithms)
        self._verified_by: PublicKeys | None = None
        self._verified: BoundedCache[str, tuple[Mapping[str, Any], Identity]] = BoundedCache(
            _MAX_CACHED
        )

    def key_set(self) -> object:
        """Return the present public keys."""
        return self._public_keys()

    def verify(self, token: str, now: float) -> Identity:
        """Return the caller of a token at the Unix time `now`. Raises TokenError."""
        keys = self._public_keys()
        if keys is None:
            _refuse("this gateway has no public keys yet")
        if keys is not self._verified_by:
            self._verified.entries.clear()
            self._verified_by = keys
        entry = self._verified.entries.get(token)
        if entry is None:
            claims = self._verify_signature(token, keys)
            entry = claims, self._identify(claims)
            self._verified.add(token, entry)
        claims, identity = entry
        _check_times(claims, now)
        return identity

    def _verify_signature(self, token: str, keys: PublicKeys) -> Mapping[str, Any]:
        if len(token) > _MAX_TOKEN_CHARS:
            _refuse(f"it has more than {_MAX_TOKEN_CHARS} characters")
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, TypeError):
            _refuse("it is no JSON Web Token")
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            _refuse(f"its `alg` must be one of {', '.join(sorted(self._algorithms))}")
        key = keys.find(header.get("kid"))
        if key is None:
            _refuse("its `kid` is not among the public keys")
        if algorithm not in key.algorithms:
            _refuse(f"its `alg` is not that of its key, {', '.join(sorted(key.algorithms))}")
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token, key.key, algorithms=[algorithm], options=_OWN_CHECKS
            )
        except (PyJWTError, ValueError, TypeError):
            _refuse("its signature does not verify")
        return claims

    def _identify(self, claims: Mapping[str, Any]) -> Identity:
        """Return the caller that the claims name, if issuer and audience are right."""
        options = self._options
        if options.jwt_issuer and claims.get("iss") != options.jwt_issuer:
            _refuse("its `iss` is another one")
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if options.jwt_audience and options.jwt_audience not in audiences:
            _refuse("its `aud` is another one")
        app_id = claims.get(options.jwt_app_claim)
        if not isinstance(app_id, str) or not app_id.isprintable() or not app_id:
            _refuse(f"it has no `{options.jwt_app_claim}`, which is the app id")
        services = claims.get(options.jwt_services_claim, ())
        if isinstance(services, str):
            services = services.split()
        if not isinstance(services, list | tuple) or not all(
            isinstance(name, str) for name in services
        ):
            _refuse(f"its `{options.jwt_services_claim}` is no list of service ids")
        if options.jwt_services_claim in claims and not services:
            _refuse(f"its `{options.jwt_services_claim}` is empty: it is for no service")
        return Identity(
            app_id,
            services=frozenset(services),
            method="jwt",
            expires_at=_time_claim(claims, "exp") + _LEEWAY_S,
        )


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raise TokenError unless `exp`, which must be there, and `nbf` allow the Unix time `now`."""
    expires_at = _time_claim(claims, "exp")
    not_before = _time_claim(claims, "nbf") if "nbf" in claims else 0.0
    if now >= expires_at + _LEEWAY_S:
        _refuse(f"it expired {now - expires_at:.0f} s ago")
    if now < not_before - _LEEWAY_S:
        _refuse(f"it is valid in {not_before - now:.0f} s only")


def _time_claim(claims: Mapping[str, Any], name: str) -> float:
    """Return a claim that is a Unix time; the comparison excludes NaN and the infinities."""
    value = claims.get(name)
    if not isinstance(value, int | float) or not -_MAX_TIME < value < _MAX_TIME:
        _refuse(f"its `{name}` is no Unix time; `exp` must be there")
    return float(value)


def _refuse(reason: str) -> NoReturn:
    raise TokenError(reason)
