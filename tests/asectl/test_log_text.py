"""Log records as text for people."""

import re
from pathlib import Path

import httpx
import pytest

from asectl.log_text import format_fields
from tests.harness import PROBE, ROOT, Process

RECORD = {
    "time": "2026-11-30T16:23:08.123+00:00",
    "level": "info",
    "logger": "ase.gateway",
    "message": "listening",
}


def test_fields_follow_the_message() -> None:
    fields = {**RECORD, "gateway": "http://127.0.0.1:8200", "grpc": "", "code": 0, "ms": 1.5}
    assert format_fields(fields, colour=False) == (
        "16:23:08.123 INFO  gateway  listening gateway=http://127.0.0.1:8200 code=0 ms=1.5"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", '"a b"'),
        ('a" level="ERROR', r'"a\" level=\"ERROR"'),
        ("a\n16:23:08.124 ERROR", r'"a\n16:23:08.124 ERROR"'),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("x=1", '"x=1"'),
        (["a", 1], '["a", 1]'),
        (True, "true"),
    ],
)
def test_no_value_looks_like_another_field_or_line(value: object, text: str) -> None:
    line = format_fields({**RECORD, "path": value}, colour=False)
    assert line.endswith(f" listening path={text}")
    assert "\n" not in line
    assert "\x1b" not in line


def test_message_is_one_line_and_a_traceback_is_indented() -> None:
    fields = {**RECORD, "level": "error", "message": "a\nb", "traceback": "one\n  two\x1b"}
    assert format_fields(fields, colour=False) == (
        "16:23:08.123 ERROR gateway  a\\nb\n    one\n      two\\u001b"
    )


def test_colours_mark_the_level() -> None:
    assert format_fields({**RECORD, "level": "warning"}, colour=True).startswith("\x1b[33m16:23")
    assert "\x1b" not in format_fields(RECORD, colour=True)


def test_gateway_hub_and_loader_log_text_if_the_option_says_so(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("log_format: text\n")
    ports = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")
    with (
        Process("gateway", *ports, cwd=tmp_path) as gateway,
        Process("lb", "--lb-port", "0", "--lb-admin-port", "0", "--log-format", "text") as hub,
        Process("loader", "run", PROBE, "--log-format", "text") as loader,
    ):
        for process in (gateway, hub, loader):
            line = process.wait_for_text("listening")
            assert re.match(r"\d\d:\d\d:\d\d\.\d{3} INFO  \w+ +listening \w+=", line)
            assert process.lines == []
        url = re.search(r"gateway=(\S+)", gateway.wait_for_text("listening"))
        assert url is not None
        httpx.get(f"{url[1]}/v1/private/x%0aERROR", trust_env=False)
        assert " path=" in gateway.wait_for_text(" request ")


def test_up_understands_its_children_whatever_the_option_says(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("log_format: text\n")
    env = {"ASE_LOG_FORMAT": "text"}
    with Process("up", str(ROOT / "tests/wrappers/probe.py:Probe"), "--port", "0", cwd=tmp_path,
                 env=env) as up:  # fmt: skip
        up.wait_for_output("ready")
