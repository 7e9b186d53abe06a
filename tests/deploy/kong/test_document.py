"""The Kong file: golden files, the rules that must hold in every one, and what is refused."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import source
from config.options import Config
from config.resolve import resolve
from deploy.kong.check import find_errors
from deploy.kong.document import KongError, dump, make_document

GOLDEN = Path(__file__).parent.parent.parent / "golden" / "kong"
FILES = sorted(GOLDEN.glob("*.txt"))


def render(config_yaml: str, deadlines: Sequence[float] = ()) -> str:
    return dump(make_document(parse_config(config_yaml), deadlines))


def parse_config(text: str) -> Config:
    return resolve(source.parse_yaml(text, "ase.yaml"), {}, {})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    config_yaml, expected = path.read_text(encoding="utf-8").split("----------\n")
    assert render(config_yaml) == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_invariants_of_every_file(path: Path) -> None:
    config_yaml, _ = path.read_text(encoding="utf-8").split("----------\n")
    kong_file = yaml.safe_load(render(config_yaml))
    assert find_errors(kong_file) == []
    assert set(kong_file) == {"_format_version", "upstreams", "services"}, (
        "Kong and decK take no others"
    )
    (upstream,), (service,) = kong_file["upstreams"], kong_file["services"]
    assert service["host"] == upstream["name"]
    assert service["retries"] == 0
    assert service["read_timeout"] >= parse_config(config_yaml).gateway.deadline * 1000 + 5000
    assert service["read_timeout"] > parse_config(config_yaml).session.ping * 1000, (
        "a session may be silent"
    )
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
    entities = [upstream, service, *upstream["targets"], *service["routes"]]
    for entity in [*entities, *service.get("plugins", ())]:
        assert entity["tags"] == ["ase", f"ase.{service['name']}"]


def matched_route(kong_file: Any, method: str, path: str, host: str) -> str:
    """Return the route that Kong chooses: by method, host and the longest prefix of the path.

    Source: "How Kong Gateway proxying works", the traditional router.
    """
    routes = kong_file["services"][0]["routes"]
    candidates = [
        (len(prefix), route["name"])
        for route in routes
        for prefix in route["paths"]
        if path.startswith(prefix)
        and method in route["methods"]
        and ("hosts" not in route or host in route["hosts"])
    ]
    return max(candidates)[1] if candidates else ""


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/private/ocr", "ase-call"),
        ("GET", "/v1/private/ocr", "ase-call"),  # the handshake of a WebSocket
        ("OPTIONS", "/v1/private/ocr", "ase-call"),  # a preflight
        ("POST", "/v1/ocr", "ase-call"),  # without an envelope
        ("GET", "/v1/apis", "ase-apis"),
        ("GET", "/v1/apis/ocr/schema", "ase-apis"),
        ("OPTIONS", "/v1/apis", "ase-apis"),
        ("DELETE", "/v1/private/ocr", ""),
        ("POST", "/v1/apis", "ase-call"),  # the gateway answers 405
        ("GET", "/metrics", ""),
        ("GET", "/readyz", ""),
    ],
)
def test_requests_match_their_route(method: str, path: str, route: str) -> None:
    kong_file = make_document(parse_config("kong: {gateways: ['a:1'], hosts: [api.example]}"))
    assert matched_route(kong_file, method, path, "api.example") == route
    assert matched_route(kong_file, method, path, "other.example") == ""


@pytest.mark.parametrize(("tls", "protocol"), [("", "http"), ("tls_cert: c, tls_key: k", "https")])
def test_kong_speaks_to_gateways_as_they_listen(tls: str, protocol: str) -> None:
    text = f"gateway: {{{tls}}}\nkong: {{gateways: ['10.0.0.11:8200', 'ase_gateway:8200']}}"
    kong_file = make_document(parse_config(text))
    checks = kong_file["upstreams"][0]["healthchecks"]
    assert kong_file["services"][0]["protocol"] == protocol
    assert (checks["active"]["type"], checks["passive"]["type"]) == (protocol, protocol)
    assert checks["active"].get("https_verify_certificate") is (False if tls else None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "kong.gateways is empty"),
        ("kong: {gateways: ['http://a:1']}", "must be host:port"),
        ("kong: {gateways: ['a']}", "must be host:port"),
        ("kong: {gateways: ['a:0']}", "must be host:port"),
        ("kong: {gateways: ['a:1', 'a:1']}", "names an address twice"),
        ("kong: {gateways: ['a:1'], name: 'a b'}", "Kong wants a host name"),
        ("kong: {gateways: ['a:1', 'a:1 weight=2']}", "names an address twice"),
        ("kong: {gateways: ['a:1 weight=70000']}", "a weight is 0 to 65535"),
        ("kong: {gateways: ['a:1 weight=']}", "must be host:port"),
        ("kong: {gateways: ['a:1'], key_auth: true, hmac_auth: true}", "choose one of them"),
        ("kong: {gateways: ['a:1'], cors: true}", "session.origins is empty"),
        ("kong: {gateways: ['a:1'], rate_limit: [5/minute, 9/second]}", "less than a shorter"),
        ("kong: {gateways: ['a:1'], rate_limit: [5/minute, 9/minute]}", "one limit for each"),
    ],
)
def test_config_invalid_for_kong_is_rejected(text: str, message: str) -> None:
    with pytest.raises(KongError, match=message):
        render(text)


def test_schema_deadlines_raise_the_read_timeout() -> None:
    default = "kong: {gateways: ['a:1']}"
    assert "read_timeout: 25000\n" in render(default), "the session's pings, and five seconds"
    assert "read_timeout: 10000\n" in render(f"{default}\nsession: {{ping: 1, keep_alive: 2}}")
    assert "read_timeout: 65000\n" in render(default, [1.0, 60.0])


@pytest.mark.peer("deck")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_deck_accepts_it(path: Path, tmp_path: Path) -> None:
    config_yaml, _ = path.read_text(encoding="utf-8").split("----------\n")
    file = tmp_path / "kong.yaml"
    file.write_text(render(config_yaml))
    subprocess.run(["deck", "validate", "-s", str(file)], check=True, capture_output=True)
    file.write_text(file.read_text().replace("retries: 0", "retries: x"))
    bad = subprocess.run(["deck", "validate", "-s", str(file)], check=False, capture_output=True)
    assert bad.returncode != 0, "it does look"
