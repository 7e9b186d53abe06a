"""Every wrong credential by every way in: unary, events and sockets, in both lanes."""

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway.access import api_key, signature
from gateway.access.identity import Identity
from gateway.access.key_store import KeyEntry, KeyStore
from gateway.access.key_table import StoredKey
from tests.gateway.access.test_tokens import CLAIMS, jwks_document, private_keys
from tests.harness import TIMEOUT_S, Gateway, Loader
from tests.sessions import TALKER
from tests.wire.test_access import talker_envelope

CONFIG = """
auth:
  methods: [key, hmac, jwt]
  jwks: jwks.json
  jwt_issuer: https://id.example.com
  jwt_audience: ase
gateway: {trusted_proxies: [192.0.2.0/24]}
apps: {once: {quota: 1/day}}
"""
PATH = "/v1/private/talker"
BODY = json.dumps(talker_envelope()).encode()


class Ways:
    """A gateway that takes keys, signatures and tokens, and what some callers have."""

    def __init__(self, folder: Path, once_lane: str) -> None:
        (folder / "ase.yaml").write_text(CONFIG)
        (folder / "jwks.json").write_text(json.dumps(jwks_document()))
        self._store = KeyStore(folder / "keys.sqlite")
        self._store.create(b"h" * api_key.HASH_KEY_BYTES)
        now = time.time()
        self.key = self._add("k1")
        self.expired = self._add("k2", expires_at=now - 1)
        self.revoked = self._add("k3", revoked_at=now - 1)
        self.other_service = self._add("k4", services=frozenset({"ocr"}))
        self.unknown = api_key.new_key(random.Random(9).choice)
        identity = Identity("tests", "pair", method="hmac")
        self._store.add(KeyEntry(StoredKey(identity, secret=SECRET), now))
        self.gateway = Gateway(
            "-c", str(folder / "ase.yaml"), "--gateway-once-lane", once_lane
        )  # fmt: skip

    def secrets(self) -> list[str]:
        """Return what no log line, metric or answer may have."""
        return [self.key, self.expired, self.revoked, self.other_service, self.unknown, SECRET]

    def _add(self, key_id: str, services: frozenset[str] = frozenset(), **times: float) -> str:
        text = api_key.new_key(random.Random(key_id).choice)
        identity = Identity("tests", key_id, services, "key")
        key_hash = api_key.key_hash(text, self._store.hash_key())
        self._store.add(KeyEntry(StoredKey(identity, key_hash=key_hash, **times), time.time()))
        return text


SECRET = "s3cret-of-the-pair"  # noqa: S105 (of a test)


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def ways(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ways]:
    ways = Ways(tmp_path_factory.mktemp("ways"), request.param)
    with ways.gateway as gateway, Loader(gateway.lb, TALKER) as talker:
        gateway.wait_until_up(talker)
        gateway.secrets += ways.secrets()
        yield ways
        metrics = gateway.metrics()
        assert not [secret for secret in gateway.secrets if secret in metrics]


class Call:
    """What a row fills in: the headers and the query of one request."""

    def __init__(self, ways: Ways, method: str) -> None:
        self.ways, self.method = ways, method
        self.host = urlsplit(ways.gateway.url).netloc
        self.path = PATH
        self.headers: dict[str, str] = {}
        self.query = ""

    def sign(
        self,
        *,
        path: str = PATH,
        method: str = "",
        body: bytes = BODY,
        names: str = "",
        signed_names: str = "",
        secret: str = SECRET,
        skew: float = 0.0,
    ) -> None:
        """Sign in headers; `names` are said to be signed, `signed_names` are."""
        has_body = self.method == "POST"
        names = names or ("date request-line digest" if has_body else "date request-line")
        date = signature.http_date(time.time() + skew)
        values = {
            "date": f"date: {date}",
            "request-line": f"{method or self.method} {path} HTTP/1.1",
        }
        self.headers["date"] = date
        if has_body:
            digest = signature.digest_header(body)
            self.headers["digest"] = digest
            values["digest"] = f"digest: {digest}"
        text = "\n".join(values[name] for name in (signed_names or names).split() if name in values)
        mac = signature.encode_mac(signature.compute_mac("hmac-sha256", secret, text))
        self.headers["authorization"] = (
            f'hmac username="pair", algorithm="hmac-sha256", headers="{names}", signature="{mac}"'
        )

    def sign_query(self, *, host: str = "", path: str = PATH) -> None:
        """Sign in the query, as clients of the original do."""
        host, date = host or self.host, signature.http_date(time.time())
        text = f"host: {host}\ndate: {date}\n{self.method} {path} HTTP/1.1"
        mac = signature.encode_mac(signature.compute_mac("hmac-sha256", SECRET, text))
        fields = 'api_key="pair", algorithm="hmac-sha256", headers="host date request-line"'
        authorization = signature.encode_mac(f'{fields}, signature="{mac}"'.encode())
        self.query = urlencode({"authorization": authorization, "host": host, "date": date})

    def bearer(self, text: str) -> None:
        self.headers["authorization"] = f"Bearer {text}"

    def token(self, algorithm: str = "RS256", kid: str = "r1", **claims: Any) -> None:
        payload = CLAIMS | {"exp": time.time() + 60, "sub": "tests"} | claims
        self.bearer(jwt.encode(payload, private_keys()["r1"], algorithm, headers={"kid": kid}))

    def forged_token(self, algorithm: str) -> None:
        """A token without a signature, or signed by the public key as if it were a secret."""

        def encode(part: Any) -> str:
            return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

        text = f"{encode({'alg': algorithm, 'kid': 'r1'})}.{encode(CLAIMS | {'sub': 'tests'})}"
        public = (
            private_keys()["r1"]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
        mac = hashlib.sha256(public + text.encode()).digest() if algorithm != "none" else b""
        self.bearer(f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")


def two_credentials(call: Call) -> None:
    call.bearer(call.ways.key)
    call.headers["x-api-key"] = call.ways.key


def path_in_another_form(call: Call) -> None:
    call.sign()
    call.path = quote(PATH, safe="/").replace("talker", "%74alker")


def consumer_of_a_stranger(call: Call) -> None:
    call.headers["x-consumer-username"] = "tests"


Row = tuple[Callable[[Call], None], int, str]
ROWS: dict[str, Row] = {
    "nothing": (lambda call: None, 401, "no credential"),
    "wrong key": (lambda call: call.bearer(call.ways.unknown), 401, "it is not known here"),
    "expired key": (lambda call: call.bearer(call.ways.expired), 401, "it has expired"),
    "revoked key": (lambda call: call.bearer(call.ways.revoked), 401, "it was revoked"),
    "truncated key": (lambda call: call.bearer(call.ways.key[:-1]), 401, "45 characters"),
    "mistyped key": (lambda call: call.bearer(call.ways.key[:-1] + "!"), 401, "not accepted"),
    "key without the service": (lambda call: call.bearer(call.ways.other_service), 403, "not for"),
    "two credentials": (two_credentials, 401, "two credentials"),
    "another scheme": (lambda call: call.headers.update(authorization="Basic eA=="), 401, "takes"),
    "signed path": (lambda call: call.sign(path="/v1/private/probe"), 401, "another request"),
    "signed method": (lambda call: call.sign(method="PUT"), 401, "another request"),
    "signed host": (lambda call: call.sign_query(host="evil.example"), 401, "host"),
    "signed query path": (lambda call: call.sign_query(path="/v1/private/x"), 401, "another"),
    "order of headers": (
        lambda call: call.sign(
            names="request-line date digest" if call.method == "POST" else "request-line date",
            signed_names="date request-line digest",
        ),
        401,
        "another request",
    ),
    "header not in the list": (lambda call: call.sign(names="date"), 401, "does not cover"),
    "header not in the request": (
        lambda call: call.sign(
            names=f"date request-line {'digest ' if call.method == 'POST' else ''}x-nonce"
        ),
        401,
        "which the request does not have",
    ),
    "clock behind": (lambda call: call.sign(skew=-1000), 401, "s behind this gateway's clock"),
    "clock ahead": (lambda call: call.sign(skew=1000), 401, "s ahead of this gateway's clock"),
    "wrong secret": (lambda call: call.sign(secret="other"), 401, "another secret"),
    "path in another form": (path_in_another_form, 401, "another request"),
    "alg none": (lambda call: call.forged_token("none"), 401, "the token is not accepted"),
    "public key as secret": (lambda call: call.forged_token("HS256"), 401, "not accepted"),
    "unknown kid": (lambda call: call.token(kid="r9"), 401, "the token is not accepted"),
    "wrong aud": (lambda call: call.token(aud="other"), 401, "the token is not accepted"),
    "wrong iss": (lambda call: call.token(iss="https://evil"), 401, "the token is not accepted"),
    "expired token": (lambda call: call.token(exp=time.time() - 99), 401, "not accepted"),
    "token before its time": (lambda call: call.token(nbf=time.time() + 99), 401, "not accepted"),
    "consumer of a stranger": (consumer_of_a_stranger, 401, "no credential"),
}  # fmt: skip
GOOD: dict[str, Callable[[Call], None]] = {
    "key": lambda call: call.bearer(call.ways.key),
    "signature": lambda call: call.sign(),
    "signature in the query": lambda call: call.sign_query(),
    "token": lambda call: call.token(),
}


def post(call: Call, accept: str) -> httpx.Response:
    url = f"{call.path}?{call.query}" if call.query else call.path
    headers = {**call.headers, "content-type": "application/json", "accept": accept}
    return call.ways.gateway.http.post(url, content=BODY, headers=headers)


def by_unary(call: Call) -> tuple[int, int, str]:
    """Return status, code and message of the answer."""
    header = (response := post(call, "application/json")).json()["header"]
    return response.status_code, header["code"], header["message"]


def by_events(call: Call) -> tuple[int, int, str]:
    response = post(call, "text/event-stream")
    if response.status_code == 200:
        assert "event: end" in response.text
        return 200, 0, ""
    return response.status_code, response.json()["header"]["code"], response.text


def by_socket(call: Call) -> tuple[int, int, str]:
    url = call.ways.gateway.url.replace("http", "ws", 1) + call.path
    url += f"?{call.query}" if call.query else ""
    try:
        with connect(
            url, additional_headers=call.headers, proxy=None, open_timeout=TIMEOUT_S
        ) as ws:
            ws.send(BODY.decode())
            return 200, json.loads(ws.recv(TIMEOUT_S))["header"]["code"], ""
    except InvalidStatus as error:
        header = json.loads(error.response.body)["header"]
        return error.response.status_code, header["code"], header["message"]


WAYS = {"unary": ("POST", by_unary), "events": ("POST", by_events), "socket": ("GET", by_socket)}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ROWS)
def test_wrong_credential(ways: Ways, name: str, way: str) -> None:
    fill_in, status, message = ROWS[name]
    method, send = WAYS[way]
    call = Call(ways, method)
    fill_in(call)
    answer = send(call)
    assert answer[:2] == (status, 10105 if status == 401 else 11200)
    assert message in answer[2]
    assert not [secret for secret in ways.secrets() if secret in answer[2]]


@pytest.mark.parametrize("way", ["events", "socket"])
@pytest.mark.parametrize("name", GOOD)
def test_good_credential(ways: Ways, name: str, way: str) -> None:
    method, send = WAYS[way]
    call = Call(ways, method)
    GOOD[name](call)
    assert send(call) == (200, 0, "")
    if name.startswith("signature"):
        status, code, message = send(call)
        assert (status, code) == (401, 10105)
        assert "it was used before" in message


def test_quota_that_is_used_up_ends_only_what_begins_then(ways: Ways) -> None:
    """On one socket: the first session goes on; the second has an error of its own."""
    call = Call(ways, "GET")
    call.token(sub="once")
    url = ways.gateway.url.replace("http", "ws", 1) + f"{PATH}?stream_mode=multiplex"
    with connect(url, additional_headers=call.headers, proxy=None, open_timeout=TIMEOUT_S) as ws:

        def send(cid: str, status: int) -> None:
            envelope = talker_envelope()
            envelope["header"] = {"app_id": "once", "cid": cid, "status": status}
            ws.send(json.dumps(envelope))

        def receive(cid: str) -> dict[str, Any]:
            while True:
                header: dict[str, Any] = json.loads(ws.recv(TIMEOUT_S))["header"]
                if header.get("cid") == cid:
                    return header

        send("first", 0)
        assert receive("first")["code"] == 0
        send("second", 0)
        assert receive("second")["code"] == 11201
        send("first", 2)
        header = receive("first")
        while header["status"] != 2:
            header = receive("first")
        assert header["code"] == 0
