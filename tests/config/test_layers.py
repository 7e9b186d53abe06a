import pytest

from config import layers, resolve
from config.options import Config
from config.source import SourceFile, parse_yaml

SHARED = """
auth: key
gateway: {deadline: 4, port: 8300, tls_cert: cert.pem}
services: {image: {deadline: 2, rate: 10}, audio: {deadline: 9}}
instances: [{service: image, addr: a:1}]
"""


def merged(own: str | None) -> Config:
    source = parse_yaml(own, "ase.yaml") if own is not None else None
    return resolve.resolve(layers.merge_sources(parse_yaml(SHARED, "shared"), source), {}, {})


def test_what_a_host_says_itself_counts() -> None:
    config = merged(
        "gateway: {port: 8200}\nservices: {image: {rate: 20}}\ninstances: [{service: b, addr: b:1}]"
    )
    assert (config.gateway.port, config.gateway.deadline) == (8200, 4)
    assert (config.services["image"].rate, config.services["image"].deadline) == (20, 2)
    assert config.services["audio"].deadline == 9
    assert [instance.addr for instance in config.instances] == ["b:1"]  # lists are replaced


@pytest.mark.parametrize(
    ("own", "methods"),
    [
        (None, ["key"]),
        ("", ["key"]),
        ("auth: none", ["none"]),
        ("auth: [jwt, key]", ["jwt", "key"]),
        ("auth: {clock_skew: 10}", ["key"]),
        ("auth:", ["key"]),  # an empty section says nothing
    ],
)
def test_shorthands_are_merged_in_full(own: str | None, methods: list[str]) -> None:
    assert merged(own).auth.methods == methods


def test_an_empty_layer_changes_nothing() -> None:
    empty = layers.merge_sources(SourceFile("shared"), parse_yaml("gateway: {port: 1}", "own"))
    assert empty.tree == {"gateway": {"port": 1}}


def test_paths_are_placed() -> None:
    config = merged("schemas: folder\nauth: {jwks: 'https://a.example/keys'}")
    seen = []

    def place(name: str, value: str) -> str:
        seen.append(name)
        return f"/etc/{value}"

    placed = layers.place_paths(config, place)
    assert placed.gateway.tls_cert == "/etc/cert.pem"
    assert placed.schemas == "/etc/folder"
    assert placed.auth.keys == "/etc/keys.sqlite"
    assert placed.auth.jwks == "https://a.example/keys"
    assert placed.gateway.port == config.gateway.port
    assert {"gateway.tls_cert", "schemas", "auth.keys", "registry.cache"} <= {*seen}
    assert "gateway.tls_key" not in seen  # empty
