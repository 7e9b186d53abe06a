"""Tokens: which are accepted, for how long, and the usual attacks."""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from config.options import AuthOptions
from gateway.access.authenticator import TokenError
from gateway.access.identity import Identity
from gateway.access.tokens import JwtVerifier, PublicKeys

NOW = 1_796_040_000.0
CLAIMS = {"sub": "shop", "exp": NOW + 60, "iss": "https://id.example.com", "aud": "ase"}
ALGORITHMS = {"r1": "RS256", "e1": "ES256", "o1": "EdDSA"}


@cache
def private_keys() -> dict[str, Any]:
    return {
        "r1": rsa.generate_private_key(65537, 2048),
        "e1": ec.generate_private_key(ec.SECP256R1()),
        "o1": ed25519.Ed25519PrivateKey.generate(),
    }


def public_jwk(key_id: str) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[key_id])
    jwk: dict[str, Any] = algorithm.to_jwk(private_keys()[key_id].public_key(), as_dict=True)
    return jwk | {"kid": key_id, "use": "sig", "alg": ALGORITHMS[key_id]}


def jwks_document(*key_ids: str) -> dict[str, Any]:
    return {"keys": [public_jwk(key_id) for key_id in key_ids or ALGORITHMS]}


def jwks(*key_ids: str) -> PublicKeys:
    return PublicKeys(jwks_document(*key_ids))


def token(key_id: str = "e1", kid: str | None = "", **claims: Any) -> str:
    """Return a signed token; a claim of None is left out."""
    payload = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    headers = {} if kid is None else {"kid": kid or key_id}
    return jwt.encode(payload, private_keys()[key_id], ALGORITHMS[key_id], headers=headers)


def verify(text: str, keys: PublicKeys | None = None, now: float = NOW, **options: Any) -> Identity:
    public_keys = keys or jwks()
    return JwtVerifier(AuthOptions(["jwt"], **options), lambda: public_keys).verify(text, now)


@pytest.mark.parametrize("key_id", ALGORITHMS)
def test_token_of_each_algorithm(key_id: str) -> None:
    expected = Identity("shop", method="jwt", expires_at=NOW + 90)
    assert verify(token(key_id)) == expected


@pytest.mark.parametrize(
    ("claims", "options", "services"),
    [
        ({"services": ["ocr", "asr"]}, {}, {"ocr", "asr"}),
        ({"services": "ocr asr"}, {}, {"ocr", "asr"}),
        ({"scope": "ocr"}, {"jwt_services_claim": "scope"}, {"ocr"}),
        ({}, {"jwt_issuer": "https://id.example.com", "jwt_audience": "ase"}, set()),
        ({"aud": ["other", "ase"]}, {"jwt_audience": "ase"}, set()),
        ({"azp": "shop", "sub": "u1"}, {"jwt_app_claim": "azp"}, set()),
    ],
)
def test_claims_name_application_and_services(
    claims: dict[str, Any], options: dict[str, Any], services: set[str]
) -> None:
    identity = verify(token(**claims), **options)
    assert (identity.app_id, identity.services) == ("shop", services)


@pytest.mark.parametrize(
    ("claims", "options", "problem"),
    [
        ({"exp": NOW - 31}, {}, "it expired 31 s ago"),
        ({"exp": None}, {}, "`exp` must be there"),
        ({"exp": 10**400}, {}, "`exp` is no Unix time"),
        ({"exp": float("inf")}, {}, "`exp` is no Unix time"),
        ({"exp": float("nan")}, {}, "`exp` is no Unix time"),
        ({"nbf": -(10**400)}, {}, "`nbf` is no Unix time"),
        ({"sub": "\ud800"}, {}, "it has no `sub`"),
        ({"sub": "a\nb"}, {}, "it has no `sub`"),
        ({"nbf": NOW + 31}, {}, "it is valid in 31 s only"),
        ({"sub": None}, {}, "it has no `sub`"),
        ({"sub": ""}, {}, "it has no `sub`"),
        ({"iss": "https://evil"}, {"jwt_issuer": "https://id.example.com"}, "its `iss`"),
        ({"aud": "other"}, {"jwt_audience": "ase"}, "its `aud`"),
        ({"aud": None}, {"jwt_audience": "ase"}, "its `aud`"),
        ({"services": 7}, {}, "`services` is no list of service ids"),
        ({"services": [7]}, {}, "`services` is no list of service ids"),
        ({"services": []}, {}, "`services` is empty"),
        ({"services": ""}, {}, "`services` is empty"),
    ],
)
def test_wrong_claims(claims: dict[str, Any], options: dict[str, Any], problem: str) -> None:
    with pytest.raises(TokenError, match=problem):
        verify(token(**claims), **options)


def test_clocks_may_differ_by_half_a_minute() -> None:
    verify(token(exp=NOW - 29, nbf=NOW + 29))


def test_public_key_as_a_secret_is_refused() -> None:
    """RFC 8725, 2.1: the public key is known to everyone."""
    pem = (
        private_keys()["r1"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "r1"}, CLAIMS)
    ]
    signing_input = b".".join(parts)
    mac = hmac.new(pem, signing_input, hashlib.sha256).digest()
    forged = b".".join([signing_input, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    with pytest.raises(TokenError, match="its `alg` must be one of ES256, EdDSA, RS256"):
        verify(forged)


def test_token_without_a_signature_is_refused() -> None:
    unsigned = jwt.encode(CLAIMS, None, "none", headers={"kid": "r1"})
    with pytest.raises(TokenError, match="its `alg` must be one of"):
        verify(unsigned)


def test_other_signatures_are_refused() -> None:
    with pytest.raises(TokenError, match="its `alg` is not that of its key, RS256"):
        verify(token("e1", kid="r1"))
    with pytest.raises(TokenError, match="its `kid` is not among"):
        verify(token("e1", kid="e2"))
    with pytest.raises(TokenError, match="its `kid` is not among"):
        verify(token("e1", kid=None))
    head, claims, mac = token().split(".")
    _, other_claims, _ = token(sub="other").split(".")
    for forged in (f"{head}.{other_claims}.{mac}", f"{head}.{claims}.", f"{head}.{claims}.AAAA"):
        with pytest.raises(TokenError, match="its signature does not verify"):
            verify(forged)


@pytest.mark.parametrize("algorithm", [["ES256"], {}, None, 7, "es256"])
def test_algorithm_that_is_no_text(algorithm: Any) -> None:
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "e1"}).encode())
    forged = ".".join([head.decode().rstrip("="), *token().split(".")[1:]])
    with pytest.raises(TokenError, match=r"`alg` must be one of|no JSON Web Token"):
        verify(forged)


def test_key_without_an_algorithm_verifies_those_of_its_type() -> None:
    jwk = {name: value for name, value in public_jwk("r1").items() if name != "alg"}
    keys = PublicKeys({"keys": [jwk, {**public_jwk("e1"), "kid": ["x"]}]})
    assert len(keys) == 1
    for algorithm in ("RS256", "RS384", "PS256"):
        text = jwt.encode(CLAIMS, private_keys()["r1"], algorithm, headers={"kid": "r1"})
        assert verify(text, keys, jwt_algorithms=[algorithm]).app_id == "shop"
    with pytest.raises(TokenError, match="must be one of RS256"):
        verify(text, keys, jwt_algorithms=["RS256"])


@pytest.mark.parametrize("text", ["", "x", "a.b", "a.b.c", "..", "é.é.é", "e30.e30.e30"])
def test_what_is_no_token(text: str) -> None:
    with pytest.raises(TokenError):
        verify(text)
    with pytest.raises(TokenError, match="more than 16384 characters"):
        verify("a" * 20_000)


def test_key_id_may_be_left_out_if_there_is_one_key() -> None:
    assert verify(token(kid=None), jwks("e1")).app_id == "shop"


def test_algorithms_are_an_option() -> None:
    with pytest.raises(TokenError, match="must be one of RS256"):
        verify(token(), jwt_algorithms=["RS256"])


def test_verified_token_is_remembered_until_it_expires_or_the_keys_change() -> None:
    keys = [jwks("e1")]
    verifier = JwtVerifier(AuthOptions(["jwt"]), lambda: keys[-1])
    text = token()
    assert verifier.verify(text, NOW) is verifier.verify(text, NOW)
    with pytest.raises(TokenError, match="expired"):
        verifier.verify(text, NOW + 100)
    keys.append(jwks("r1"))
    with pytest.raises(TokenError, match="`kid` is not among"):
        verifier.verify(text, NOW)


def test_no_keys_yet() -> None:
    verifier = JwtVerifier(AuthOptions(["jwt"]), lambda: None)
    with pytest.raises(TokenError, match="no public keys yet"):
        verifier.verify(token(), NOW)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "x",
        {"keys": []},
        {"keys": [7]},
        {"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]},
        {"keys": [{"kty": "RSA", "kid": "r"}]},
    ],
)
def test_documents_without_public_keys_are_refused(document: Any) -> None:
    with pytest.raises(ValueError, match=r"no JWKS|no public key"):
        PublicKeys(document)


def test_keys_for_encryption_and_symmetric_ones_are_left_out() -> None:
    secret = {"kty": "oct", "k": "AAAA", "kid": "s", "alg": "HS256"}
    encrypting = public_jwk("r1") | {"use": "enc", "kid": "enc"}
    keys = PublicKeys({"keys": [secret, encrypting, public_jwk("e1")]})
    assert len(keys) == 1
    assert keys.find("e1") is not None
