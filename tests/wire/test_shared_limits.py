"""Limits that hold over three gateways of one hub, through real processes."""

import base64
import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.harness import Gateway, Hub, Loader, make_envelope, run_asectl

CONFIG = """\
auth: [key]
services:
  probe: {quota: 40/day}
  crowd: {concurrency: 3}
"""


class Fleet:
    """Three gateways of one hub, the loaders of two services, and a key."""

    def __init__(self, folder: Path) -> None:
        config = folder / "ase.yaml"
        config.write_text(CONFIG)
        created = run_asectl("key", "create", "--app", "tests", "-c", str(config))
        self.headers = {"authorization": f"Bearer {created.stdout.strip()}"}
        self.hub = Hub()
        self._flags = ("-c", str(config), "--gateway-lame-duck", "0")

    @contextlib.contextmanager
    def serve(self) -> Iterator["Fleet"]:
        with contextlib.ExitStack() as stack:
            hub = stack.enter_context(self.hub)
            loaders = [
                stack.enter_context(Loader(hub.lb, spec))
                for spec in (
                    "tests/wrappers/probe.py:Probe",
                    "tests/wrappers/crowd.py:Crowd",
                )
            ]
            self.gateways = [
                stack.enter_context(Gateway(*self._flags, "--lb-hub", hub.lb)) for _ in range(3)
            ]
            for gateway in self.gateways:
                for loader in loaders:
                    gateway.wait_until_up(loader)
                gateway.wait_for_event("limits are shared", gateways=3)
            yield self

    def post(self, number: int, service: str) -> httpx.Response:
        """Send a request to one of the gateways in turn."""
        gateway = self.gateways[number % 3]
        return gateway.post(make_envelope(service), service, headers=self.headers)

    def send(self, number: int, service: str) -> int:
        """Send a request to one of the gateways in turn; return the status."""
        return self.post(number, service).status_code


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet")).serve() as running:
        yield running


def test_quota_is_used_exactly(fleet: Fleet) -> None:
    with ThreadPoolExecutor(6) as clients:
        statuses = list(clients.map(lambda number: fleet.send(number, "probe"), range(300)))
    # What one gateway holds and does not use comes back with its next exchange.
    while statuses.count(200) < 40:
        statuses.append(fleet.send(len(statuses), "probe"))
    statuses += [fleet.send(number, "probe") for number in range(30)]
    assert (statuses.count(200), set(statuses)) == (40, {200, 429})


def test_concurrency_holds_over_gateways(fleet: Fleet) -> None:
    """The loader counts what is in progress; each gateway alone would let three through."""
    with ThreadPoolExecutor(12) as clients:
        responses = list(clients.map(lambda number: fleet.post(number, "crowd"), range(300)))
    assert {response.status_code for response in responses} == {200, 429}
    counts = [
        int(base64.b64decode(response.json()["payload"]["said"]["text"]))
        for response in responses
        if response.status_code == 200
    ]
    assert max(counts) == 3


def test_gateways_go_on_with_their_share_while_the_hub_is_away(tmp_path: Path) -> None:
    with Fleet(tmp_path).serve() as fleet:
        for number in range(3):
            while fleet.send(number, "probe") != 200:
                pass  # until it has a lease
        fleet.hub.kill()
        for gateway in fleet.gateways:
            gateway.wait_for_event("limits are not shared; the last share counts", gateways=3)
        statuses = [fleet.send(number, "probe") for number in range(150)]
        assert set(statuses) == {200, 429}, "what they held, and then no more"
        assert 3 + statuses.count(200) <= 40
