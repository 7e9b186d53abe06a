"""The OpenAPI document, and the page that shows it: in a real browser, without a network."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser import Browser
from tests.harness import ROOT, Gateway, Loader

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running, Loader(running.lb) as loader:
        running.wait_until_up(loader)
        yield running


def get(gateway: Gateway, path: str) -> httpx.Response:
    return httpx.get(gateway.url + path, trust_env=False)


def test_the_example_of_each_service_is_accepted(gateway: Gateway) -> None:
    document = get(gateway, "/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    operation = document["paths"]["/v1/private/probe"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    response = httpx.post(gateway.url + "/v1/private/probe", json=example, trust_env=False)
    assert response.status_code == 200


def test_document_of_one_service(gateway: Gateway) -> None:
    response = get(gateway, "/v1/apis/probe/openapi.json")
    assert "/v1/private/probe" in response.json()["paths"]
    assert response.json()["info"]["title"] == "probe"
    for openapi in (response.json(), get(gateway, "/openapi.json").json()):
        assert openapi["servers"] == [{"url": gateway.url}]
    not_modified = httpx.get(
        gateway.url + "/v1/apis/probe/openapi.json",
        headers={"if-none-match": response.headers["etag"]},
        trust_env=False,
    )
    assert not_modified.status_code == 304
    assert get(gateway, "/v1/apis/nobody/openapi.json").status_code == 404
    (line,) = get(gateway, "/v1/apis").json()["apis"]
    assert line["openapi"] == "/v1/apis/probe/openapi.json"


def test_page_files_are_compressed_on_request(gateway: Gateway) -> None:
    path = "/docs/swagger-ui.css"
    packed = get(gateway, path)
    plain = httpx.get(gateway.url + path, headers={"accept-encoding": "identity"}, trust_env=False)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < len(plain.content) / 4


@pytest.mark.parametrize("name", ["app.py", "..%2fapp.py", "swagger-ui-bundle.js.LICENSE.txt", "x"])
def test_page_serves_only_its_own_files(gateway: Gateway, name: str) -> None:
    assert get(gateway, f"/docs/{name}").status_code in (400, 404)


def run_schemathesis(gateway: Gateway, *checks: str, phases: str) -> str:
    """Let schemathesis try every endpoint; return what it says."""
    args = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{gateway.url}/openapi.json",
        "--max-examples", "10", "--phases", phases, "--seed", "1", "--no-color",
        "--checks", ",".join(checks),
        # A NUL is refused everywhere, and lengths are bytes: no JSON Schema can say either.
        "--generation-allow-x00", "false", "--generation-codec", "ascii",
    ]  # fmt: skip
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": f"{ROOT}/tests/wire/schemathesis_hooks.py"}
    result = subprocess.run(
        args, capture_output=True, check=False, text=True, cwd="/", env=environment, timeout=300
    )
    return f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"


@pytest.mark.first
@pytest.mark.unmeasured
def test_service_conforms_to_its_document() -> None:
    """Every check there is, on a service that takes whatever its schema lets pass."""
    echo = f"{ROOT}/tests/wrappers/echo.py:Echo"
    with Gateway() as gateway, Loader(gateway.lb, echo) as loader:
        gateway.wait_until_up(loader)
        report = run_schemathesis(gateway, "all", phases="examples,coverage,fuzzing,stateful")
    assert report.startswith("exit 0\n"), report
    assert "8 selected / 8 total" in report, report  # all but the document itself


@pytest.mark.first
def test_demo_services_conform_to_their_documents() -> None:
    """They refuse what is no picture and no sound, which a schema cannot say."""
    with (
        Gateway() as gateway,
        Loader(gateway.lb, f"{ROOT}/examples/image/wrapper.py:Thumbnail") as image,
        Loader(gateway.lb, f"{ROOT}/examples/audio/wrapper.py:Speech") as audio,
    ):
        gateway.wait_until_up(image)
        gateway.wait_until_up(audio)
        report = run_schemathesis(
            gateway,
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_headers_conformance",
            "response_schema_conformance",
            "negative_data_rejection",
            "unsupported_method",
            phases="examples,fuzzing",
        )
    assert report.startswith("exit 0\n"), report


@pytest.mark.peer("chromium")
def test_page_works_offline_and_calls_the_service(
    gateway: Gateway,
) -> None:
    """The first operation is the plain one, the other that of the envelope."""
    with Browser() as browser:
        browser.open(gateway.url + "/docs")
        for number, (in_example, in_answer) in enumerate(
            [('"text": "hello"', '"said": "HELLO"'), ("app_id", '"message": "success"')]
        ):
            operation = f"document.querySelectorAll('.opblock-post')[{number}]"
            browser.wait(f"!!{operation}")
            browser.run(f"{operation}.querySelector('.opblock-summary-control').click()")
            browser.wait(f"!!{operation}.querySelector('button.execute')")
            textarea = f"{operation}.querySelector('textarea')"
            browser.wait(f"{textarea} && {textarea}.value.includes('{in_example}')")
            browser.run(f"{operation}.querySelector('button.execute').click()")
            page_text = browser.wait(
                f"{operation}.innerText",
                lambda text, expected=in_answer: text is not None and expected in text,
            )
        assert re.search(r"Server response\s+Code\s+Details\s+200", page_text)
        assert browser.errors == []
        foreign_urls = [
            u for u in browser.requested_urls if not u.startswith((gateway.url, "data:", "blob:"))
        ]
        assert foreign_urls == []
        assert any(url.endswith("/v1/private/probe") for url in browser.requested_urls)


def test_page_opens_a_websocket(gateway: Gateway) -> None:
    with Browser() as browser:
        browser.open(gateway.url + "/docs")
        frame = "document.getElementById('ws-frame').value"
        browser.wait(f"{frame}.includes('app_id')")
        browser.run("document.getElementById('ws-send').click()")
        log_text = browser.wait(
            "document.getElementById('ws-log').textContent",
            lambda text: text is not None and "closed" in text,
        )
        assert '"code":0' in log_text
        assert '"status":2' in log_text
        assert log_text.endswith("closed 1000 \n")
        assert browser.errors == []
