"""One request from a client to a loader and back: what comes, what is noted, what can be read."""

import base64
import json
import socket
from urllib.parse import urlsplit

from tests.harness import Gateway, Loader, body


def test_an_answer_is_the_envelope(gateway: Gateway, loader: Loader) -> None:
    answer = gateway.call(number=3)
    told = answer.json()
    assert answer.status_code == 200
    assert told["header"] == {
        "code": 0,
        "message": "success",
        "sid": answer.headers["x-ase-request-id"],
    }
    said = told["payload"]["said"]
    assert base64.b64decode(said["text"]) == b"HELLO"
    assert said["status"] == 3, "attributes have the types of the schema"
    assert said["seq"] == 0
    facts = told["payload"]["facts"]
    assert facts["format"] == "json"
    assert facts["text"]["number"] == 3, "JSON is embedded, not encoded"
    assert facts["text"]["sid"] == told["header"]["sid"]


def test_headers_say_what_happened(gateway: Gateway, loader: Loader) -> None:
    headers = gateway.call().headers
    assert headers["x-ase-instance"] == loader.addr
    assert headers["x-ase-attempts"] == "1"
    assert float(headers["x-ase-overhead-ms"]) > 0
    assert float(headers["x-ase-upstream-ms"]) > 0


def test_a_loader_sees_the_envelope_s_header_and_ours(gateway: Gateway, loader: Loader) -> None:
    told = body()
    told["header"] |= {"uid": "u-1", "request_id": "mine"}
    answer = gateway.post(told)
    seen = answer.json()["payload"]["facts"]["text"]["headers"]
    assert seen == {
        "app_id": "tests",
        "status": "3",
        "uid": "u-1",
        "request_id": "mine",
        "sid": answer.headers["x-ase-request-id"],
        "client_ip": "127.0.0.1",
        "service_id": "probe",
        "route": "/v1/private/probe",
    }


def test_defaults_of_the_declaration_reach_the_wrapper(gateway: Gateway, loader: Loader) -> None:
    assert gateway.call().json()["payload"]["facts"]["text"]["number"] == 7
    told = body()
    told["parameter"] = None
    assert gateway.post(told).json()["payload"]["facts"]["text"]["number"] == 7


def test_each_request_is_one_line_without_its_query(gateway: Gateway, loader: Loader) -> None:
    answer = gateway.http.post("/v1/private/probe?token=CANARY", json=body())
    line = gateway.event("request", sid=answer.headers["x-ase-request-id"])
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
    answer = gateway.http.post("/v1/private/a%0d%0a%7b%22level%22:1%7d", json={})
    line = gateway.event("request", sid=answer.headers["x-ase-request-id"])
    assert line["path"] == "/v1/private/a%0d%0a%7b%22level%22:1%7d"


def test_apis_are_listed_with_their_schema(gateway: Gateway, loader: Loader) -> None:
    (line,) = gateway.http.get("/v1/apis").json()["apis"]
    assert line["service"] == "probe"
    assert line["source"] == "report"
    assert line["instances"] == 1
    answer = gateway.http.get(line["schema"])
    assert answer.json()["meta"]["serviceId"] == "probe"
    assert answer.headers["etag"] == f'"{line["digest"]}"'
    again = gateway.http.get(line["schema"], headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


def test_pages_are_logged_and_probes_are_not(gateway: Gateway, loader: Loader) -> None:
    answer = gateway.http.get("/v1/apis?token=CANARY")
    line = gateway.event("request", sid=answer.headers["x-ase-request-id"])
    assert (line["path"], line["status"], line["service"]) == ("/v1/apis", 200, "")
    gateway.http.get("/livez")
    gateway.http.get("/readyz")
    answer = gateway.http.get("/v1/apis/nobody/schema")
    assert gateway.event("request", sid=answer.headers["x-ase-request-id"])["status"] == 404
    assert not [line for line in gateway.lines if line.get("path") in ("/livez", "/readyz")]


def test_live_and_ready(gateway: Gateway) -> None:
    assert gateway.http.get("/livez").status_code == 200
    assert gateway.http.get("/readyz").json() == {"status": "ready"}


def test_admin_tells_state_and_metrics_and_the_public_port_does_not(
    gateway: Gateway, loader: Loader
) -> None:
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
    before = gateway.metrics().count("\n")
    for number in range(50):
        gateway.http.post(f"/v1/private/x{number}", json={})
        gateway.http.get(f"/x{number}")
        gateway.call(act=f"a{number}")
    assert gateway.metrics().count("\n") == before


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, loader: Loader) -> None:
    one = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n"
    where = urlsplit(gateway.url)
    with socket.create_connection((where.hostname, where.port), timeout=30) as sock:
        sock.sendall(one % (b"/livez", b"") + one % (b"/v1/apis", b"connection: close\r\n"))
        answers = b""
        while piece := sock.recv(65536):
            answers += piece
    assert 0 < answers.index(b'"alive"') < answers.index(b'"apis"')
    assert answers.count(b"HTTP/1.1 200 OK") == 2
