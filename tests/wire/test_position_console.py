"""The page of positions of a deployer, in a browser."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser
from tests.harness import Gateway, Process, run_asectl
from tests.wire.test_deployer import WRAPPER, Deployer, wait_until_stopped

pytestmark = pytest.mark.peer("chromium")
TEXT = "document.body ? document.body.innerText : ''"
OWN = ("http://127.0.0.1:", "data:", "about:")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(autouse=True)
def no_complaint_and_no_other_origin(browser: Browser) -> Iterator[None]:
    browser.requested_urls.clear()
    browser.errors.clear()
    yield
    assert not [url for url in browser.requested_urls if not url.startswith(OWN)]
    assert not [x for x in browser.errors if not x.startswith("Failed to load resource")]


def fill(browser: Browser, **values: str) -> None:
    """Type values into fields and submit the form of the last one; names end as the fields'."""
    for name, value in values.items():
        selector = f"[name$={json.dumps(name.replace('__', ':'))}]"
        browser.run(
            f"(() => {{ const field = document.querySelector({json.dumps(selector)});"
            f" field.value = {json.dumps(value)};"
            " field.dispatchEvent(new Event('input')); })()"
        )
    browser.run(f"document.querySelector({json.dumps(selector)}).form.requestSubmit()")


def test_position_is_created_switched_scaled_and_deleted(browser: Browser, tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"w{version}.py").write_text(WRAPPER.replace("MARK", version))
    with (
        Gateway("--lb-accept-schemas", "true") as gateway,
        Deployer(gateway, tmp_path) as deployer,
    ):
        browser.resize(1280, 900, is_dark=False)
        browser.open(f"{deployer.api}/")
        browser.wait(TEXT, lambda text: "0 of 0 positions in service" in text)
        assert browser.run("location.pathname") == "/console"
        fill(browser, new__project__description="for us", new__project__name="library")
        browser.wait("document.querySelector('#project-library') !== null")
        fill(browser, library__application__name="counting")
        browser.wait("document.querySelector('#application-counting') !== null")
        for version in ("1", "2"):
            fill(
                browser, counting__model__name="words", counting__model__version=version,
                counting__model__wrapper=f"w{version}.py", counting__model__accuracy=f"0.{version}",
            )  # fmt: skip
            browser.wait(TEXT, lambda text, v=version: f"words:{v} is added" in text)
        # The page says it before it has read the models again.
        options = "[...document.querySelectorAll('[name$=\"position:model\"] option')]"
        browser.wait(f"{options}.some((option) => option.value === 'words:2')")
        fill(browser, counting__position__model="words:1", counting__position__name="north")
        card = "document.querySelector('#position-north')?.innerText ?? ''"
        browser.wait(card, lambda text: "InService" in text and "words:1" in text)
        browser.wait(card, lambda text: "1 replica, 0 of" in text)
        fill(browser, north__switch__model="best")
        browser.wait(card, lambda text: "InService" in text and "words:2" in text)
        fill(browser, north__scale__replicaCount="2")
        browser.wait(card, lambda text: "2 replicas" in text and "north-" in text)
        events = "document.querySelector('#events').innerText"
        browser.wait(events, lambda text: "position.scaled north replicas=2" in text)
        # What the deployer refuses is said in its words.
        fill(browser, counting__position__name="Not a name")
        browser.wait(TEXT, lambda text: "name: must be lower-case letters" in text)

        browser.resize(360, 800, is_dark=True)
        assert browser.run("document.documentElement.scrollWidth") == 360, "nothing is cut off"
        button = "document.querySelector('#position-north button.bad')"
        browser.run(f"{button}.click()")
        browser.run("document.querySelector('#confirm [value=no]').click()")
        assert "InService" in browser.run(card)
        browser.run(f"{button}.click()")
        browser.run("document.querySelector('#confirm [value=yes]').click()")
        browser.wait("document.querySelector('#position-north') === null")
        wait_until_stopped(tmp_path, "north")
    browser.wait(TEXT, lambda text: "The deployer does not answer" in text)


def test_names_are_text_and_drafts_stay(browser: Browser, tmp_path: Path) -> None:
    with Gateway() as gateway, Deployer(gateway, tmp_path) as deployer:
        browser.open(f"{deployer.api}/console")
        browser.wait(TEXT, lambda text: "Add a project" in text)
        browser.run(
            "state.projects = [{name: '<img src=x onerror=alert(1)>', description: '<b>'}];"
            "state.drafts.set('new:project:name', 'half'); render()"
        )
        assert browser.run("document.querySelectorAll('img, b').length") == 0
        assert "<img src=x" in browser.run("document.querySelector('h2').textContent")
        name = "document.querySelector('[name=\"new:project:name\"]').value"
        browser.wait("document.querySelectorAll('h2').length == 0")  # it was drawn again
        assert browser.run(name) == "half"


def test_page_asks_for_a_key(browser: Browser, tmp_path: Path) -> None:
    key = run_asectl(
        "key", "create", "--app", "ops", "--role", "admin",
        "--auth-keys", str(tmp_path / "keys.sqlite"), cwd=tmp_path,
    ).stdout.strip()  # fmt: skip
    with (
        Gateway() as gateway,
        Process(
            "deployer", "--port", "0", "--deployer-hubs", gateway.lb, "--deployer-auth", "key",
            cwd=tmp_path,
        ) as deployer,
    ):  # fmt: skip
        api = deployer.wait_for_event("listening")["api"]
        browser.open(f"{api}/console")
        browser.wait("!document.querySelector('#login').hidden")
        wrong = ("ase_wrong", "The key is missing or wrong.")
        for text, shown in (wrong, (key, "0 of 0 positions")):
            browser.run(f"document.querySelector('#key').value = {json.dumps(text)}")
            browser.run("document.querySelector('#login').requestSubmit()")
            browser.wait(TEXT, lambda page, shown=shown: shown in page)
