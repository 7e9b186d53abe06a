"""Positions at a server that behaves as Kong does: they come and go, what is of others stays."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from re import fullmatch

import pytest

from config.options import Config, KongOptions
from deploy.engine.leadership import SoleLeadership
from deploy.kong.admin import KongApiError
from deploy.kong.check import find_errors
from deploy.kong.document import KongError, make_document, make_position_document
from deploy.kong.position_sync import KongPositions
from tests.clock import Clock
from tests.deploy.kong.fake_kong import FakeKong

CONFIG = Config(kong=KongOptions(gateways=["10.0.0.11:8200", "10.0.0.12:8200"]))


@pytest.fixture(params=[True, False], ids=["database", "db-less"])
def kong(request: pytest.FixtureRequest) -> Iterator[FakeKong]:
    with FakeKong(database=request.param, token="t") as running:
        running.load({"services": [{"name": "shop", "host": "shop.internal"}]})
        yield running


class Sync:
    """What keeps positions at a Kong."""

    def __init__(self, kong: FakeKong, config: Config = CONFIG) -> None:
        self.names: list[str] = []
        self.clock = Clock()
        self.kong = kong
        own = replace(config.kong, admin=kong.url, admin_token="t")
        self.positions = KongPositions(
            replace(config, kong=own), self.list_positions, SoleLeadership(), self.clock
        )

    async def list_positions(self) -> list[str]:
        return self.names

    def look(self, *names: str) -> list[str]:
        """Have these positions; return the services of Kong."""
        self.names = [*names]
        asyncio.run(self.positions.look())
        return sorted(service["name"] for service in self.kong.store["services"].values())


def test_each_position_has_a_service_with_a_route(kong: FakeKong) -> None:
    sync = Sync(kong)
    assert sync.look("north", "south") == [
        "ase-positions.north", "ase-positions.south", "shop",
    ]  # fmt: skip
    hosts = {each["name"]: each["host"] for each in kong.store["services"].values()}
    assert hosts["ase-positions.north"] == "ase-gateways"  # that of `asectl kong push`
    assert len(kong.store["routes"].values()) == 2
    before = len(kong.requests)
    sync.look("north", "south")
    assert len(kong.requests) == before  # nothing has changed
    assert sync.look("south") == ["ase-positions.south", "shop"]
    assert sync.look() == ["shop"]


def test_what_somebody_has_removed_comes_back(kong: FakeKong) -> None:
    sync = Sync(kong)
    sync.look("north")
    kong.store["services"].clear()
    kong.store["routes"].clear()
    sync.clock.now += 60.0
    assert "ase-positions.north" in sync.look("north")


def test_what_is_of_others_is_not_touched(kong: FakeKong) -> None:
    kong.load({"services": [{"name": "ase-positions.north", "host": "theirs"}]})
    with pytest.raises(KongApiError, match=r"ase-positions\.north, which are not ours"):
        Sync(kong).look("north")


def test_kong_that_is_away_is_said_and_tried_again() -> None:
    with FakeKong(token="t") as kong:
        sync = Sync(kong)
    with pytest.raises(KongApiError, match="Connection refused"):
        sync.look("north")
    with pytest.raises(KongError, match=r"kong\.gateways is empty"):
        make_position_document(Config(), ["north"])


def test_documents_are_valid_and_have_nothing_in_common() -> None:
    own, positions = make_document(CONFIG), make_position_document(CONFIG, ["north", "a-1"])
    for document in (own, positions):
        assert find_errors(document) == []
    kinds = [{each["name"] for each in document["services"]} for document in (own, positions)]
    assert kinds[0].isdisjoint(kinds[1])


@pytest.mark.parametrize(
    ("path", "is_of_north"),
    [
        ("/v1/north", True), ("/v1/private/north", True), ("/inference-service-north", True),
        ("/closed-loop-north", True), ("/v1/northwest", False), ("/v1/apis", False),
        ("/v1/private/north/x", False),
    ],
)  # fmt: skip
def test_route_of_a_position_is_for_its_paths_alone(path: str, is_of_north: bool) -> None:
    document = make_position_document(CONFIG, ["north"])
    (pattern,) = document["services"][0]["routes"][0]["paths"]
    assert pattern.startswith("~")
    assert bool(fullmatch(pattern[1:].removesuffix("$"), path)) is is_of_north
