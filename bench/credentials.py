"""Credentials for the arms of the gateway bench that ask callers who they are."""

import json
import secrets
import time
from dataclasses import replace
from pathlib import Path

from bench.workload import RequestSpec
from gateway.access import api_key, signature
from gateway.access.caller_head import CallerHead
from gateway.access.identity import CallerLimits, Identity
from gateway.access.key_store import KeyEntry, KeyStore
from gateway.access.key_table import StoredKey
from gateway.access.peer import Peer

APP_ID = "bench"
# Limits that are counted and never reached.
_LIMITS = CallerLimits(rate=1e6, burst=1_000_000, concurrency=100_000, quota=10**12)
# Signed requests that the load sends in turn; no client has fewer.
_SIGNED_REQUESTS = 2000
_SKEW_S = 3600


def add_key(folder: Path, request: RequestSpec) -> tuple[RequestSpec, list[str]]:
    """Return the request with an API key that has limits, and the flags of its gateway."""
    store, text = _new_store(folder), api_key.new_key(secrets.choice)
    identity = Identity(APP_ID, "k1", method="key", limits=_LIMITS)
    key_hash = api_key.key_hash(text, store.hash_key())
    store.add(KeyEntry(StoredKey(identity, key_hash=key_hash), time.time()))
    return (
        replace(request, header_sets=({"Authorization": f"Bearer {text}"},)),
        ["--auth-methods", "key", "--auth-keys", str(folder / "keys.sqlite")],
    )


def add_signatures(folder: Path, request: RequestSpec) -> tuple[RequestSpec, list[str]]:
    """Return the request with signatures of its body, and the flags of its gateway.

    There are 2,000 signatures, which are sent in turn and may be repeated.
    """
    store, secret = _new_store(folder), secrets.token_urlsafe(32)
    identity = Identity(APP_ID, "k1", method="hmac")
    store.add(KeyEntry(StoredKey(identity, secret=secret), time.time()))
    digest, date = signature.digest_header(request.body), signature.http_date(time.time())
    header_sets = []
    for number in range(_SIGNED_REQUESTS):
        fields = {"Date": date, "Digest": digest, "X-Nonce": f"{number:08d}"}
        headers = {name.lower().encode(): value.encode() for name, value in fields.items()}
        head = CallerHead("POST", request.path, "", headers, Peer(""))
        names = ("date", "request-line", "digest", "x-nonce")
        claim = signature.Signature("k1", "hmac-sha256", names, b"", date, "", in_query=False)
        mac = signature.compute_mac("hmac-sha256", secret, signature.signed_text(claim, head))
        fields["Authorization"] = f"hmac {signature.authorization_text(claim, mac)}"
        header_sets.append(fields)
    flags = ["--auth-methods", "hmac", "--auth-keys", str(folder / "keys.sqlite")]
    flags += ["--auth-replay", "allow", "--auth-clock-skew", str(_SKEW_S)]
    return replace(request, header_sets=tuple(header_sets)), flags


def add_token(folder: Path, request: RequestSpec) -> tuple[RequestSpec, list[str]]:
    """Return the request with a token (RS256), and the flags of its gateway."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    private_key = rsa.generate_private_key(65537, 2048)
    jwk = jwt.get_algorithm_by_name("RS256").to_jwk(private_key.public_key(), as_dict=True)
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [{**jwk, "kid": "r1", "alg": "RS256"}]}), "utf-8")
    claims = {"sub": APP_ID, "exp": int(time.time()) + _SKEW_S}
    token = jwt.encode(claims, private_key, "RS256", headers={"kid": "r1"})
    flags = ["--auth-methods", "jwt", "--auth-jwks", str(jwks)]
    return replace(request, header_sets=({"Authorization": f"Bearer {token}"},)), flags


def _new_store(folder: Path) -> KeyStore:
    store = KeyStore(folder / "keys.sqlite")
    store.create(secrets.token_bytes(api_key.HASH_KEY_BYTES))
    return store
