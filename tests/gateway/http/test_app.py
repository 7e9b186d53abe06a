"""The pages and routes that Starlette serves, and the errors outside of them."""

import gzip
import json

import pytest

from gateway.http.app import Readiness
from tests.inprocess import InProcessGateway
from tests.requests import GET, LAST, read_all, statuses_of


def fetch(gateway: InProcessGateway, path: str, *lines: str, method: str = "GET") -> bytes:
    with gateway.connect() as sock:
        head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines, "", ""]
        sock.sendall("\r\n".join(head).encode())
        return read_all(sock)


def body_of(response: bytes) -> bytes:
    return response.partition(b"\r\n\r\n")[2]


def test_list_of_services(gateway: InProcessGateway) -> None:
    apis = json.loads(body_of(fetch(gateway, "/v1/apis")))["apis"]
    assert [api["service"] for api in apis] == ["probe", "talker"]
    assert apis[1]["streams"] is True
    assert apis[0]["route"] == "/v1/private/probe"
    assert apis[0]["instances"] == 1


def test_schema_is_not_sent_again_to_a_client_that_has_it(gateway: InProcessGateway) -> None:
    response = fetch(gateway, "/v1/apis/probe/schema")
    (etag,) = [line[6:] for line in response.split(b"\r\n") if line.startswith(b"etag: ")]
    assert json.loads(body_of(response))["meta"]["serviceId"] == "probe"
    again = fetch(gateway, "/v1/apis/probe/schema", f"If-None-Match: {etag.decode()}")
    assert statuses_of(again) == [304]
    assert body_of(again) == b""


def test_openapi_documents(gateway: InProcessGateway) -> None:
    def service_paths(path: str) -> set[str]:
        document = json.loads(body_of(fetch(gateway, path)))
        return {path for path in document["paths"] if path.startswith("/v1/private/")}

    assert service_paths("/openapi.json") == {"/v1/private/probe", "/v1/private/talker"}
    assert service_paths("/v1/apis/probe/openapi.json") == {"/v1/private/probe"}


@pytest.mark.parametrize("path", ["/v1/apis/nobody/schema", "/v1/apis/nobody/openapi.json"])
def test_pages_of_an_unknown_service_are_404(gateway: InProcessGateway, path: str) -> None:
    response = fetch(gateway, path)
    assert statuses_of(response) == [404]
    assert json.loads(body_of(response))["header"]["code"] == 10225


def test_docs_page_loads_nothing_from_elsewhere(gateway: InProcessGateway) -> None:
    response = fetch(gateway, "/docs")
    assert statuses_of(response) == [200]
    assert b"content-security-policy: default-src 'self'" in response
    script = fetch(gateway, "/docs/swagger-ui-bundle.js", "Accept-Encoding: gzip")
    assert b"content-encoding: gzip\r\n" in script
    assert gzip.decompress(body_of(script)) == body_of(fetch(gateway, "/docs/swagger-ui-bundle.js"))


@pytest.mark.parametrize(
    ("name", "status"),
    [("nothing.js", 404), ("..%2fpages.py", 400), ("pages.py", 404), ("index", 404)],
)
def test_other_files_are_not_served(gateway: InProcessGateway, name: str, status: int) -> None:
    assert statuses_of(fetch(gateway, f"/docs/{name}")) == [status]


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nowhere", "GET", 404),
        ("/v1/private/probe", "GET", 405),
        ("/v1/apis", "POST", 405),
        ("/livez/", "GET", 404),
    ],
)
def test_errors_outside_of_the_routes_have_an_envelope(
    gateway: InProcessGateway, path: str, method: str, status: int
) -> None:
    response = fetch(gateway, path, method=method)
    assert statuses_of(response) == [status]
    header = json.loads(body_of(response))["header"]
    assert header["code"] != 0
    assert json.loads(gateway.lines[-1])["sid"] == header["sid"]


def test_pages_are_logged_with_their_status(gateway: InProcessGateway) -> None:
    fetch(gateway, "/v1/apis")
    line = json.loads(gateway.lines[-1])
    assert (line["path"], line["status"], line["code"]) == ("/v1/apis", 200, 0)


def test_gateway_is_unready_while_it_drains(gateway: InProcessGateway) -> None:
    assert statuses_of(fetch(gateway, "/readyz")) == [200]
    gateway.readiness.drain_state.draining = True
    response = fetch(gateway, "/readyz")
    assert statuses_of(response) == [503]
    assert json.loads(body_of(response))["reason"] == "draining"
    assert statuses_of(fetch(gateway, "/livez")) == [200]


def test_responses_end_their_connection_while_the_gateway_drains(
    gateway: InProcessGateway,
) -> None:
    with gateway.connect() as sock:
        sock.sendall(GET + b"\r\n")
        assert b"connection: close" not in sock.recv(65536)
        gateway.readiness.drain_state.draining = True
        sock.sendall(GET + b"\r\n")
        response = read_all(sock)
        assert statuses_of(response) == [200]
        assert b"connection: close\r\n" in response
    with gateway.connect() as sock:
        sock.sendall(LAST)
        assert read_all(sock).count(b"connection: close\r\n") == 1


def test_page_that_fails_is_an_internal_error(gateway: InProcessGateway) -> None:
    def fail(service_id: str) -> int:
        raise ValueError(f"a secret of {service_id}")

    gateway.count_live_instances = fail
    response = fetch(gateway, "/v1/apis")
    assert statuses_of(response) == [500]
    header = json.loads(body_of(response))["header"]
    assert (header["code"], header["message"]) == (11502, "unexpected error")
    assert b"secret" not in response
    line = json.loads(gateway.lines[-1])
    assert (line["path"], line["status"], line["code"]) == ("/v1/apis", 500, 11502)
    gateway.count_live_instances = lambda _: 1
    assert statuses_of(fetch(gateway, "/v1/apis")) == [200]


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/private/probe", {"OPTIONS", "POST"}), ("/livez", {"GET", "HEAD"})]
)
def test_method_that_is_not_allowed_is_answered_with_those_that_are(
    gateway: InProcessGateway, path: str, allowed: set[str]
) -> None:
    lines = fetch(gateway, path, method="DELETE").decode().split("\r\n")
    (methods,) = [line.removeprefix("allow: ") for line in lines if line.startswith("allow: ")]
    assert set(methods.split(", ")) == allowed


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/apis", "/docs"])
def test_head_is_answered_without_a_body(gateway: InProcessGateway, path: str) -> None:
    response = fetch(gateway, path, method="HEAD")
    assert statuses_of(response) == [200]
    assert body_of(response) == b""


@pytest.mark.parametrize(
    ("is_synced", "is_draining", "reason"),
    [
        (True, False, ""),
        (False, False, "lb view is not synced"),
        (True, True, "draining"),
        (False, True, "draining"),
    ],
)
def test_reason_why_a_gateway_is_not_ready(is_synced: bool, is_draining: bool, reason: str) -> None:
    readiness = Readiness(lambda: is_synced)
    readiness.drain_state.draining = is_draining
    assert readiness.not_ready_reason() == reason


def test_health_is_not_logged(gateway: InProcessGateway) -> None:
    fetch(gateway, "/livez")
    fetch(gateway, "/readyz")
    assert gateway.lines == []
