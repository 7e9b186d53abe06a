"""`asectl key`: keys are made, listed, replaced and revoked, and shown once."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asectl.keys.store import time_text
from gateway.access.key_store import KeyStore
from tests.harness import run_asectl


class Keys:
    """`asectl key` with the store of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "callers.sqlite"
        (folder / "ase.yaml").write_text("auth: {keys: callers.sqlite}\n")
        self.stderr = ""

    def __call__(self, *args: str, code: int = 0) -> str:
        result = run_asectl("key", *args, "-c", str(self.folder / "ase.yaml"))
        self.stderr = result.stderr
        assert result.returncode == code, result.stderr
        return result.stdout.strip()

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self("list", "-o", "json"))
        return rows


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_key_is_shown_once_and_stored_as_its_hash(keys: Keys) -> None:
    key = keys("create", "--app", "shop", "--services", "ocr, asr", "--expires", "90d")
    assert re.fullmatch(r"ase_[0-9A-Za-z]{42}", key)
    assert re.match(r"key k\w{9} of app shop, for asr, ocr; expires: \d{4}-", keys.stderr)
    assert "`auth: key` in its ase.yaml" in keys.stderr
    assert key.encode() not in keys.path.read_bytes()
    assert key not in keys("list") + json.dumps(keys.rows())
    table, _ = KeyStore(keys.path).load()
    stored = table.find_key(key)
    assert stored is not None
    assert (stored.identity.app_id, stored.identity.services) == ("shop", {"ocr", "asr"})


def test_limits_and_comment_are_listed(keys: Keys) -> None:
    limits = ("--rps", "20", "--concurrency", "8", "--quota", "100000/month")
    keys("create", "--app", "shop", *limits, "--comment", "of the web shop")
    (row,) = keys.rows()
    assert row["limits"] == "20/s, 8 at a time, 100000/month"
    assert (row["comment"], row["state"], row["ends"]) == ("of the web shop", "valid", "never")
    header, line = keys("list").splitlines()
    assert header.split() == [
        "ID", "APP", "KIND", "SERVICES", "LIMITS", "ENDS", "STATE", "COMMENT",
    ]  # fmt: skip
    assert line.endswith("of the web shop")


def test_pair_is_two_lines(keys: Keys) -> None:
    lines = keys("create", "--app", "shop", "--hmac").splitlines()
    key_id, secret = (line.partition("=")[2] for line in lines)
    assert [line.partition("=")[0] for line in lines] == ["api_key", "api_secret"]
    table, _ = KeyStore(keys.path).load()
    stored = table.find_pair(key_id)
    assert stored is not None
    assert stored.secret == secret
    assert secret not in keys("list")


def test_rotated_key_has_the_same_rights_and_the_old_one_an_end(keys: Keys) -> None:
    keys("create", "--app", "shop", "--services", "ocr", "--rps", "5", "--comment", "c")
    (old,) = keys.rows()
    key = keys("rotate", old["id"], "--overlap", "1d")
    first, second = keys.rows()
    assert (first["id"], first["state"]) == (old["id"], "valid")
    assert first["ends"] != "never"
    assert {name: second[name] for name in ("app", "services", "limits", "comment", "ends")} == {
        name: old[name] for name in ("app", "services", "limits", "comment", "ends")
    }
    table, _ = KeyStore(keys.path).load()
    stored = table.find_key(key)
    assert stored is not None
    assert stored.identity.key_id == second["id"]


def test_revoked_key_stays_in_the_list(keys: Keys) -> None:
    keys("create", "--app", "shop")
    (row,) = keys.rows()
    keys("revoke", row["id"])
    assert keys.rows()[0]["state"] == "was revoked"
    keys("rotate", row["id"], code=1)
    assert "no valid key" in keys.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("create",), 2, "--app"),
        (("create", "--app", ""), 2, "--app must not be empty"),
        (("create", "--app", "a", "--services", "a b"), 2, "is not a service id"),
        (("create", "--app", "a", "--expires", "90"), 2, "no time such as 90d"),
        (("create", "--app", "a", "--expires", "0d"), 2, "no time such as 90d"),
        (("create", "--app", "a", "--quota", "10/week"), 2, "no quota such as 1000/day"),
        (("create", "--app", "a", "--burst", "-1"), 2, "limits not be negative"),
        (("create", "--app", "a", "--max-body", "-1"), 2, "limits not be negative"),
        (("create", "--app", "a", "--rps", "-1"), 2, "--rps must be 0 to 1,000,000"),
        (("create", "--app", "a", "--rps", "nan"), 2, "--rps must be 0 to 1,000,000"),
        (("create", "--app", "a", "--rps", "inf"), 2, "--rps must be 0 to 1,000,000"),
        (("create", "--app", "a\n"), 2, "--app must not be empty"),
        (("list",), 3, "callers.sqlite: No such file or directory; run asectl key create"),
        (("revoke", "k1"), 3, "run asectl key create"),
    ],
)
def test_wrong_arguments_are_explained(
    keys: Keys, args: tuple[str, ...], code: int, message: str
) -> None:
    keys(*args, code=code)
    assert message in keys.stderr


def test_unknown_key_has_a_suggestion(keys: Keys) -> None:
    keys("create", "--app", "a")
    (row,) = keys.rows()
    keys("revoke", row["id"][:-1], code=1)
    assert f"did you mean '{row['id']}'?" in keys.stderr


def test_damaged_store_is_named(keys: Keys) -> None:
    keys.path.write_bytes(b"x" * 1000)
    keys("create", "--app", "a", code=3)
    assert "callers.sqlite: file is not a database; it is no file of asectl key" in keys.stderr
    assert keys.path.read_bytes() == b"x" * 1000


def test_times_are_in_utc() -> None:
    assert time_text(0.0) == "never"
    assert time_text(1_796_040_000.0) == "2026-11-30 12:00 UTC"


def test_keys_for_a_registry_have_roles(tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return run_asectl("key", *args, cwd=tmp_path)

    created = run("create", "--app", "ops", "--role", "editor@shop", "--role", "reader")
    assert created.returncode == 0
    assert "editor@shop, reader of the registry" in created.stderr
    assert "editor@shop,reader" in run("list").stdout
    key_id = run("list").stdout.splitlines()[1].split()[0]
    assert run("rotate", key_id).returncode == 0
    assert run("list").stdout.count("editor@shop,reader") == 2
    refused = run("create", "--app", "ops", "--role", "owner")
    assert refused.returncode == 2
    assert "there are reader, editor, publisher, admin" in refused.stderr
    assert run("create", "--app", "ops", "--role", "reader", "--hmac").returncode == 2
