"""The options told: origins, secrets hidden, a JSON Schema that says what the reader says."""

from typing import Any

import jsonschema
import pytest

from config import source, tell
from config.resolve import resolve_with_origins
from config.source import ConfigError
from tests.test_house import ROOT

TEXT = """\
gateway: {port: 1}
lb:
  token: s3cret
services:
  ocr: {deadline: 9, token: other}
instances:
  - {service: ocr, addr: "h:1"}
"""


def told(text: str = TEXT, **more: dict[str, str]) -> dict[str, tuple[Any, str]]:
    config, origins = resolve_with_origins(
        source.parse_yaml(text, "ase.yaml"), more.get("environ", {}), more.get("flags", {})
    )
    return {
        line.name: (line.value, line.origin) for line in tell.effective_options(config, origins)
    }


def test_every_value_has_its_origin() -> None:
    found = told(environ={"ASE_GATEWAY_DEADLINE": "2"}, flags={"gateway.port": "3"})
    assert found["gateway.port"] == (3, "--gateway-port")
    assert found["gateway.deadline"] == (2.0, "ASE_GATEWAY_DEADLINE")
    assert found["gateway.host"] == ("127.0.0.1", "default")
    assert found["services.ocr.deadline"] == (9.0, "ase.yaml:5:9")
    assert found["instances.0.addr"] == ("h:1", "ase.yaml:7:20")
    assert told()["gateway.port"] == (1, "ase.yaml:1:11")


def test_secrets_are_not_shown() -> None:
    found = told()
    assert found["lb.token"] == (tell.REDACTED, "ase.yaml:3:3")
    assert found["services.ocr.token"][0] == tell.REDACTED
    assert "s3cret" not in str(found)
    assert told("{}")["lb.token"] == ("", "default")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (TEXT, True), ("{}", True), ("gateway: {port: 70000}", False),
        ("gateway: {prot: 1}", False),
        ("gateway: {port: '1'}", False), ("lb: {policy: best}", False), ("lb: {hub: 'a'}", False),
        ("lb: {hub: ''}", True), ("lb: {hub: 'a:1,b:2'}", True), ("lb: {allow: [x]}", False),
        ("services: {'a b': {}}", False), ("services: {a: {deadline: 0}}", False),
        ("instances: [{service: a}]", False), ("instances: [{service: a, addr: 'h:1'}]", True),
        ("gateway: {once_lane: 1}", False), ("log_level: loud", False), ("schemas: 3", False),
    ],
)  # fmt: skip
def test_the_schema_for_editors_says_what_the_reader_says(text: str, good: bool) -> None:
    schema = tell.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    parsed = source.parse_yaml(text, "ase.yaml")
    try:
        resolve_with_origins(parsed, {}, {})
        read = True
    except ConfigError:
        read = False
    assert read is good
    assert jsonschema.Draft202012Validator(schema).is_valid(parsed.tree) is good


def test_the_table_of_the_docs_is_fresh() -> None:
    """Renew it by `asectl config schema --table`, under the head of docs/options.md."""
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8").endswith(tell.markdown_table())


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "true"), (False, "false"), (0.5, "0.5"), (3.0, "3"), (None, ""), (["a", "b"], "a, b")],
)
def test_a_value_is_shown_as_the_file_has_it(value: Any, shown: str) -> None:
    assert tell.format_value(value) == shown
