"""Who may call, with real processes: every credential, by every way in, and keys that change."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from gateway.access import signature
from schemas.wire import InferRequest, InferResponse
from tests.harness import TIMEOUT_S, Gateway, Loader, make_envelope, run_asectl
from tests.requests import signed_query
from tests.sessions import TALKER


class Guarded:
    """A gateway that takes keys and signatures, with two loaders and some keys."""

    def __init__(self, folder: Path, once_lane: str, config: str = "auth: [key, hmac]\n") -> None:
        self.folder = folder
        (folder / "ase.yaml").write_text(config)
        self.key = self.new_key("--app", "tests")
        self.probe_key = self.new_key("--app", "tests", "--services", "probe,ocr")
        pair = self.new_key("--app", "tests", "--hmac")
        lines = dict(line.split("=", 1) for line in pair.splitlines())
        self.pair = (lines["api_key"], lines["api_secret"])
        self.gateway = Gateway(
            "-c", str(folder / "ase.yaml"), "--gateway-once-lane", once_lane,
            "--gateway-grpc", "true", "--gateway-grpc-port", "0",
        )  # fmt: skip

    def serve(self) -> Iterator["Guarded"]:
        """Yield this while the gateway and two loaders serve."""
        with (
            self.gateway as gateway,
            Loader(gateway.lb) as probe,
            Loader(gateway.lb, TALKER) as talker,
        ):
            gateway.wait_until_up(probe)
            gateway.wait_until_up(talker)
            gateway.secrets += [self.key, self.probe_key, self.pair[1]]
            yield self
            metrics = gateway.metrics()
            assert not [secret for secret in gateway.secrets if secret in metrics]

    def asectl(self, *args: str) -> str:
        result = run_asectl(*args, "-c", str(self.folder / "ase.yaml"))
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    def new_key(self, *args: str) -> str:
        return self.asectl("key", "create", *args)

    def add_key(self, *args: str) -> str:
        """Return a new key that the gateway has read."""
        key = self.new_key(*args)
        keys = json.loads(self.asectl("key", "list", "-o", "json"))
        self.gateway.wait_for_event("keys changed", keys=len(keys))
        self.gateway.secrets.append(key)
        return key

    def post(self, service: str = "probe", **headers: str) -> httpx.Response:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gateway.post(make_envelope(service), service, headers=fields)


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def guarded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    guarded = Guarded(tmp_path_factory.mktemp("guarded"), request.param)
    yield from guarded.serve()


def test_key_opens_the_service_and_nothing_else_does(guarded: Guarded) -> None:
    bearer = f"Bearer {guarded.key}"
    for _ in range(3):  # the third one is a cached head
        assert guarded.post(authorization=bearer).status_code == 200
        refused = guarded.post()
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="ase", hmac realm="ase"'
    header = refused.json()["header"]
    assert (header["code"], header["sid"]) == (10105, refused.headers["x-ase-request-id"])
    assert "an API key (Authorization: Bearer ase_..., or X-Api-Key)" in header["message"]


def test_unknown_service_is_not_told_to_strangers(guarded: Guarded) -> None:
    assert guarded.post("nothing").status_code == 401
    assert guarded.post("nothing", x_api_key=guarded.key).status_code == 404


def test_key_of_other_services(guarded: Guarded) -> None:
    assert guarded.post(x_api_key=guarded.probe_key).status_code == 200
    refused = guarded.post("talker", x_api_key=guarded.probe_key)
    assert (refused.status_code, refused.json()["header"]["code"]) == (403, 11200)


def test_key_speaks_for_its_application_alone(guarded: Guarded) -> None:
    envelope = make_envelope() | {"header": {"app_id": "other", "status": 3}}
    refused = guarded.gateway.post(envelope, headers={"apikey": guarded.key})
    assert (refused.status_code, refused.json()["header"]["code"]) == (403, 10313)


def test_plain_requests_need_no_app_id_with_a_key(guarded: Guarded) -> None:
    url, fields = "/v1/probe", {"text": "hi"}
    problem = guarded.gateway.http.post(url, json=fields)
    assert (problem.status_code, problem.json()["code"]) == (401, 10105)
    assert problem.headers["content-type"] == "application/problem+json"
    headers = {"x-api-key": guarded.key, "accept": "application/json"}
    assert guarded.gateway.http.post(url, json=fields, headers=headers).status_code == 200
    headers["x-app-id"] = "other"
    assert guarded.gateway.http.post(url, json=fields, headers=headers).status_code == 403


def talker_envelope() -> dict[str, Any]:
    return {
        "header": {"app_id": "tests", "status": 3},
        "parameter": {"talker": {"act": "flood", "many": 2}},
        "payload": {"text": {"text": "aGVsbG8="}},
    }


def test_events(guarded: Guarded) -> None:
    headers = {"accept": "text/event-stream"}
    refused = guarded.gateway.post(talker_envelope(), "talker", headers=headers)
    assert (refused.status_code, refused.headers["content-type"]) == (401, "application/json")
    headers["x-api-key"] = guarded.key
    response = guarded.gateway.post(talker_envelope(), "talker", headers=headers)
    assert response.text.count("event: end") == 1


def open_socket(guarded: Guarded, query: str = "", **headers: str) -> Any:
    url = guarded.gateway.url.replace("http", "ws", 1) + "/v1/private/talker"
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return connect(
        url + (f"?{query}" if query else ""),
        open_timeout=TIMEOUT_S,
        proxy=None,
        additional_headers=fields,
    )


def test_socket(guarded: Guarded) -> None:
    for headers, status in (({}, 401), ({"x_api_key": guarded.probe_key}, 403)):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(guarded, **headers)
        assert caught.value.response.status_code == status
    with open_socket(guarded, authorization=f"Bearer {guarded.key}") as ws:
        ws.send(json.dumps(talker_envelope()))
        assert json.loads(ws.recv(TIMEOUT_S))["header"]["code"] == 0


def test_socket_speaks_for_the_application_of_its_key(guarded: Guarded) -> None:
    envelope = talker_envelope()
    envelope["header"]["app_id"] = "other"
    with open_socket(guarded, x_api_key=guarded.key) as ws:
        ws.send(json.dumps(envelope))
        assert json.loads(ws.recv(TIMEOUT_S))["header"]["code"] == 10313


def query_signature(guarded: Guarded, path: str, method: str) -> str:
    return signed_query(guarded.gateway.url + path, method, *guarded.pair)


def test_signed_socket_is_opened_once(guarded: Guarded) -> None:
    query = query_signature(guarded, "/v1/private/talker", "GET")
    with open_socket(guarded, query) as ws:
        ws.send(json.dumps(talker_envelope()))
        assert json.loads(ws.recv(TIMEOUT_S))["header"]["code"] == 0
    for wrong in (query, query.replace("authorization=", "authorization=A")):
        with pytest.raises(InvalidStatus) as caught:
            open_socket(guarded, wrong)
        assert caught.value.response.status_code == 401


def test_signed_request(guarded: Guarded) -> None:
    key, secret = guarded.pair
    body = json.dumps(make_envelope()).encode()
    date, digest = signature.http_date(time.time()), signature.digest_header(body)
    text = f"date: {date}\nPOST /v1/private/probe HTTP/1.1\ndigest: {digest}"
    mac = signature.encode_mac(signature.compute_mac("hmac-sha256", secret, text))
    headers = {
        "date": date,
        "digest": digest,
        "content-type": "application/json",
        "authorization": f'hmac username="{key}", algorithm="hmac-sha256", '
        f'headers="date request-line digest", signature="{mac}"',
    }

    def send(content: bytes) -> httpx.Response:
        return guarded.gateway.http.post("/v1/private/probe", content=content, headers=headers)

    tampered = send(body.replace(b"hello", b"HELLO") + b" ")
    assert (tampered.status_code, tampered.json()["header"]["code"]) == (401, 10105)
    assert "`Digest` is not that of" in tampered.text
    replayed = send(body)
    assert replayed.status_code == 401
    assert "was used before" in replayed.text


def test_grpc_call(guarded: Guarded) -> None:
    with grpc.insecure_channel(guarded.gateway.grpc) as channel:
        infer = channel.unary_unary(
            "/ase.v1.Gateway/Infer", InferRequest.SerializeToString, InferResponse.FromString
        )
        request = InferRequest(service="probe")
        request.members["text"].text = "hi"
        with pytest.raises(grpc.RpcError) as caught:
            infer(request, timeout=TIMEOUT_S)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {guarded.key}")]
        assert infer(request, timeout=TIMEOUT_S, metadata=metadata).members


def test_refused_request_with_a_large_body_ends_in_order(guarded: Guarded) -> None:
    """The body of a stranger is read and dropped, or the connection ends: no desync."""
    address = urlsplit(guarded.gateway.url)
    body = b'{"header": 1' + b" " * 200_000
    head = b"POST /v1/private/probe HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(request + b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        received = b""
        while data := sock.recv(65536):
            received += data
    assert received.startswith(b"HTTP/1.1 401 ")
    assert received.count(b"HTTP/1.1 ") == 2
    assert b'{"status":"alive"}' in received


def test_new_and_revoked_keys_take_effect_while_it_serves(guarded: Guarded) -> None:
    key = guarded.add_key("--app", "tests", "--comment", "for a while")
    assert guarded.post(x_api_key=key).status_code == 200
    keys = json.loads(guarded.asectl("key", "list", "-o", "json"))
    (key_id,) = [row["id"] for row in keys if row["comment"] == "for a while"]
    guarded.asectl("key", "revoke", key_id)
    guarded.gateway.wait_for_event("keys changed", revoked=1)
    response = guarded.post(x_api_key=key)
    assert (response.status_code, "it was revoked" in response.text) == (401, True)
    (guarded.folder / "keys.sqlite").write_bytes(b"half a file")
    guarded.gateway.wait_for_event("keys not read; the last ones stay valid")
    assert guarded.post(x_api_key=guarded.key).status_code == 200


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def limited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guarded]:
    """A gateway whose services have limits, and two keys with limits of their own."""
    guarded = Guarded(
        tmp_path_factory.mktemp("limited"),
        request.param,
        "auth: [key, hmac]\nservices: {talker: {concurrency: 1}}\napps: {busy: {quota: 3/day}}\n",
    )
    yield from guarded.serve()


def test_rate_of_a_key(limited: Guarded) -> None:
    key = limited.add_key("--app", "tests", "--rps", "0.001", "--burst", "3")
    responses = [limited.post(x_api_key=key) for _ in range(5)]
    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    left = [response.headers["ratelimit"].partition(";t=")[0] for response in responses]
    assert left == [f'"rate";r={n}' for n in (2, 1, 0, 0, 0)]
    refused = responses[-1]
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.json()["header"]["code"] == 11202
    assert 0 < int(refused.headers["retry-after"]) <= 1000
    assert refused.headers["ratelimit-policy"] == '"rate";q=3;w=3000'
    plain = limited.gateway.http.post("/v1/probe", json={"text": "x"}, headers={"apikey": key})
    assert (plain.status_code, plain.json()["code"]) == (429, 11202)
    assert limited.post(x_api_key=limited.key).status_code == 200


def test_largest_body_of_a_key(limited: Guarded) -> None:
    content = json.dumps(make_envelope()).encode()
    headers = {"x-api-key": limited.add_key("--app", "tests", "--max-body", str(len(content)))}
    path, fields = "/v1/private/probe", {**headers, "content-type": "application/json"}
    http = limited.gateway.http
    assert http.post(path, content=content, headers=fields).status_code == 200
    for larger in (content + b" ", iter([content, b" "])):  # with a length, and in chunks
        refused = http.post(path, content=larger, headers=fields)
        assert refused.status_code == 413
        assert f"larger than {len(content)} bytes" in refused.text
    assert http.post(path, content=content, headers=fields).status_code == 200


def test_quota_of_an_application(limited: Guarded) -> None:
    key = limited.add_key("--app", "busy")
    envelope = make_envelope() | {"header": {"app_id": "busy", "status": 3}}
    headers = {"x-api-key": key}
    statuses = [limited.gateway.post(envelope, headers=headers).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = limited.gateway.post(envelope, headers=headers)
    assert refused.json()["header"]["code"] == 11201
    assert int(refused.headers["retry-after"]) <= 86_400


def test_sessions_of_a_service_count_until_they_end(limited: Guarded) -> None:
    envelope = talker_envelope()
    envelope["header"]["status"] = 0
    headers = {"accept": "text/event-stream", "x-api-key": limited.key}

    def refused_by_events() -> dict[str, Any]:
        response = limited.gateway.post(talker_envelope(), "talker", headers=headers)
        result: dict[str, Any] = response.json()["header"] | {"status": response.status_code}
        return result

    with open_socket(limited, x_api_key=limited.key) as first:
        first.send(json.dumps(envelope))
        first.recv(TIMEOUT_S)
        assert refused_by_events()["code"] == 11203
        assert refused_by_events()["status"] == 429
        with open_socket(limited, x_api_key=limited.key) as second:
            second.send(json.dumps(talker_envelope()))
            assert json.loads(second.recv(TIMEOUT_S))["header"]["code"] == 11203
        envelope["header"] = {"app_id": "tests", "status": 2}
        first.send(json.dumps(envelope))
        for _ in first:
            pass  # until it is closed
    response = limited.gateway.post(talker_envelope(), "talker", headers=headers)
    assert "event: end" in response.text


def forwarded_address(guarded: Guarded, forwarded_for: str, times: int = 1) -> str:
    """Return the client's address in the access log of a request that a proxy forwards."""
    for _ in range(times):
        response = guarded.post(x_api_key=guarded.key, x_forwarded_for=forwarded_for)
        assert response.status_code == 200
    record = guarded.gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])
    assert record["key"].startswith("k")
    address: str = record["client"]
    return address


def test_client_behind_a_trusted_proxy_is_logged(guarded: Guarded) -> None:
    """Also where the rest of the head is cached."""
    for number in range(5):
        address = f"203.0.113.{number}"
        assert forwarded_address(guarded, f"1.1.1.1, {address}") == address
    assert forwarded_address(guarded, "not an address", 3) == "127.0.0.1"


@pytest.mark.parametrize("lane", ["true", "false"])
def test_client_of_forwarded_where_that_counts(tmp_path: Path, lane: str) -> None:
    """What the client wrote into the other header counts for nothing."""
    config = "auth: [key, hmac]\ngateway: {client_header: forwarded}\n"
    guarded = Guarded(tmp_path, lane, config)
    with guarded.gateway as gateway, Loader(gateway.lb) as probe:
        gateway.wait_until_up(probe)
        for number in range(4):  # the last ones have cached heads
            fields = {"forwarded": f"for=203.0.113.{number}", "x-forwarded-for": "1.1.1.1"}
            response = guarded.post(authorization=f"Bearer {guarded.key}", **fields)
            sid = response.headers["x-ase-request-id"]
            line = gateway.wait_for_event("request", sid=sid)
            assert line["client"] == f"203.0.113.{number}"


def test_stranger_cannot_pretend_to_be_forwarded(tmp_path: Path) -> None:
    config = "auth: [key, hmac]\ngateway: {trusted_proxies: [192.0.2.0/24]}\n"
    guarded = Guarded(tmp_path, "true", config)
    with guarded.gateway as gateway, Loader(gateway.lb) as probe:
        gateway.wait_until_up(probe)
        assert forwarded_address(guarded, "203.0.113.9", 3) == "127.0.0.1"


def test_revoked_key_begins_no_session_on_an_open_socket(tmp_path: Path) -> None:
    own = Guarded(tmp_path, "true")
    with own.gateway as gateway, Loader(gateway.lb, TALKER) as talker:
        gateway.wait_until_up(talker)
        envelope = talker_envelope()
        with open_socket(own, "stream_mode=multiplex", x_api_key=own.key) as ws:
            for cid, code in (("a", 0), ("b", 10105)):
                envelope["header"]["cid"] = cid
                ws.send(json.dumps(envelope))
                answer = json.loads(ws.recv(TIMEOUT_S))
                while answer["header"].get("cid") != cid:
                    answer = json.loads(ws.recv(TIMEOUT_S))
                assert answer["header"]["code"] == code
                if cid == "a":
                    rows = json.loads(own.asectl("key", "list", "-o", "json"))
                    own.asectl("key", "revoke", rows[0]["id"])
                    gateway.wait_for_event("keys changed", revoked=1)


def test_signature_in_the_query_of_plain_requests(guarded: Guarded) -> None:
    query = query_signature(guarded, "/v1/probe", "POST")
    url, fields = f"/v1/probe?{query}", {"text": "hi"}
    accept = {"accept": "application/json"}
    response = guarded.gateway.http.post(url, json=fields, headers=accept)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "authorization",
    [
        'hmac username="a", algorithm="hmac-sha256", headers="date request-line digest '
        + "a " * 1900
        + '", signature="YQ=="',
        'hmac username="a", algorithm="hmac-sha256", headers="date digest", signature="YQ=="',
        "hmac " + "x" * 30_000,
    ],
    ids=["repeated names", "odd date", "long"],
)
def test_odd_signatures_are_refused_at_once_and_are_no_fault_of_ours(
    guarded: Guarded, authorization: str
) -> None:
    headers = {
        "authorization": authorization,
        "a": "x" * 1000,
        "date": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "digest": "SHA-256=YQ==",
    }
    response = guarded.gateway.post(make_envelope(), headers=headers)
    assert (response.status_code, response.json()["header"]["code"]) == (401, 10105)
    assert float(response.headers["x-ase-overhead-ms"]) < 100
    with pytest.raises(InvalidStatus) as caught:
        open_socket(guarded, **headers)
    assert caught.value.response.status_code == 401


def test_path_is_signed_as_it_was_sent(guarded: Guarded) -> None:
    sent, other = "/v1/private/pr%6fbe", "/v1/private/probe"
    query = query_signature(guarded, sent, "POST")
    response = guarded.gateway.http.post(f"{sent}?{query}", json=make_envelope())
    assert response.status_code == 200, response.text
    query = query_signature(guarded, other, "POST") + "&x=1"
    assert guarded.gateway.http.post(f"{sent}?{query}", json=make_envelope()).status_code == 401


def test_address_is_read_from_any_form_of_the_header(guarded: Guarded) -> None:
    address = urlsplit(guarded.gateway.url)
    body = json.dumps(make_envelope()).encode()
    head = (
        f"POST /v1/private/probe HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        f"X-Api-Key: {guarded.key}\r\nX-Forwarded-For:203.0.113.77\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((address.hostname, address.port), timeout=TIMEOUT_S) as sock:
        for _ in range(4):
            sock.sendall(head + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += sock.recv(65536)
            sid = answer.partition(b"x-ase-request-id: ")[2][:32].decode()
            record = guarded.gateway.wait_for_event("request", sid=sid)
            assert record["client"] == "203.0.113.77"
