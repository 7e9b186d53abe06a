"""One request from a client to a loader and back: what comes, what is noted, what can be read."""

import base64
import json
import socket
from urllib.parse import urlsplit

import pytest

from tests.harness import Gateway, Loader, make_envelope
from tests.requests import valid_request


def test_response_is_an_envelope(gateway: Gateway, loader: Loader) -> None:
    response = gateway.call(number=3)
    envelope = response.json()
    assert response.status_code == 200
    assert envelope["header"] == {
        "code": 0,
        "message": "success",
        "sid": response.headers["x-ase-request-id"],
    }
    output = envelope["payload"]["said"]
    assert base64.b64decode(output["text"]) == b"HELLO"
    assert output["status"] == 3, "attributes have the types of the schema"
    assert output["seq"] == 0
    facts_output = envelope["payload"]["facts"]
    assert facts_output["format"] == "json"
    assert facts_output["text"]["number"] == 3, "JSON is embedded, not encoded"
    assert facts_output["text"]["sid"] == envelope["header"]["sid"]


def test_response_headers_describe_the_call(gateway: Gateway, loader: Loader) -> None:
    headers = gateway.call().headers
    assert headers["x-ase-instance"] == loader.addr
    assert headers["x-ase-attempts"] == "1"
    assert float(headers["x-ase-overhead-ms"]) > 0
    assert float(headers["x-ase-upstream-ms"]) > 0


def test_loader_receives_envelope_header_and_gateway_fields(
    gateway: Gateway, loader: Loader
) -> None:
    envelope = make_envelope()
    envelope["header"] |= {"uid": "u-1", "request_id": "mine"}
    response = gateway.post(envelope)
    seen = response.json()["payload"]["facts"]["text"]["headers"]
    assert seen == {
        "app_id": "tests",
        "status": "3",
        "uid": "u-1",
        "request_id": "mine",
        "sid": response.headers["x-ase-request-id"],
        "client_ip": "127.0.0.1",
        "service_id": "probe",
        "route": "/v1/private/probe",
    }


def test_tracing_headers_of_each_request_reach_the_loader(gateway: Gateway, loader: Loader) -> None:
    """A client repeats its head but for these lines; the cache of heads must not repeat them."""
    seen = []
    for number in range(5):
        parent = f"00-{number:032x}-00f067aa0ba902b7-01"
        headers = {"traceparent": parent, "tracestate": f"a={number}", "x-request-id": f"r{number}"}
        response = gateway.post(make_envelope(), headers=headers)
        received = response.json()["payload"]["facts"]["text"]["headers"]
        seen.append({name: received.get(name) for name in headers} == headers)
    assert seen == [True] * 5
    for headers in ({"x-request-id": "alone"}, {}):
        for _ in range(3):
            response = gateway.post(make_envelope(), headers=headers)
            received = response.json()["payload"]["facts"]["text"]["headers"]
            assert received.get("x-request-id") == headers.get("x-request-id")
            assert "traceparent" not in received
            assert "tracestate" not in received


@pytest.mark.parametrize(
    "line", [b"X-Request-Id:abc", b"X-Request-Id:  abc", b"x-request-id: abc "]
)
def test_tracing_headers_in_odd_spelling_reach_the_loader_each_time(
    gateway: Gateway, loader: Loader, line: bytes
) -> None:
    """They are part of the key of the cached head."""
    request = valid_request().replace(b"Host: a\r\n", b"Host: a\r\n" + line + b"\r\n", 1)
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        for _ in range(3):
            sock.sendall(request)
            response = b""
            while not response.endswith(b"}}}"):
                response += sock.recv(65536)
            assert b'"x-request-id":"abc"' in response


def test_declared_defaults_reach_the_wrapper(gateway: Gateway, loader: Loader) -> None:
    assert gateway.call().json()["payload"]["facts"]["text"]["number"] == 7
    envelope = make_envelope()
    envelope["parameter"] = None
    assert gateway.post(envelope).json()["payload"]["facts"]["text"]["number"] == 7


def test_each_request_is_one_line_without_its_query(gateway: Gateway, loader: Loader) -> None:
    response = gateway.http.post("/v1/private/probe?token=CANARY", json=make_envelope())
    line = gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])
    assert "CANARY" not in json.dumps(gateway.lines)
    assert line["service"] == "probe"
    assert line["path"] == "/v1/private/probe"
    assert line["instance"] == loader.addr
    assert line["status"] == 200
    assert line["code"] == 0
    assert line["attempts"] == 1
    assert line["total_ms"] >= line["upstream_ms"] > 0
    assert line["overhead_ms"] > 0
    assert gateway.count("request", sid=line["sid"]) == 1


def test_a_request_s_target_cannot_write_log_lines(gateway: Gateway, loader: Loader) -> None:
    response = gateway.http.post("/v1/private/a%0d%0a%7b%22level%22:1%7d", json={})
    line = gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])
    assert line["path"] == "/v1/private/a%0d%0a%7b%22level%22:1%7d"


def test_apis_are_listed_with_their_schema(gateway: Gateway, loader: Loader) -> None:
    (line,) = gateway.http.get("/v1/apis").json()["apis"]
    assert line["service"] == "probe"
    assert line["source"] == "report"
    assert line["instances"] == 1
    response = gateway.http.get(line["schema"])
    assert response.json()["meta"]["serviceId"] == "probe"
    assert response.headers["etag"] == f'"{line["digest"]}"'
    not_modified = gateway.http.get(
        line["schema"], headers={"if-none-match": response.headers["etag"]}
    )
    assert not_modified.status_code == 304


def test_pages_are_logged_and_probes_are_not(gateway: Gateway, loader: Loader) -> None:
    response = gateway.http.get("/v1/apis?token=CANARY")
    line = gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])
    assert (line["path"], line["status"], line["service"]) == ("/v1/apis", 200, "")
    gateway.http.get("/livez")
    gateway.http.get("/readyz")
    response = gateway.http.get("/v1/apis/nobody/schema")
    assert (
        gateway.wait_for_event("request", sid=response.headers["x-ase-request-id"])["status"] == 404
    )
    assert not [line for line in gateway.lines if line.get("path") in ("/livez", "/readyz")]


def test_live_and_ready(gateway: Gateway) -> None:
    assert gateway.http.get("/livez").status_code == 200
    assert gateway.http.get("/readyz").json() == {"status": "ready"}


def test_state_and_metrics_are_on_the_admin_port_only(gateway: Gateway, loader: Loader) -> None:
    gateway.call()
    line = next(line for line in gateway.state() if line["instance"] == loader.addr)
    assert line["state"] == "up"
    assert line["schema_active"] is True
    text = gateway.metrics()
    assert 'ase_requests_total{code="0",service="probe",status="200"}' in text
    assert 'ase_lb_instances{service="probe",state="up"} 1.0' in text
    for path in ("/metrics", "/lb/state", "/docs/x"):
        assert gateway.http.get(path).status_code == 404


def test_random_paths_add_no_series(gateway: Gateway, loader: Loader) -> None:
    gateway.http.post("/v1/private/x", json={})
    gateway.http.get("/x")
    gateway.call(act="nonsense")
    before = request_series(gateway)
    for number in range(50):
        gateway.http.post(f"/v1/private/x{number}", json={})
        gateway.http.get(f"/x{number}")
        gateway.call(act=f"a{number}")
    assert request_series(gateway) == before


def request_series(gateway: Gateway) -> list[str]:
    """Return the series but those of instances, which change state when the machine is slow."""
    lines = gateway.metrics().splitlines()
    return sorted(
        line.rpartition(" ")[0] for line in lines if not line.startswith(("#", "ase_lb_"))
    )


def test_pipelined_responses_come_in_order(gateway: Gateway, loader: Loader) -> None:
    request_format = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    address = urlsplit(gateway.url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        sock.sendall(
            request_format % (b"/livez", b"")
            + request_format % (b"/v1/apis", b"connection: close\r\n")
        )
        responses = b""
        while piece := sock.recv(65536):
            responses += piece
    assert 0 < responses.index(b'"alive"') < responses.index(b'"apis"')
    assert responses.count(b"HTTP/1.1 200 OK") == 2
