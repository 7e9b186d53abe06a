"""The console of the admin ports, in a browser."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.browser import Browser
from tests.harness import Gateway, Hub, Loader, run_asectl

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
    # A port that has gone or wants a token, and a hub without requests, are for the page to handle.
    assert not [x for x in browser.errors if not x.startswith("Failed to load resource")]


def test_console_shows_what_a_gateway_does_and_why(browser: Browser) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        for loader in (first, second):
            gateway.wait_until_up(loader)
        browser.resize(1280, 900, is_dark=False)
        browser.open(f"{gateway.admin}/")
        browser.wait(TEXT, lambda text: "2 of 2 instances serve" in text)
        assert browser.run("location.pathname") == "/console"
        assert browser.run("document.querySelector('#problems').innerText") == ""

        assert gateway.call(act="raise").status_code == 502
        assert run_asectl("eject", second.addr, "--url", gateway.admin).returncode == 0
        browser.wait(TEXT, lambda text: "1 of 2 instances get no requests" in text)
        problems = browser.run("document.querySelector('#problems').innerText")
        assert f"probe {second.addr} ejected (operator) for " in problems
        browser.wait("document.querySelectorAll('#requests .link').length == 1")
        browser.run("document.querySelector('#requests .link').click()")
        browser.wait(TEXT, lambda text: "wrapper raised ValueError" in text)
        assert "expected" in browser.run("document.querySelector('#requests pre').innerText")
        assert gateway.call().status_code == 200  # figures of the next ten seconds
        figures = "document.querySelector('#figures').innerText"
        browser.wait(figures, lambda text: re.search(r"p99\n[\d.]+ (us|ms|s)", text))

        browser.resize(360, 800, is_dark=True)
        assert browser.run("document.documentElement.scrollWidth") == 360, "nothing is cut off"
        dark = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.resize(360, 800, is_dark=False)
        assert browser.run("getComputedStyle(document.body).backgroundColor") != dark
    browser.wait(TEXT, lambda text: "No answer since" in text)


def test_names_are_text_wherever_they_come_from(browser: Browser) -> None:
    """An instance names itself: what it says is no part of the page."""
    with Gateway() as gateway:
        browser.open(f"{gateway.admin}/console")
        browser.wait(TEXT, lambda text: "No instance is known" in text)
        row = (
            "{service: '<img src=x onerror=alert(1)>', instance: '<b>', state: 'up', health: 'in',"
            "slots: 1, running: 0, queued: 0, inflight: 0, service_ms: 0, expected_ms: 1,"
            "report_age_s: null, served: 0, errors: 0}"
        )
        browser.run(f"state.now.instances = [{row}]; render()")
        assert browser.run("document.querySelector('h2').textContent") == (
            "<img src=x onerror=alert(1)>"
        )
        assert browser.run("document.querySelectorAll('img, b').length") == 0


def test_page_asks_for_the_token_of_the_port(browser: Browser) -> None:
    with Gateway(env={"ASE_GATEWAY_ADMIN_TOKEN": "s3cret"}) as gateway:
        gateway.secrets.append("s3cret")
        assert httpx.get(f"{gateway.admin}/console", trust_env=False).status_code == 200
        assert httpx.get(f"{gateway.admin}/lb/state", trust_env=False).status_code == 401
        browser.open(f"{gateway.admin}/console")
        browser.wait("!document.querySelector('#login').hidden")
        for token, shown in (("wrong", "The token is wrong."), ("s3cret", "No instance is known")):
            browser.run(f"document.querySelector('#token').value = '{token}'")
            browser.run("document.querySelector('#login button').click()")
            browser.wait(TEXT, lambda text, shown=shown: shown in text)


def test_hub_and_workers_have_a_console_too(browser: Browser) -> None:
    with (
        Hub() as hub,
        Loader(hub.lb) as loader,
        Gateway("--lb-hub", hub.lb, "--workers", "2") as gateway,
    ):
        gateway.wait_for_event("instance up", instance=loader.addr)
        browser.open(f"{hub.admin}/console")
        browser.wait(TEXT, lambda text: "hub, version" in text and loader.addr in text)
        assert "reports/s" in browser.run(TEXT)
        assert "Failed and slow requests" not in browser.run(TEXT)
        browser.open(f"{gateway.admin}/console")
        browser.wait(TEXT, lambda text: f"pid {gateway.pid}" in text and loader.addr in text)


def test_quantiles_are_read_from_the_buckets_between_two_scrapes(browser: Browser) -> None:
    with Gateway() as gateway:
        browser.open(f"{gateway.admin}/console")
        browser.wait("typeof quantile == 'function'")
        before = 'x_bucket{le="1"} 5\nx_bucket{le="2"} 5\nx_bucket{le="+Inf"} 5'
        after = 'x_bucket{le="1"} 5\nx_bucket{le="2"} 15\nx_bucket{le="+Inf"} 15'

        def median(first: str, second: str) -> object:
            texts = f"parseMetrics({json.dumps(first)}), parseMetrics({json.dumps(second)})"
            return browser.run(f"quantile({texts}, 'x', 0.5)")

        assert median(before, after) == 1.5
        assert median(before, before) is None
        line = json.dumps('a{b="x\\"y\\\\n",c="d"} 1')
        assert browser.run(f"parseMetrics({line})[0].labels") == {"b": 'x"y\\n', "c": "d"}
