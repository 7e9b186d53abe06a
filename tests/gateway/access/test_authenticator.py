"""Who calls: each credential, and each way in which it may be wrong."""

import base64
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from config.options import AuthOptions, GatewayOptions
from gateway.access import api_key, signature
from gateway.access.authenticator import Authenticator, TokenError
from gateway.access.caller_head import CallerHead
from gateway.access.certificates import CallerCertificates
from gateway.access.identity import ANONYMOUS, Identity
from gateway.access.key_table import KeyTable, StaticKeys, StoredKey
from gateway.access.peer import Peer
from gateway.request.response import HttpError
from rpc.client_certificate import ClientCertificate
from schemas.model.errors import UNAUTHENTICATED, AseError
from tests.fakes import new_authenticator

NOW = 1_796_040_000.0
HASH_KEY = b"h" * 32
KEY = api_key.new_key(random.Random(1).choice)
EXPIRED, REVOKED, UNKNOWN = (api_key.new_key(random.Random(seed).choice) for seed in (2, 3, 4))
SHOP = Identity("shop", "k1", frozenset({"probe"}), "key")
SIGNER = Identity("shop", "k4", method="hmac")


def stored(key: str, key_id: str, **times: float) -> StoredKey:
    identity = replace(SHOP, key_id=key_id)
    return StoredKey(identity, key_hash=api_key.key_hash(key, HASH_KEY), **times)


SIGNER_SECRET = "s3cret"  # noqa: S105 (of a test)
KEYS = StaticKeys(
    KeyTable(
        HASH_KEY,
        [
            stored(KEY, "k1", expires_at=NOW + 1, revoked_at=NOW + 1),
            stored(EXPIRED, "k2", expires_at=NOW),
            stored(REVOKED, "k3", revoked_at=NOW - 1),
            StoredKey(SIGNER, secret=SIGNER_SECRET),
            StoredKey(replace(SIGNER, key_id="k5"), secret=SIGNER_SECRET, expires_at=NOW),
        ],
    )
)


class FakeTokens:
    """Takes the token `good`."""

    accepted = frozenset({"good"})
    keys: object = "first"

    def key_set(self) -> object:
        return self.keys

    def verify(self, token: str, _now: float) -> Identity:
        if token not in self.accepted:
            raise TokenError("it is not good")
        return Identity("jwt-app", method="jwt", expires_at=NOW + 1)


class ChangingKeys:
    """A source whose table a test replaces."""

    def __init__(self) -> None:
        self.current = KEYS.table()

    def table(self) -> KeyTable:
        return self.current

    def refresh(self) -> str:
        return ""


def authenticator(*methods: str, **options: Any) -> Authenticator:
    return new_authenticator(
        AuthOptions(list(methods), **options),
        GatewayOptions(trusted_proxies=["10.0.0.0/8"]),
        keys=KEYS,
        tokens=FakeTokens(),
        certificates=CallerCertificates("dns", {}) if "mtls" in methods else None,
        wall_clock=lambda: NOW,
    )


def head(
    headers: dict[str, str] | None = None,
    query: str = "",
    peer_ip: str = "192.0.2.1",
    certificate: ClientCertificate | None = None,
) -> CallerHead:
    fields = {name.encode(): value.encode() for name, value in (headers or {}).items()}
    return CallerHead("POST", "/v1/private/probe", query, fields, Peer(peer_ip, certificate))


def error_of(call: Callable[[], Any]) -> str:
    """Return the message of the error that a call raises, and check what is common to all."""
    with pytest.raises(HttpError) as caught:
        call()
    assert (caught.value.status, caught.value.spec) == (401, UNAUTHENTICATED)
    assert b"www-authenticate" in dict(caught.value.headers)
    message = str(caught.value)
    for secret in (KEY, EXPIRED, REVOKED, UNKNOWN, "s3cret", "CANARY"):
        assert secret not in message
    return message


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY}"},
        {"x-api-key": KEY},
        {"apikey": KEY},
    ],
)
def test_key_is_accepted_in_each_place(headers: dict[str, str]) -> None:
    assert authenticator("key").identify(head(headers)) == SHOP
    assert authenticator("key", "jwt", "hmac").identify(head(headers)) == SHOP


@pytest.mark.parametrize(
    ("headers", "query", "problem"),
    [
        ({}, "", "no credential; this gateway takes an API key"),
        ({"x-api-key": EXPIRED}, "", "it has expired"),
        ({"x-api-key": REVOKED}, "", "it was revoked"),
        ({"x-api-key": UNKNOWN}, "", "it is not known here"),
        ({"x-api-key": KEY[:-1]}, "", "45 characters and not 46"),
        ({"x-api-key": KEY[:-1] + "é"}, "", "47 characters"),
        ({"x-api-key": ""}, "", "begin with ase_"),
        ({"x-api-key": "CANARY"}, "", "begin with ase_"),
        ({"authorization": "Bearer CANARY"}, "", "begin with ase_"),
        ({"authorization": "Basic CANARY"}, "", "does not take this scheme"),
        ({"authorization": "Bearer"}, "", "does not take this scheme"),
        ({"x-api-key": KEY, "apikey": KEY}, "", "two credentials"),
        ({"x-api-key": KEY, "authorization": f"Bearer {KEY}"}, "", "two credentials"),
        ({"x-api-key": KEY, "authorization": "hmac x"}, "", "two credentials"),
        ({"x-api-key": KEY}, "authorization=CANARY", "two credentials"),
        ({"authorization": "hmac CANARY"}, "", "does not take a signature"),
        ({"x-consumer-username": "shop"}, "", "no credential"),
    ],
)
def test_wrong_key_is_explained(headers: dict[str, str], query: str, problem: str) -> None:
    message = error_of(lambda: authenticator("key").identify(head(headers, query)))
    assert problem in message


def test_challenge_names_the_schemes() -> None:
    with pytest.raises(HttpError) as caught:
        authenticator("key", "jwt", "hmac").identify(head())
    challenges = [value for name, value in caught.value.headers if name == b"www-authenticate"]
    assert challenges == [b'Bearer realm="ase"', b'hmac realm="ase"']


def test_token() -> None:
    accepts = authenticator("key", "jwt")
    assert accepts.identify(head({"authorization": "Bearer good"})).app_id == "jwt-app"
    message = error_of(lambda: accepts.identify(head({"authorization": "Bearer CANARY"})))
    assert "the token is not accepted: it is not good" in message
    no_keys = new_authenticator(AuthOptions(["jwt"]))
    assert "no public keys" in error_of(
        lambda: no_keys.identify(head({"authorization": "Bearer good"}))
    )
    only_tokens = authenticator("jwt")
    assert "does not take an API key" in error_of(
        lambda: only_tokens.identify(head({"authorization": f"Bearer {KEY}"}))
    )


# A gateway that is open to anyone, and the caller that a proxy names.


@pytest.mark.parametrize("methods", [(), ("none",), ("none", "key")])
def test_open_gateway_takes_anyone(methods: tuple[str, ...]) -> None:
    accepts = authenticator(*methods)
    assert accepts.identify(head()) is ANONYMOUS
    named = head({"x-consumer-username": "é".encode().decode("latin-1")}, peer_ip="10.1.1.1")
    assert accepts.identify(named).method == "proxy"


def test_credentials_of_an_open_gateway_are_not_read() -> None:
    assert authenticator().identify(head({"authorization": "Basic x"})) is ANONYMOUS
    assert authenticator("none", "key").identify(head({"x-api-key": KEY})) == SHOP
    error_of(lambda: authenticator("none", "key").identify(head({"x-api-key": UNKNOWN})))


def test_caller_is_named_by_trusted_proxies_alone() -> None:
    fields = {"x-consumer-username": "shop"}
    assert authenticator().identify(head(fields)) is ANONYMOUS
    assert authenticator("proxy").identify(head(fields, peer_ip="10.1.1.1")) == Identity(
        "shop", method="proxy"
    )
    error_of(lambda: authenticator("proxy").identify(head(fields)))
    error_of(lambda: authenticator("proxy").identify(head(peer_ip="10.1.1.1")))
    error_of(lambda: authenticator("key").identify(head(fields, peer_ip="10.1.1.1")))


# Signatures.


def signed_head(
    *,
    names: str = "date request-line digest",
    key_id: str = "k4",
    secret: str = SIGNER_SECRET,
    date: float = NOW,
    body: bytes = b"{}",
    **changes: str,
) -> CallerHead:
    """Return a request that is signed in its headers, changed afterwards by `changes`."""
    fields = {"date": signature.http_date(date), "content-length": str(len(body)), "host": "h"}
    if body:
        fields["digest"] = signature.digest_header(body)
    text = f'hmac username="{key_id}", algorithm="hmac-sha256", headers="{names}", signature="YQ=="'
    found = signature.find_signature(head(fields | {"authorization": text}))
    assert found is not None
    mac = signature.compute_mac("hmac-sha256", secret, signature.signed_text(found, head(fields)))
    text = text.replace("YQ==", base64.b64encode(mac).decode())
    return head({**fields, "authorization": text, **changes})


def test_signature_in_headers() -> None:
    accepts, request = authenticator("hmac"), signed_head()
    assert accepts.identify(request) == SIGNER
    accepts.check_body(SIGNER, request, b"{}")
    message = error_of(lambda: accepts.check_body(SIGNER, request, b"{} "))
    assert "not that of the 3 bytes" in message


@pytest.mark.parametrize(
    ("request_head", "problem"),
    [
        (signed_head(key_id="k9"), "the key is not known, or the signature is of another"),
        (signed_head(secret="other"), "the key is not known, or the signature is of another"),
        (signed_head(key_id="k5"), "it has expired"),
        (signed_head(digest="SHA-256=YQ=="), "the signature is of another request"),
        (signed_head(date=NOW - 301), "301 s behind"),
        (signed_head(date=NOW + 301), "301 s ahead of"),
        (signed_head(names="date request-line"), "does not cover digest"),
        (signed_head(names="date digest"), "does not cover request-line"),
        (signed_head(authorization="hmac CANARY"), "NAME="),
        (signed_head(authorization="hmac"), "no signature"),
    ],
)
def test_wrong_signature_is_explained(request_head: CallerHead, problem: str) -> None:
    message = error_of(lambda: authenticator("hmac").identify(request_head))
    assert problem in message


def test_signature_without_a_body_needs_no_digest() -> None:
    request = signed_head(names="date request-line", body=b"")
    assert authenticator("hmac").identify(request) == SIGNER


def test_digest_and_headers_are_options() -> None:
    request = signed_head(names="date request-line")
    assert authenticator("hmac", hmac_digest=False).identify(request) == SIGNER
    strict = authenticator("hmac", hmac_headers=["date", "host", "request-line"])
    assert "does not cover host" in error_of(lambda: strict.identify(signed_head()))
    assert strict.identify(signed_head(names="date host request-line digest")) == SIGNER


def test_signature_is_used_once() -> None:
    accepts = authenticator("hmac")
    assert accepts.identify(signed_head()) == SIGNER
    assert "was used before" in error_of(lambda: accepts.identify(signed_head()))
    assert accepts.identify(signed_head(date=NOW + 1)) == SIGNER
    tolerant = authenticator("hmac", replay="allow")
    for _ in range(2):
        assert tolerant.identify(signed_head()) == SIGNER


def query_signed_head(host: str, **fields: str) -> CallerHead:
    """Return a request that is signed in its query, as clients of the original sign."""
    date = signature.http_date(NOW)
    text = f"host: {host}\ndate: {date}\nPOST /v1/private/probe HTTP/1.1"
    mac = base64.b64encode(signature.compute_mac("hmac-sha256", "s3cret", text)).decode()
    authorization = (
        f'api_key="k4", algorithm="hmac-sha256", headers="host date request-line", '
        f'signature="{mac}"'
    )
    query = {
        "authorization": base64.b64encode(authorization.encode()).decode(),
        "host": host,
        "date": date,
    }
    return head({"host": "h:8200", **fields}, urlencode(query), fields.pop("peer", "192.0.2.1"))


def test_signature_in_the_query() -> None:
    assert authenticator("hmac").identify(query_signed_head("h:8200")) == SIGNER
    assert authenticator("hmac").identify(query_signed_head("H")) == SIGNER
    message = error_of(lambda: authenticator("hmac").identify(query_signed_head("other")))
    assert "not the host of the request" in message


def test_host_is_that_which_a_trusted_proxy_forwards() -> None:
    request = query_signed_head("api.example.com")
    request.headers = {**request.headers, b"x-forwarded-host": b"api.example.com"}
    error_of(lambda: authenticator("hmac").identify(request))
    request.peer = Peer("10.1.1.1")
    assert authenticator("hmac").identify(request) == SIGNER


def test_clients_that_sign_by_the_second_are_told_of_replays() -> None:
    accepts = authenticator("hmac")
    accepts.identify(query_signed_head("h"))
    assert "was used before" in error_of(lambda: accepts.identify(query_signed_head("h")))


# Found by an attack on this code; each was accepted, or an error of ours, before.


def test_date_that_is_not_signed_proves_nothing() -> None:
    stale = signed_head(date=NOW - 5000, **{"x-date": signature.http_date(NOW)})
    assert "5000 s behind" in error_of(lambda: authenticator("hmac").identify(stale))


def test_credentials_for_the_proxy_are_passed_over() -> None:
    """Kong passes on what it has checked, unless it is told to hide it."""
    for fields in (
        {"apikey": "of-kong"},
        {"authorization": "Bearer of.an.idp"},
        {"authorization": "Basic eA=="},
        {"authorization": "hmac x", "apikey": "x"},
    ):
        named = head({**fields, "x-consumer-username": "shop"}, peer_ip="10.1.1.1")
        assert authenticator("proxy").identify(named) == Identity("shop", method="proxy")
        stranger = head({**fields, "x-consumer-username": "shop"})
        error_of(lambda stranger=stranger: authenticator("proxy").identify(stranger))
    taken = head({"x-api-key": UNKNOWN, "x-consumer-username": "shop"}, peer_ip="10.1.1.1")
    error_of(lambda: authenticator("proxy", "key").identify(taken))


def test_caller_is_renewed_by_what_the_store_has_now() -> None:
    keys = ChangingKeys()
    accepts = new_authenticator(
        AuthOptions(["key", "jwt"]), keys=keys, tokens=FakeTokens(), wall_clock=lambda: NOW
    )
    identity = accepts.identify(head({"x-api-key": KEY}))
    assert accepts.renew(identity) == SHOP
    narrow = replace(stored(KEY, "k1"), identity=replace(SHOP, services=frozenset({"ocr"})))
    keys.current = KeyTable(HASH_KEY, [narrow])
    assert accepts.renew(identity).services == {"ocr"}
    keys.current = KeyTable(HASH_KEY, [stored(KEY, "k1", revoked_at=NOW)])
    assert "not accepted any more: it was revoked" in error_of(lambda: accepts.renew(identity))
    keys.current = KeyTable(HASH_KEY, [])
    assert "not known here any more" in error_of(lambda: accepts.renew(identity))
    token = Identity("shop", method="jwt", expires_at=NOW)
    assert "the token has expired" in error_of(lambda: accepts.renew(token))
    assert accepts.renew(ANONYMOUS) is ANONYMOUS


def test_accepted_keys_are_remembered_until_the_store_changes() -> None:
    keys = ChangingKeys()
    accepts = new_authenticator(AuthOptions(["key"]), keys=keys, wall_clock=lambda: NOW)
    request = head({"authorization": f"Bearer {KEY}"})
    assert accepts.identify(request) is accepts.identify(request)
    padded = head({"authorization": "Bearer" + " " * 1000 + KEY})
    assert accepts.identify(padded) == SHOP
    assert "two credentials" in error_of(
        lambda: accepts.identify(head({"authorization": f"Bearer {KEY}", "apikey": KEY}))
    )
    keys.current = KeyTable(HASH_KEY, [])
    error_of(lambda: accepts.identify(request))


def test_remembered_key_ends_when_it_expires() -> None:
    now = [NOW]
    accepts = new_authenticator(AuthOptions(["key"]), keys=KEYS, wall_clock=lambda: now[0])
    request = head({"authorization": f"Bearer {KEY}"})
    assert accepts.identify(request) == SHOP
    now[0] += 1
    assert "it was revoked" in error_of(lambda: accepts.identify(request))


def test_query_without_its_signature() -> None:
    query = "lang=en&authorization=a%3D&host=h&date=d&host2=x"
    assert authenticator("hmac").unsigned_query(query) == "lang=en&host2=x"
    assert authenticator("key").unsigned_query(query) == query
    assert authenticator("hmac").unsigned_query("host=h") == "host=h"


def test_host_with_brackets_may_lack_its_port() -> None:
    request = query_signed_head("[::1]")
    request.headers = {**request.headers, b"host": b"[::1]:8200"}
    assert authenticator("hmac").identify(request) == SIGNER


def test_field_beside_a_key_is_not_taken_for_it_later() -> None:
    accepts = authenticator("key", "proxy")
    for other in ("Basic eA==", "Bearer of.an.idp", "hmac x"):
        beside = head(
            {"authorization": other, "x-api-key": KEY, "x-consumer-username": "shop"},
            peer_ip="10.1.1.1",
        )
        if other.startswith("Bearer"):  # without tokens it may be a key too
            assert "two credentials" in error_of(lambda beside=beside: accepts.identify(beside))
        else:
            assert accepts.identify(beside) == SHOP
        alone = head({"authorization": other})
        error_of(lambda alone=alone: accepts.identify(alone))


def test_token_is_remembered_until_it_ends_or_the_public_keys_change() -> None:
    now, tokens = [NOW], FakeTokens()
    accepts = new_authenticator(AuthOptions(["jwt"]), tokens=tokens, wall_clock=lambda: now[0])
    request = head({"authorization": "Bearer good"})
    assert accepts.identify(request) is accepts.identify(request)
    tokens.accepted = frozenset()
    assert accepts.identify(request).app_id == "jwt-app"  # it was verified
    now[0] += 1
    error_of(lambda: accepts.identify(request))
    now[0] -= 1
    tokens.accepted = frozenset({"good"})
    accepts.identify(request)
    tokens.accepted, tokens.keys = frozenset(), "second"
    error_of(lambda: accepts.identify(request))


def certificate_of(name: str, not_after: float = NOW + 1) -> ClientCertificate:
    return ClientCertificate({"subjectAltName": (("DNS", name),)}, not_after)


SHOP_CERTIFICATE = certificate_of("shop.internal")


@pytest.mark.parametrize(
    "methods", [("mtls",), ("mtls", "key"), ("mtls", "none"), ("mtls", "proxy")]
)
def test_certificate_is_accepted(methods: tuple[str, ...]) -> None:
    identity = authenticator(*methods).identify(head(certificate=SHOP_CERTIFICATE))
    assert (identity.app_id, identity.method) == ("shop.internal", "mtls")


def test_certificate_counts_only_where_it_is_asked_for() -> None:
    assert authenticator("none").identify(head(certificate=SHOP_CERTIFICATE)) is ANONYMOUS
    error_of(lambda: authenticator("key").identify(head(certificate=SHOP_CERTIFICATE)))


def test_request_without_a_certificate() -> None:
    assert "a client certificate (mTLS)" in error_of(lambda: authenticator("mtls").identify(head()))
    assert authenticator("mtls", "none").identify(head()) is ANONYMOUS


def test_what_the_request_says_counts_before_the_certificate() -> None:
    accepts = authenticator("mtls", "key", "proxy")
    with_key = head({"x-api-key": KEY}, certificate=SHOP_CERTIFICATE)
    assert accepts.identify(with_key) == SHOP
    bad_key = head({"x-api-key": UNKNOWN}, certificate=SHOP_CERTIFICATE)
    assert "not known here" in error_of(lambda: accepts.identify(bad_key))
    fields = {"x-consumer-username": "kong-says"}
    by_proxy = head(fields, peer_ip="10.1.1.1", certificate=SHOP_CERTIFICATE)
    assert accepts.identify(by_proxy).app_id == "kong-says"
    by_stranger = head(fields, certificate=SHOP_CERTIFICATE)
    assert accepts.identify(by_stranger).app_id == "shop.internal"


def test_certificate_of_a_proxy_is_not_that_of_its_callers() -> None:
    """It names no caller, and its connection has a certificate of its own."""
    by_proxy = head(peer_ip="10.1.1.1", certificate=SHOP_CERTIFICATE)
    for methods in (("mtls", "proxy"), ("mtls", "proxy", "key")):
        accepts = authenticator(*methods)
        assert "no credential" in error_of(lambda accepts=accepts: accepts.identify(by_proxy))
        with_key = head({"x-api-key": UNKNOWN}, peer_ip="10.1.1.1", certificate=SHOP_CERTIFICATE)
        error_of(lambda accepts=accepts, with_key=with_key: accepts.identify(with_key))
    assert authenticator("mtls").identify(by_proxy).app_id == "shop.internal", "no proxy is asked"


def test_what_is_for_someone_else_is_passed_over_beside_a_certificate() -> None:
    beside = head({"authorization": "Basic eA=="}, certificate=SHOP_CERTIFICATE)
    assert authenticator("mtls").identify(beside).app_id == "shop.internal"


def test_certificate_that_has_ended() -> None:
    old = certificate_of("shop", NOW)
    for methods in (("mtls",), ("mtls", "none")):
        message = error_of(lambda m=methods: authenticator(*m).identify(head(certificate=old)))
        assert "the client certificate is not accepted: it has expired" in message
    expired = replace(SHOP, method="mtls", expires_at=NOW)
    assert "client certificate has expired" in error_of(lambda: authenticator().renew(expired))
    assert authenticator().renew(replace(expired, expires_at=NOW + 1))


def position_certificate_of(issuer: Authenticator, **changes: str) -> dict[str, str]:
    """Return the headers of a request with a certificate of `KEY` for probe."""
    issued = issuer.issue_certificate("shop", "till", "probe", KEY)
    members = {
        "app": issued.app, "client": issued.client, "position": issued.position,
        "key": issued.key_id, "value": issued.value, **changes,
    }  # fmt: skip
    text = ", ".join(f'{name}="{value}"' for name, value in members.items())
    return {"authorization": f"Certificate {text}"}


def test_certificate_is_for_one_service_and_ends_with_its_key() -> None:
    accepts = authenticator("certificate")
    headers = position_certificate_of(accepts)
    identity = Identity("shop", "k1", frozenset({"probe"}), "certificate", expires_at=NOW + 1)
    assert accepts.identify(head(headers)) == identity
    assert accepts.identify(head(headers)) is accepts.identify(head(headers))  # remembered
    assert accepts.renew(identity) is identity
    bad = position_certificate_of(accepts, client="other")
    assert "the certificate is not accepted: it is of other names" in error_of(
        lambda: accepts.identify(head(bad))
    )
    ended = replace(identity, expires_at=NOW)
    assert "the certificate has expired" in error_of(lambda: accepts.renew(ended))
    with pytest.raises(AseError, match="this key credential is not for ocr"):
        accepts.issue_certificate("shop", "till", "ocr", KEY)


def test_certificate_of_a_key_that_was_revoked_is_not_renewed() -> None:
    keys = ChangingKeys()
    accepts = new_authenticator(
        AuthOptions(methods=["certificate"]), keys=keys, wall_clock=lambda: NOW
    )
    identity = accepts.identify(head(position_certificate_of(accepts)))
    keys.current = KeyTable(HASH_KEY, [stored(KEY, "k1", revoked_at=NOW - 1)])
    assert "not accepted any more: it was revoked" in error_of(lambda: accepts.renew(identity))


def test_gateway_without_certificates_issues_none() -> None:
    with pytest.raises(HttpError, match="no `auth: certificate`") as refused:
        authenticator("key").issue_certificate("shop", "till", "probe", KEY)
    assert refused.value.status == 404
