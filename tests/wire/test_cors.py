"""A page of another origin calls the gateway with its key, by either lane, and in a browser."""

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.browser import Browser
from tests.harness import Gateway, Loader, make_envelope, run_asectl

PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Return the origin of a page's server, and its folder."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "index.html").write_text("<!doctype html><title>page</title>")
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture(scope="module", params=["true", "false"], ids=["lane", "starlette"])
def gateway(
    request: pytest.FixtureRequest,
    page: tuple[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Gateway, str]]:
    """Return a gateway that the page may call, and a key."""
    config = tmp_path_factory.mktemp("cors") / "ase.yaml"
    config.write_text(f"auth: key\nsession: {{origins: ['{page[0]}']}}\n")
    key = run_asectl("key", "create", "--app", "tests", "-c", str(config)).stdout.strip()
    flags = ("-c", str(config), "--gateway-once-lane", request.param)
    with Gateway(*flags) as running, Loader(running.lb) as probe:
        running.wait_until_up(probe)
        yield running, key


def post(gateway: Gateway, **headers: str) -> httpx.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.post(make_envelope(), headers=fields)


def test_answers_have_the_lines_for_the_page(
    gateway: tuple[Gateway, str], page: tuple[str, Path]
) -> None:
    running, key = gateway
    for _ in range(3):
        response = post(running, origin=page[0], x_api_key=key)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == page[0]
        assert response.headers["vary"] == "Origin"
        assert "Retry-After" in response.headers["access-control-expose-headers"]
    refused = post(running, origin=page[0])
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page[0])
    other = post(running, origin="https://evil.example.com", x_api_key=key)
    assert other.status_code == 200
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in post(running, x_api_key=key).headers


def test_preflight_needs_no_credential(
    gateway: tuple[Gateway, str], page: tuple[str, Path]
) -> None:
    running, _ = gateway
    for path in ("/v1/private/probe", "/v1/probe"):
        answer = running.http.options(path, headers={"origin": page[0], **PREFLIGHT})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page[0])
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "authorization" in answer.headers["access-control-allow-headers"]
    evil = {"origin": "https://evil.example.com", **PREFLIGHT}
    refused = running.http.options("/v1/probe", headers=evil)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.peer("chromium")
def test_browser_lets_the_page_call(gateway: tuple[Gateway, str], page: tuple[str, Path]) -> None:
    running, key = gateway
    script = f"""
        const call = (headers) => fetch({json.dumps(running.url + "/v1/probe")}, {{
            method: "POST", body: JSON.stringify({{text: "hi"}}),
            headers: {{"content-type": "application/json", ...headers}},
        }}).then(r => r.status + " " + (r.headers.get("x-ase-request-id") || "").length);
        Promise.all([call({{authorization: "Bearer {key}"}}), call({{}})])
            .then(all => {{ document.title = all.join(", "); }})
            .catch(error => {{ document.title = "" + error; }});
    """
    (page[1] / "call.html").write_text(
        f"<!doctype html><title>wait</title><script>{script}</script>"
    )
    with Browser() as browser:
        browser.open(f"{page[0]}/call.html")
        titles = browser.wait("document.title", lambda title: title not in ("", "wait"))
        assert titles == "200 32, 401 32"


def test_any_origin_with_credentials_is_refused() -> None:
    result = run_asectl("gateway", "--session-origins", "*", "--gateway-cors-credentials", "true")
    assert result.returncode == 3
    assert "any page could call as whoever visits it" in result.stderr
