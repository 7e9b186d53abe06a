"""The designer in a real browser: a form, its problems, saving, importing, trying, pushing."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser import Browser
from tests.harness import Gateway, Process

pytestmark = pytest.mark.first

DECLARATION = """\
apiVersion: iflytek.com/v1alpha1
kind: ApiSchema
metadata: {serviceName: detect, version: '1.10', projectName: shop, group: web}
spec:
  request:
    parameters: {properties: {top: {type: integer, minimum: 1}}}
    payload: {properties: {image: {type: image}}, required: [image]}
  response:
    payload: {properties: {objects: {type: text}}}
"""


class Designer(Process):
    """`asectl api web` on a free port."""

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__("api", "web", "--port", "0", *flags, cwd=folder)
        self.url = self.wait_for_output("designing").split(" at ")[1].partition(";")[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


def set_value(browser: Browser, selector: str, value: str) -> None:
    """Type into a field, as a user does."""
    browser.run(
        f"{{const f = document.querySelector({json.dumps(selector)});"
        f"f.value = {json.dumps(value)}; f.dispatchEvent(new Event('input', {{bubbles: true}}));}}"
    )


def field(section: str, key: str, row: int = 0) -> str:
    rows = "" if section == "metadata" else f" .row:nth-child({row + 1})"
    return f"#{section}{rows} [data-key='{key}']"


def click(browser: Browser, selector: str) -> None:
    browser.run(f"document.querySelector({json.dumps(selector)}).click()")


def open_designer(browser: Browser, designer: Designer) -> None:
    browser.open(designer.url)
    browser.wait("document.body?.dataset.checked")


def test_an_api_is_designed_in_the_form_and_saved(browser: Browser, tmp_path: Path) -> None:
    with Designer(tmp_path) as designer:
        open_designer(browser, designer)
        set_value(browser, field("metadata", "serviceName"), "detect")
        click(browser, "#parameters .add")
        set_value(browser, field("parameters", "name"), "top")
        set_value(browser, field("parameters", "type"), "integer")
        set_value(browser, field("parameters", "enum"), "1, 2, 3")
        click(browser, "#inputs .add")
        set_value(browser, field("inputs", "name"), "image")
        set_value(browser, field("inputs", "type"), "image")
        click(browser, "#outputs .add")
        set_value(browser, field("outputs", "name"), "objects")
        browser.wait("document.querySelector('#view').innerText", lambda t: "objects" in str(t))
        assert "serviceName: detect" in browser.run("document.querySelector('#view').innerText")
        click(browser, "#save")
        notice = browser.wait("document.querySelector('#notice').innerText")
        assert notice == "saved ai_api.yaml and schemas/schema_detect.json"
        schema = json.loads((tmp_path / "schemas/schema_detect.json").read_text())
        parameter = schema["schemainput"]["properties"]["parameter"]["properties"]["detect"]
        assert parameter["properties"]["top"] == {"type": "integer", "enum": [1, 2, 3]}
        # Somebody changes the file meanwhile: it is not overwritten.
        (tmp_path / "ai_api.yaml").write_text(DECLARATION)
        click(browser, "#save")
        browser.wait("document.querySelector('#notice').innerText", lambda t: "has changed" in t)
        assert (tmp_path / "ai_api.yaml").read_text() == DECLARATION
        assert browser.errors == [] or all("400" in error for error in browser.errors)
        assert all(url.startswith((designer.url, "data:")) for url in browser.requested_urls)


def test_a_problem_is_shown_at_its_field(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DECLARATION)
    with Designer(tmp_path, "a.yaml") as designer:
        open_designer(browser, designer)
        assert (
            browser.run(f'document.querySelector("{field("metadata", "version")}").value') == "1.10"
        )
        set_value(browser, field("parameters", "minimum"), "one")
        selector = json.dumps(field("parameters", "minimum"))
        browser.wait(f"document.querySelector({selector}).getAttribute('aria-invalid')")
        message = browser.run(f"document.querySelector({selector}).nextElementSibling.innerText")
        assert "number" in message
        assert browser.run("document.querySelector('#save').disabled")
        set_value(browser, field("parameters", "minimum"), "2")
        browser.wait("!document.querySelector('#save').disabled")
        assert not browser.run("document.querySelectorAll('[aria-invalid]').length")


def test_it_fits_a_small_screen_and_is_used_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DECLARATION)
    with Designer(tmp_path, "a.yaml") as designer:
        for is_dark in (False, True):
            browser.resize(360, 740, is_dark=is_dark)
            open_designer(browser, designer)
            assert browser.run("document.documentElement.scrollWidth") <= 360
        browser.resize(1280, 900, is_dark=False)
        # Every field has a label, and all that can be done is a button, a link or a field.
        unlabelled = (
            "[...document.querySelectorAll('input, select, textarea')]"
            ".filter(f => !f.labels?.length && !f.ariaLabel).length"
        )
        assert browser.run(unlabelled) == 0
        assert browser.run("document.querySelectorAll('[onclick]:not(button)').length") == 0


def test_a_request_is_tried_at_a_gateway(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DECLARATION)
    (tmp_path / "schemas").mkdir()
    with Designer(tmp_path, "a.yaml") as first:
        open_designer(browser, first)
        click(browser, "#save")
        browser.wait("document.querySelector('#notice').innerText", lambda t: "saved" in str(t))
    with (
        Gateway("--schemas", "schemas", cwd=tmp_path) as gateway,
        Designer(tmp_path, "a.yaml", "--gateway", gateway.url) as designer,
    ):
        open_designer(browser, designer)
        browser.run("[...document.querySelectorAll('[role=tab]')].at(-1).click()")
        click(browser, "#send")
        answer = browser.wait("document.querySelector('#answer').innerText")
        assert answer.startswith("503\n")  # it is known, and has no loader
        assert "20002" in answer


def test_it_is_pushed_to_the_registry(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DECLARATION)
    flags = ("--registry-port", "0", "--registry-http-port", "0")
    with Process("registry", *flags, cwd=tmp_path) as registry:
        api = registry.wait_for_event("listening")["api"]
        with Designer(tmp_path, "a.yaml", "--url", api) as designer:
            open_designer(browser, designer)
            click(browser, "#push")
            notice = browser.wait("document.querySelector('#notice').innerText")
            assert notice.startswith("in the draft of shop/web/detect/1.10;")
        versions = httpx.get(f"{api}/v1/versions", trust_env=False).json()["versions"]
        assert [version["name"] for version in versions] == ["shop/web/detect/1.10"]


def test_other_hosts_and_origins_are_refused(tmp_path: Path) -> None:
    with Designer(tmp_path) as designer:
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            response = httpx.get(f"{designer.url}/design", headers=headers, trust_env=False)
            assert response.status_code in (403, 421)
