"""The options told: origins, secrets hidden, a JSON Schema that says what the reader says."""

from typing import Any

import jsonschema
import pytest

from config import describe, source
from config.resolve import resolve_with_origins
from config.source import ConfigError
from tests.test_house import ROOT

CONFIG_YAML = """\
gateway: {port: 1}
lb:
  token: s3cret
services:
  ocr: {deadline: 9, token: other}
instances:
  - {service: ocr, addr: "h:1"}
"""


def effective_options(
    text: str = CONFIG_YAML, **sources: dict[str, str]
) -> dict[str, tuple[Any, str]]:
    config, origins = resolve_with_origins(
        source.parse_yaml(text, "ase.yaml"), sources.get("environ", {}), sources.get("flags", {})
    )
    return {
        option.name: (option.value, option.origin)
        for option in describe.effective_options(config, origins)
    }


def test_every_value_has_its_origin() -> None:
    options = effective_options(environ={"ASE_GATEWAY_DEADLINE": "2"}, flags={"gateway.port": "3"})
    assert options["gateway.port"] == (3, "--gateway-port")
    assert options["gateway.deadline"] == (2.0, "ASE_GATEWAY_DEADLINE")
    assert options["gateway.host"] == ("127.0.0.1", "default")
    assert options["services.ocr.deadline"] == (9.0, "ase.yaml:5:9")
    assert options["instances.0.addr"] == ("h:1", "ase.yaml:7:20")
    assert effective_options()["gateway.port"] == (1, "ase.yaml:1:11")


def test_secrets_are_redacted() -> None:
    options = effective_options()
    assert options["lb.token"] == (describe.REDACTED, "ase.yaml:3:3")
    assert options["services.ocr.token"][0] == describe.REDACTED
    assert "s3cret" not in str(options)
    assert effective_options("{}")["lb.token"] == ("", "default")


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (CONFIG_YAML, True), ("{}", True), ("gateway: {port: 70000}", False),
        ("gateway: {prot: 1}", False),
        ("gateway: {port: '1'}", False), ("lb: {policy: best}", False), ("lb: {hub: 'a'}", False),
        ("lb: {hub: ''}", True), ("lb: {hub: 'a:1,b:2'}", True), ("lb: {allow: [x]}", False),
        ("services: {'a b': {}}", False), ("services: {a: {deadline: 0}}", False),
        ("instances: [{service: a}]", False), ("instances: [{service: a, addr: 'h:1'}]", True),
        ("gateway: {once_lane: 1}", False), ("log_level: loud", False), ("schemas: 3", False),
        ("", True), ("gateway:\n", True), ("services:\n", True), ("services: {a: }", True),
        ("instances:\n", True), ("instances: [null]", False), ("gateway: {port: null}", False),
        ("gateway: {port: 8200.0}", True), ("gateway: {max_body: 1e6}", True),
        ("gateway: {port: 8200.5}", False),
    ],
)  # fmt: skip
def test_editor_schema_agrees_with_the_parser(text: str, valid: bool) -> None:
    schema = describe.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    parsed = source.parse_yaml(text, "ase.yaml")
    try:
        resolve_with_origins(parsed, {}, {})
        accepted = True
    except ConfigError:
        accepted = False
    assert accepted is valid
    assert jsonschema.Draft202012Validator(schema).is_valid(parsed.tree) is valid


def test_options_table_in_docs_is_up_to_date() -> None:
    """Renew it by `asectl config schema --table`, under the head of docs/options.md."""
    assert (
        (ROOT / "docs/options.md").read_text(encoding="utf-8").endswith(describe.markdown_table())
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (0.5, "0.5"), (3.0, "3"), (None, ""), (["a", "b"], "a, b")],
)
def test_value_is_formatted_as_in_the_file(value: Any, text: str) -> None:
    assert describe.format_value(value) == text
