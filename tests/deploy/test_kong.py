"""The Kong file: golden files, the rules that must hold in every one, and what is refused."""

import subprocess
from pathlib import Path

import pytest
import yaml

from config import source
from config.options import Config
from config.resolve import resolve
from deploy import kong
from deploy.kong import KongError

GOLDEN = Path(__file__).parent.parent / "golden" / "kong"
FILES = sorted(GOLDEN.glob("*.txt"))


def config(text: str) -> Config:
    return resolve(source.parse_yaml(text, "ase.yaml"), {}, {})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    told, expected = path.read_text(encoding="utf-8").split("----------\n")
    assert kong.render(config(told)) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_rules_of_every_file(path: Path) -> None:
    told, _ = path.read_text(encoding="utf-8").split("----------\n")
    file = yaml.safe_load(kong.render(config(told)))
    assert set(file) == {"_format_version", "upstreams", "services"}, "Kong and decK take no others"
    (upstream,), (service,) = file["upstreams"], file["services"]
    assert service["host"] == upstream["name"]
    assert service["retries"] == 0
    assert service["read_timeout"] >= config(told).gateway.deadline * 1000 + 5000
    assert service["read_timeout"] > config(told).session.ping * 1000, "a session may be silent"
    checks = upstream["healthchecks"]
    active, passive = checks["active"], checks["passive"]
    assert active["healthy"]["interval"] >= 2
    assert active["unhealthy"]["interval"] >= 2
    assert active["timeout"] < active["unhealthy"]["interval"]
    assert not {429, 503, 502, 504} & set(passive["unhealthy"]["http_statuses"])
    assert 429 not in active["unhealthy"]["http_statuses"]
    assert 404 not in active["unhealthy"]["http_statuses"]
    assert all(len(target["target"].partition("://")[0]) > 0 for target in upstream["targets"])
    for route in service["routes"]:
        assert route["strip_path"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "kong.gateways is empty"),
        ("kong: {gateways: ['http://a:1']}", "must be host:port"),
        ("kong: {gateways: ['a']}", "must be host:port"),
        ("kong: {gateways: ['a:0']}", "must be host:port"),
        ("kong: {gateways: ['a:1', 'a:1']}", "names an address twice"),
        ("kong: {gateways: ['a:1'], name: 'a b'}", "Kong wants a host name"),
    ],
)
def test_what_kong_would_refuse_is_refused_here(text: str, words: str) -> None:
    with pytest.raises(KongError, match=words):
        kong.render(config(text))


def test_deadlines_of_schemas_count_too() -> None:
    told = config("kong: {gateways: ['a:1']}")
    assert "read_timeout: 25000\n" in kong.render(told), "the session's pings, and five seconds"
    quick = config("kong: {gateways: ['a:1']}\nsession: {ping: 1, keep_alive: 2}")
    assert "read_timeout: 10000\n" in kong.render(quick)
    assert "read_timeout: 65000\n" in kong.render(told, [1.0, 60.0])


@pytest.mark.peer("deck")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_deck_takes_it(path: Path, tmp_path: Path) -> None:
    told, _ = path.read_text(encoding="utf-8").split("----------\n")
    file = tmp_path / "kong.yaml"
    file.write_text(kong.render(config(told)))
    subprocess.run(["deck", "validate", "-s", str(file)], check=True, capture_output=True)
    file.write_text(file.read_text().replace("retries: 0", "retries: x"))
    bad = subprocess.run(["deck", "validate", "-s", str(file)], check=False, capture_output=True)
    assert bad.returncode != 0, "it does look"
