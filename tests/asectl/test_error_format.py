"""Errors for machines: every text is escaped as the standard of its format says."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from asectl.error_format import format_errors
from config.source import ConfigError, Diagnostic, SourceLocation

PATH = Path("a b/c,d:e%20#é.yaml")


def errors(message: str, hint: str = "") -> list[tuple[Path, ConfigError]]:
    diagnostic = Diagnostic(message, SourceLocation(3, 7), hint=hint)
    return [(PATH, ConfigError(str(PATH), [""] * 9, [diagnostic]))]


def test_workflow_command() -> None:
    text = format_errors(errors("50% of\r\na: b, c"), 1, "github")
    assert text == (
        "::error file=a b/c%2Cd%3Ae%2520#é.yaml,line=3,col=7::50%25 of%0D%0Aa: b, c"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("keyword 'a' is not known", "keyword 'a' is not known"),
        ("{0} and {x}", "{{0}} and {{x}}"),
        ("[a](1)", "\\[a\\](1)"),
        ("a\\b", "a\\\\b"),
    ],
)
def test_sarif(message: str, text: str) -> None:
    (result,) = json.loads(format_errors(errors(message, "try {y}"), 1, "sarif"))["runs"][0][
        "results"
    ]
    assert result["message"]["text"] == text + "; try {{y}}"
    location = result["locations"][0]["physicalLocation"]
    uri = location["artifactLocation"]["uri"]
    assert uri == "a%20b/c%2Cd%3Ae%2520%23%C3%A9.yaml"
    assert unquote(uri) == str(PATH)
    assert location["region"] == {"startLine": 3, "startColumn": 7}
