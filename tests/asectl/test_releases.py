"""`asectl setup` and `asectl config upload ... status` against a real registry, as users type."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Process, run_asectl


class Shell:
    """Runs commands in a folder, with settings of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "XDG_CONFIG_HOME": str(folder / "xdg"), "USER": "ann"}

    def __call__(self, *args: str, code: int = 0, **environ: str) -> str:
        """Return stdout, then stderr; check the exit code."""
        result = run_asectl(*args, cwd=self.folder, environ={**self.environ, **environ})
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Process(
        "registry", "--registry-port", "0", "--registry-http-port", "0", cwd=tmp_path
    ) as registry:
        shell = Shell(tmp_path)
        url = registry.wait_for_event("listening")["api"]
        shell("setup", "--url", url, "--project", "shop", "--group", "web")
        yield shell


def test_settings_are_kept_for_their_owner_alone(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.write("key", "ase_secret\n")
    out = shell("setup", "--url", "https://r.example:8231", "--region", "dx", "--key-file", "key")
    assert "********" in out
    assert "ase_secret" not in out
    path = tmp_path / "xdg/asectl/settings.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["key"] == "ase_secret"
    shown = json.loads(shell("setup", "-o", "json"))
    assert (shown["url"], shown["region"], shown["project"]) == (
        "https://r.example:8231", "dx", "default",
    )  # fmt: skip
    assert "must begin with http" in shell("setup", "--url", "r.example", code=2)
    assert "project 'a b' is not a name" in shell("setup", "--project", "a b", code=2)
    assert "No such file" in shell("setup", "--key-file", "none", code=2)
    variables = {"ASECTL_URL": "http://127.0.0.1:1", "ASECTL_PROJECT": "other"}
    assert "127.0.0.1:1: does not answer" in shell("config", "list", code=4, **variables)
    assert json.loads(shell("setup", "-o", "json", **variables)) == shown  # what is in the file
    # They are no options of the product.
    assert "prometheus" not in shell("config", "show", **variables)
    path.write_text("{")
    assert "asectl setup writes it" in shell("config", "list", code=3)


def test_a_file_goes_from_upload_to_rollback(shell: Shell) -> None:
    assert "VERSION" in shell("config", "list")
    shell.write("ase.yaml", "gateway:\n  deadline: 4\n")
    out = shell("config", "upload", "gateway", "ase.yaml")
    assert "ase.yaml: config, 23 bytes, in the draft of shop/web/gateway/1.0.0" in out
    assert "+  deadline: 4" in shell("config", "diff", "gateway")
    shell("config", "diff", "gateway", "--exit-code", code=6)
    assert "to 0 instances" in shell("config", "publish", "gateway", "--dry-run")
    out = shell("config", "publish", "gateway", "-m", "first")
    assert "release 1 published" in out
    assert "no instance follows it" in out
    assert "nothing was edited since release 1" in shell("config", "publish", "gateway", code=1)
    shell.write("ase.yaml", "gateway:\n  deadline: 3\n")
    shell("config", "upload", "gateway/1.0.0", "ase.yaml")
    shell("config", "publish", "web/gateway/1.0.0", "-m", "second")
    history = shell("config", "history", "shop/web/gateway/1.0.0").splitlines()
    assert [line.split()[0] for line in history] == ["RELEASE", "2", "1"]
    assert history[1].endswith("second   stable")
    assert shell("config", "view", "gateway", "ase.yaml") == "gateway:\n  deadline: 3\n"
    assert "deadline: 4" in shell("config", "view", "gateway", "ase.yaml", "--release", "1")
    assert "release 3 published" in shell("config", "rollback", "gateway")
    assert "deadline: 4" in shell("config", "view", "gateway", "ase.yaml")
    out = shell("config", "history", "gateway", "--audit")
    assert [line.split()[4] for line in out.splitlines()[1:]] == [
        "edit", "publish", "edit", "publish", "roll",
    ]  # fmt: skip
    assert "release 3, gray -" in shell("config", "status", "gateway")
    files = json.loads(shell("config", "list", "gateway", "-o", "json"))["files"]
    assert files["ase.yaml"]["size"] == 23


def test_a_folder_is_uploaded_with_its_names(shell: Shell) -> None:
    shell.write("etc/a.txt", "a")
    shell.write("etc/.hidden", "h")
    shell("config", "upload", "gateway", "etc")
    shell("config", "upload", "gateway", "etc/a.txt", "--as", "more/b.txt")
    rows = shell("config", "list", "gateway").splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["a.txt", "more/b.txt"]
    assert "--as names one file" in shell(
        "config", "upload", "gateway", "etc/a.txt", "etc", "--as", "x", code=2
    )
    assert "no.txt: No such file" in shell("config", "upload", "gateway", "no.txt", code=1)


def test_what_is_invalid_is_shown_with_its_place(shell: Shell) -> None:
    shell.write("ase.yaml", "gateway:\n  deadlin: 4\n")
    out = shell("config", "upload", "gateway", "ase.yaml", code=1)
    assert "ase.yaml:2:3: error: unknown key 'deadlin'" in out
    assert "did you mean 'deadline'?" in out
    assert "is not project/group/service/version" in shell(
        "config", "view", "a/b/c/d/e", "x", code=2
    )


def editor(shell: Shell, script: str) -> dict[str, str]:
    """Return the environment of an editor that runs a line of shell on the file."""
    shell.write("editor.sh", f"#!/bin/sh\n{script}\n")
    (shell.folder / "editor.sh").chmod(0o755)
    return {"EDITOR": str(shell.folder / "editor.sh"), "VISUAL": ""}


def test_an_editor_changes_a_file(shell: Shell) -> None:
    first = editor(shell, "echo 'log_level: debug' >> \"$1\"")
    out = shell("config", "edit", "gateway", "ase.yaml", **first)
    assert "+log_level: debug" in out
    assert "in the draft of shop/web/gateway/1.0.0" in out
    assert "nothing changed" in shell("config", "edit", "gateway", "ase.yaml", **editor(shell, ":"))
    wrong = editor(shell, 'echo "log_levle: info" > "$1"')
    out = shell("config", "edit", "gateway", "ase.yaml", code=1, **wrong)
    assert "did you mean 'log_level'?" in out
    kept = out.rpartition("your text is in ")[2].split(";")[0]
    assert Path(kept).read_text() == "log_levle: info\n"
    failing = editor(shell, "exit 3")
    assert "ended with 3" in shell("config", "edit", "gateway", "ase.yaml", code=1, **failing)
    missing = {"EDITOR": "/no/editor", "VISUAL": ""}
    assert "set EDITOR" in shell("config", "edit", "gateway", "ase.yaml", code=1, **missing)


def test_who_edits_what_another_has_changed_is_told(shell: Shell) -> None:
    shell.write("a.txt", "1")
    shell("config", "upload", "gateway", "a.txt")
    other = f"{os.sys.executable} -m asectl config upload gateway other.txt --as a.txt"  # type: ignore[attr-defined]
    shell.write("other.txt", "theirs")
    slow = editor(
        shell, f'cd {shell.folder} && PYTHONPATH={Path.cwd()} {other} && echo mine > "$1"'
    )
    out = shell("config", "edit", "gateway", "a.txt", code=1, **slow)
    assert "somebody else has changed it" in out
    assert shell("config", "view", "gateway", "a.txt") == "theirs"


def test_gray_needs_a_rule_and_a_release(shell: Shell) -> None:
    assert "say one of --promote, --withdraw" in shell("config", "gray", "gateway", code=2)
    assert "is not NAME=VALUE" in shell("config", "gray", "gateway", "--label", "x", code=2)
    out = shell("config", "gray", "gateway", "--promote", code=1)
    assert "there is no gray release" in out
    shell.write("a.txt", "1")
    shell("config", "upload", "gateway", "a.txt")
    out = shell("config", "publish", "gateway", "--percent", "10", code=1)
    assert "a first release is for all" in out
    shell("config", "publish", "gateway")
    shell.write("a.txt", "2")
    shell("config", "upload", "gateway", "a.txt")
    out = shell("config", "publish", "gateway", "--region", "dx", "--percent", "10")
    assert "gray, to no instance that is here now, and 10 % of the others" in out
    assert "2 to region=dx or 10 %" in shell("config", "list")
    shell("config", "gray", "gateway", "--address", "gw-1:8200")
    assert "2 to gw-1:8200" in shell("config", "status", "gateway")
    shell("config", "gray", "gateway", "--withdraw")
    assert "release 1, gray -" in shell("config", "status", "gateway")


def test_approval(shell: Shell) -> None:
    shell.write("a.txt", "1")
    shell("config", "upload", "gateway", "a.txt")
    shell("registry", "approval", "shop", "on")
    assert "waits for somebody's asectl config approve" in shell("config", "publish", "gateway")
    assert "needs the approval of somebody else" in shell("config", "approve", "gateway", code=1)
    assert "release 1 of" in shell("config", "list")
    out = shell("config", "approve", "gateway", USER="bob", LOGNAME="bob")
    assert "no instance follows it" in out


def test_a_registry_that_is_away_is_said(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    out = shell("config", "list", "--url", "http://127.0.0.1:1", code=4)
    assert "does not answer as a registry does" in out
    assert "asectl registry runs one" in out


def test_a_backup_is_made_and_used(shell: Shell) -> None:
    shell.write("a.txt", "1")
    shell("config", "upload", "gateway", "a.txt")
    out: Any = shell("registry", "backup")
    assert "registry.sqlite.backup" in out
    assert (shell.folder / "registry.sqlite.backup").stat().st_size > 1000
