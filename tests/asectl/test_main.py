"""The command line: help, exit codes, and errors that name file, line and cure."""

import subprocess
import sys
from pathlib import Path

import pytest

from asectl.main import COMMANDS
from tests.harness import ROOT, run_asectl


def asectl(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_asectl(*args, cwd=cwd)


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]], ids=str)
def test_help_lists_every_command(args: list[str]) -> None:
    """As a user types it."""
    result = subprocess.run(
        [sys.executable, "-m", "asectl", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0
    assert all(name in result.stdout for name in COMMANDS)


def help_hint(command: str) -> str:
    return f"  asectl {command} --help lists the options\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["gatway"], "asectl: unknown command 'gatway'; did you mean 'gateway'?\n"),
        (["api", "creat"], "asectl: unknown command 'api creat'; did you mean 'api create'?\n"),
        (["gatway", "--port", "1"], "asectl: unknown command 'gatway'; did you mean 'gateway'?\n"),
        (["xyzzy"], "asectl: unknown command 'xyzzy'; asectl --help lists them\n"),
        (["gateway", "--prot", "1"],
         "asectl gateway: unrecognized arguments: --prot 1; did you mean '--gateway-port'?\n"
         + help_hint("gateway")),
        (["loader", "run"], "asectl: give FILE:Class, or --plugin LIBRARY --schema FILE\n"),
        (["loader", "run", "x.py", "--lb", "127.0.0.1"],
         "asectl: --lb 127.0.0.1: must be host:port, without a scheme\n"),
    ],
    ids=str,
)  # fmt: skip
def test_usage_error_is_one_message_with_its_cure(args: list[str], message: str) -> None:
    result = asectl(*args)
    assert result.returncode == 2
    assert result.stderr == message


def test_config_check_takes_files_in_both_ways(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("gateway: {port: 1}\n")
    (tmp_path / "b.yaml").write_text("gateway: {port: x}\n")
    result = asectl("config", "check", "a.yaml", "-c", "b.yaml", cwd=tmp_path)
    assert result.returncode == 3
    assert "b.yaml:1:17: error: gateway.port must be a whole number" in result.stdout
    assert asectl("config", "check", "-c", "a.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    result = asectl(*name.split(), "--help")
    assert result.returncode == 0
    assert f"usage: asectl {name}" in result.stdout


def test_version() -> None:
    assert asectl("--version").stdout.startswith("asectl 0.")


def test_bad_config_exits_3_and_is_shown_in_place(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("gateway:\n  prot: 8200\n")
    for command in (["gateway"], ["lb"], ["kong", "render"]):
        result = asectl(*command, cwd=tmp_path)
        assert result.returncode == 3
        assert "ase.yaml:2:3: error: unknown key 'prot'" in result.stderr
        assert "did you mean 'port'?" in result.stderr


def test_missing_config_exits_3() -> None:
    result = asectl("gateway", "-c", "nowhere.yaml")
    assert result.returncode == 3
    assert "nowhere.yaml" in result.stderr


def test_missing_schema_folder_exits_3(tmp_path: Path) -> None:
    result = asectl("gateway", "--schemas", str(tmp_path / "none"), "--gateway-port", "0")
    assert result.returncode == 3
    assert "no such folder (option schemas)" in result.stderr


def test_missing_wrapper_file_exits_1() -> None:
    result = asectl("loader", "run", "nowhere.py:X")
    assert result.returncode == 1
    assert result.stderr == "asectl: nowhere.py: no such file; give FILE:Class\n"


def test_kong_render_prints_the_file_or_says_what_is_missing(tmp_path: Path) -> None:
    result = asectl("kong", "render", cwd=tmp_path)
    assert result.returncode == 3
    assert "kong.gateways is empty" in result.stderr
    (tmp_path / "ase.yaml").write_text("kong: {gateways: ['10.0.0.1:8200']}\n")
    result = asectl("kong", "render", cwd=tmp_path)
    assert result.returncode == 0
    assert "target: 10.0.0.1:8200" in result.stdout


def test_kong_render_uses_schema_deadlines(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "slow.py").write_text(
        "from aseloader import Output, Wrapper\n"
        "class Slow(Wrapper):\n"
        "    service, deadline, out = 'slow', 60.0, Output('text')\n"
        "    def once(self, params, inputs, context): ...\n"
    )
    result = asectl("loader", "schema", "slow.py:Slow", cwd=tmp_path)
    assert result.returncode == 0
    (tmp_path / "schemas" / "schema_slow.json").write_text(result.stdout)
    (tmp_path / "ase.yaml").write_text("schemas: schemas\nkong: {gateways: ['a:1']}\n")
    assert "read_timeout: 65000\n" in asectl("kong", "render", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    "args",
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
def test_invalid_arguments_are_usage_errors(args: list[str]) -> None:
    result = asectl(*args)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_wrapper_load_error_shows_only_its_own_frames(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import json\n\nx = json.loads('{')\n")
    result = asectl("loader", "run", "mine.py", cwd=tmp_path)
    assert result.returncode == 1
    assert "mine.py does not load" in result.stderr
    assert 'mine.py", line 3' in result.stderr
    assert "asectl/main.py" not in result.stderr


def test_healthcheck_of_an_unreachable_url_fails() -> None:
    assert asectl("healthcheck", "--url", "http://127.0.0.1:9").returncode == 1
    assert asectl("healthcheck", "--url", "file:///etc/passwd").returncode == 2
