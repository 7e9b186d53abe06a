"""The page at `/`, used in a browser: forms, files, events, errors, programs, small screens."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser import Browser
from tests.harness import ROOT, Gateway, Loader, run_asectl

pytestmark = pytest.mark.peer("chromium")
EXAMPLES = ROOT / "examples"
SERVICES = ("audio", "image", "probe", "vad")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    wrappers = ("image/wrapper.py:Thumbnail", "audio/wrapper.py:Speech", "vad/wrapper.py")
    with Gateway() as running, Loader(running.lb) as probe:
        loaders = [Loader(running.lb, f"{EXAMPLES}/{wrapper}") for wrapper in wrappers]
        try:
            for loader in (probe, *loaders):
                running.wait_until_up(loader)
            yield running
        finally:
            for loader in loaders:
                loader.__exit__(None, None, None)


@pytest.fixture
def page(gateway: Gateway) -> Iterator[Browser]:
    with Browser() as browser:
        browser.open(gateway.url + "/")
        browser.wait(f"document.querySelectorAll('article').length == {len(SERVICES)}")
        yield browser
        foreign = [
            url
            for url in browser.requested_urls
            if not url.startswith((gateway.url, "data:", "blob:", "about:"))
        ]
        assert foreign == []


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "text/html"),
        ("*/*", "text/html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("application/xml", "text/html"),
    ],
)
def test_a_program_may_ask_for_json(gateway: Gateway, accept: str, media_type: str) -> None:
    response = gateway.http.get("/", headers={"accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert "accept" in response.headers["vary"].split(", ")
    if media_type == "application/json":
        home = response.json()
        assert {api["service"] for api in home["apis"]} == {*SERVICES}
        for path in home["links"].values():
            assert gateway.http.get(path).status_code == 200, path


def choose_file(page: Browser, control: str, file: Path, media_type: str) -> None:
    data = base64.b64encode(file.read_bytes()).decode()
    page.run(
        f"""(() => {{
        const bytes = Uint8Array.from(atob("{data}"), (c) => c.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], "{file.name}", {{ type: "{media_type}" }}));
        document.getElementById("{control}").files = files.files;
        }})()"""
    )


def submit(page: Browser, service: str, button: str = ".send") -> str:
    """Send a form; return its answer once all of it is there."""
    page.run(f"document.querySelector('#service-{service} form {button}').click()")
    page.wait(f"!document.querySelector('#service-{service} form .send').disabled")
    text: str = page.run(f"document.querySelector('#service-{service} .answer').innerText")
    return text


def test_every_service_has_a_form_with_labels(page: Browser) -> None:
    names = page.run("[...document.querySelectorAll('h2')].map((h) => h.textContent).join()")
    assert names == ",".join(SERVICES)
    unlabelled = page.run(
        "[...document.querySelectorAll('form input, form select, form textarea')]"
        ".filter((c) => !c.labels.length).length"
    )
    assert unlabelled == 0


def test_picture_goes_in_and_comes_back(page: Browser) -> None:
    choose_file(page, "image-image", EXAMPLES / "image/sample.jpg", "image/jpeg")
    page.run("document.getElementById('image-width').value = '64'")
    answer = submit(page, "image")
    assert answer.startswith("200 in ")
    assert " ms from 127.0.0.1:" in answer
    assert '"width": 720' in answer
    picture = "document.querySelector('#service-image .answer img')"
    assert page.wait(f"{picture}.naturalWidth") == 64
    assert page.errors == []


def test_text_is_sent_as_json(page: Browser) -> None:
    page.run("document.getElementById('probe-text').value = 'hello'")
    page.run("document.getElementById('probe-number').value = '9'")
    answer = submit(page, "probe")
    assert "HELLO" in answer
    assert '"number": 9' in answer


def test_error_names_the_member(page: Browser) -> None:
    page.run("document.getElementById('probe-text').value = 'x'.repeat(2000)")
    page.run("document.getElementById('probe-text').removeAttribute('maxlength')")
    answer = submit(page, "probe")
    assert answer.startswith("400 in ")
    assert "/text: must decode to at most 1024 bytes" in answer


def test_events_come_one_by_one(page: Browser) -> None:
    choose_file(page, "vad-audio", EXAMPLES / "vad/sample.wav", "audio/L16")
    answer = submit(page, "vad", "[value=events]")
    assert answer.startswith("200 in ")
    assert page.wait("document.querySelectorAll('#service-vad .answer pre').length > 1")


def test_programs_that_call_the_service(page: Browser, gateway: Gateway) -> None:
    snippet = "document.querySelector('#service-probe .snippet pre').textContent"
    assert page.run(snippet) == f"curl -sS {gateway.url}/v1/probe -d text=hello"
    tab = "document.querySelectorAll('#service-probe [role=tab]')[{}]"
    page.run(tab.format(1) + ".click()")
    program = page.run(snippet)
    captured: list[object] = []
    exec(program.replace("print(", "captured.append("), {"captured": captured})  # noqa: S102
    assert json.loads(json.dumps(captured))[0]["said"] == "HELLO"
    assert page.run(tab.format(1) + ".getAttribute('aria-selected')") == "true"


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_page_fits_small_screens_and_both_schemes(page: Browser, width: int, is_dark: bool) -> None:
    page.resize(width, 900, is_dark=is_dark)
    assert page.wait("document.documentElement.scrollWidth") <= width
    background = page.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 21, 27)" if is_dark else "rgb(247, 248, 250)")


def test_key_of_a_gateway_that_asks_for_one(tmp_path: Path) -> None:
    config = tmp_path / "ase.yaml"
    config.write_text("auth: key\n")
    created = run_asectl("key", "create", "--app", "tests", "-c", str(config))
    key = created.stdout.strip()
    with Gateway("-c", str(config)) as gateway, Loader(gateway.lb) as probe, Browser() as browser:
        gateway.wait_until_up(probe)
        browser.open(gateway.url + "/")
        browser.wait("document.querySelectorAll('article').length == 1")
        browser.run("document.getElementById('probe-text').value = 'hello'")
        assert "401 in" in submit(browser, "probe")
        browser.run(
            f"""(() => {{
            const control = document.getElementById("key");
            control.value = "{key}";
            control.dispatchEvent(new Event("input"));
            }})()"""
        )
        assert "HELLO" in submit(browser, "probe")
        browser.open(gateway.url + "/?again")
        browser.wait("document.querySelectorAll('article').length == 1")
        assert browser.run("document.getElementById('key').value") == key, "the tab keeps it"
        snippet = "document.querySelector('#service-probe .snippet pre').textContent"
        command = browser.run(snippet)
        environ = {**os.environ, "ASE_API_KEY": key}
        output = subprocess.run(command, shell=True, env=environ, capture_output=True, check=True)  # noqa: S602
        assert b"HELLO" in output.stdout
        tab = "document.querySelectorAll('#service-probe [role=tab]')[{}]"
        browser.run(tab.format(1) + ".click()")
        program = [sys.executable, "-c", browser.run(snippet)]
        answer = subprocess.run(program, env=environ, capture_output=True, check=True)
        assert b"HELLO" in answer.stdout
        browser.run(tab.format(2) + ".click()")
        script = browser.run(snippet).replace("console.log(", "window.answer = (")
        browser.run(f'(async () => {{ const key = "{key}"; {script} }})()')
        assert "HELLO" in browser.wait("window.answer && JSON.stringify(window.answer)")
        assert "401" in "".join(browser.errors), "the first request is the one that fails"


def test_commands_are_in_the_list_of_services(gateway: Gateway) -> None:
    apis = {api["service"]: api for api in httpx.get(gateway.url + "/v1/apis").json()["apis"]}
    assert apis["image"]["plain"] == "/v1/image"
    command = f"curl -sS {gateway.url}/v1/image -F image=@PATH -o thumbnail.png"
    assert apis["image"]["curl"] == command
    assert httpx.get(gateway.url + "/home/none.js").status_code == 404
