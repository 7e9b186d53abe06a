"""The command line: help, exit codes, and errors that name file, line and cure."""

import subprocess
import sys
from pathlib import Path

import pytest

from asectl.main import COMMANDS

ROOT = Path(__file__).parent.parent.parent


def asectl(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asectl", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]], ids=str)
def test_help_lists_every_command(words: list[str]) -> None:
    told = asectl(*words)
    assert told.returncode == 0
    assert all(name in told.stdout for name in COMMANDS)


def test_an_unknown_command_is_a_usage_error() -> None:
    told = asectl("dance")
    assert told.returncode == 2
    assert "usage: asectl COMMAND" in told.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    told = asectl(*name.split(), "--help")
    assert told.returncode == 0
    assert f"usage: asectl {name}" in told.stdout


def test_version() -> None:
    assert asectl("--version").stdout.startswith("asectl 0.")


def test_a_bad_config_is_exit_3_and_shown_in_place(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("gateway:\n  prot: 8200\n")
    for command in (["gateway"], ["lb"], ["kong", "render"]):
        told = asectl(*command, cwd=tmp_path)
        assert told.returncode == 3
        assert "ase.yaml:2:3: error: unknown key 'prot'" in told.stderr
        assert "did you mean 'port'?" in told.stderr


def test_a_config_that_is_not_there_is_exit_3() -> None:
    told = asectl("gateway", "-c", "nowhere.yaml")
    assert told.returncode == 3
    assert "nowhere.yaml" in told.stderr


def test_a_missing_schema_folder_is_exit_3(tmp_path: Path) -> None:
    told = asectl("gateway", "--schemas", str(tmp_path / "none"), "--gateway-port", "0")
    assert told.returncode == 3
    assert "no such folder (option schemas)" in told.stderr


def test_a_wrapper_that_is_not_there_is_exit_1() -> None:
    told = asectl("loader", "run", "nowhere.py:X")
    assert told.returncode == 1
    assert told.stderr == "asectl: nowhere.py: no such file; give FILE:Class\n"


def test_kong_render_prints_the_file_or_says_what_is_missing(tmp_path: Path) -> None:
    told = asectl("kong", "render", cwd=tmp_path)
    assert told.returncode == 3
    assert "kong.gateways is empty" in told.stderr
    (tmp_path / "ase.yaml").write_text("kong: {gateways: ['10.0.0.1:8200']}\n")
    told = asectl("kong", "render", cwd=tmp_path)
    assert told.returncode == 0
    assert "target: 10.0.0.1:8200" in told.stdout


def test_kong_render_knows_the_deadlines_of_schemas(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "slow.py").write_text(
        "from aseloader import Output, Wrapper\n"
        "class Slow(Wrapper):\n"
        "    service, deadline, out = 'slow', 60.0, Output('text')\n"
        "    def once(self, params, inputs, context): ...\n"
    )
    told = asectl("loader", "schema", "slow.py:Slow", cwd=tmp_path)
    assert told.returncode == 0
    (tmp_path / "schemas" / "schema_slow.json").write_text(told.stdout)
    (tmp_path / "ase.yaml").write_text("schemas: schemas\nkong: {gateways: ['a:1']}\n")
    assert "read_timeout: 65000\n" in asectl("kong", "render", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["up", "--demo", "--each", "0"],
        ["up", "--demo", "--port", "70000"],
        ["up", "--demo", "--port", "-5"],
        ["loader", "run", "x.py", "--total", "0"],
        ["loader", "run", "x.py", "--set", "weights"],
        ["lb", "--schemas", "x"],
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_a_usage_error(words: list[str]) -> None:
    told = asectl(*words)
    assert told.returncode == 2
    assert "Traceback" not in told.stderr


def test_a_wrapper_that_does_not_load_shows_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import json\n\nx = json.loads('{')\n")
    told = asectl("loader", "run", "mine.py", cwd=tmp_path)
    assert told.returncode == 1
    assert "mine.py does not load" in told.stderr
    assert 'mine.py", line 3' in told.stderr
    assert "asectl/main.py" not in told.stderr


def test_a_healthcheck_of_nobody_fails() -> None:
    assert asectl("healthcheck", "--url", "http://127.0.0.1:9").returncode == 1
    assert asectl("healthcheck", "--url", "file:///etc/passwd").returncode == 2
