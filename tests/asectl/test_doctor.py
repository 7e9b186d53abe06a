"""`asectl doctor`: what it finds on this machine, in a config, and at a gateway that runs."""

import datetime
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asectl.doctor.check_result import CheckResult, Level, format_results
from asectl.doctor.local import check_certificate
from asectl.doctor.running import check_clock, check_difference, check_instance
from config.describe import effective_options
from config.options import Config, GatewayOptions
from gateway.sockets import max_connections
from tests.harness import Gateway, Loader, run_asectl

NOW = datetime.datetime.now(datetime.UTC)


def doctor(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_asectl("doctor", *args, cwd=cwd)


def results_of(*args: str, cwd: Path) -> dict[str, list[dict[str, Any]]]:
    report = doctor(*args, "--json", cwd=cwd)
    by_subject: dict[str, list[dict[str, Any]]] = {}
    for result in json.loads(report.stdout)["results"]:
        by_subject.setdefault(result["subject"], []).append(result)
    return by_subject


def test_running_gateway_and_its_loaders(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        flags = ["--url", gateway.admin, "--gateway-port", gateway.url.rpartition(":")[2]]
        healthy = results_of(*flags, cwd=tmp_path)
        assert [f["level"] for f in healthy["gateway"]] == ["ok"]
        assert healthy["public port"][0]["text"].startswith(f"{gateway.url} is ready")
        assert healthy["clock"][0]["level"] == "ok"
        assert "probe, up, in, answers in" in healthy[f"loader {loader.addr}"][0]["text"]
        assert "lb.accept_schemas (True, not False)" in healthy["config"][1]["text"]
        report = doctor(*flags, cwd=tmp_path)
        assert report.returncode == 0
        assert " 0 failed" in report.stdout.splitlines()[-1]
        os.kill(loader.process.pid, signal.SIGSTOP)
        try:
            hanging = doctor(*flags, cwd=tmp_path)
        finally:
            os.kill(loader.process.pid, signal.SIGCONT)
        assert hanging.returncode == 1
        assert f"FAIL  loader {loader.addr}" in hanging.stdout
        assert "its process has ended or hangs" in hanging.stdout


def test_no_gateway_is_no_failure_and_a_foreign_program_on_its_port_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        flags = ["--url", "http://127.0.0.1:1", "--gateway-port", port]
        result = doctor(*flags, cwd=tmp_path)
        assert result.returncode == 1
        assert f"port {port} is in use by" in result.stdout
        assert f"(pid {os.getpid()})" in result.stdout
    result = doctor(*flags, cwd=tmp_path)
    assert result.returncode == 0
    assert "none runs at http://127.0.0.1:1" in result.stdout


def test_public_port_is_not_taken_for_the_admin_port(tmp_path: Path) -> None:
    with Gateway() as gateway:
        result = doctor("--url", gateway.url, cwd=tmp_path)
        assert result.returncode == 1
        assert "is that the admin port?" in result.stdout


def test_every_local_fault_is_listed_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/schema_bad.json").write_text("{")
    (tmp_path / "ase.yaml").write_text(
        "schemas: schemas\nlb: {hub: 'no-such-host.invalid:1'}\n"
        "gateway: {tls_cert: missing.pem, tls_key: missing.pem, admin_port: 1}\n"
    )
    result = doctor(cwd=tmp_path)
    assert result.returncode == 1
    for part in (
        "ok    config",
        "FAIL  schemas",
        "asectl api check",
        "FAIL  certificate",
        "missing.pem: ",
        "FAIL  names",
        "no-such-host.invalid: ",
    ):
        assert part in result.stdout, part


def test_config_that_cannot_be_read_is_a_finding_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text("gateway: {prot: 1}\n")
    result = doctor("--url", "http://127.0.0.1:1", cwd=tmp_path)
    assert result.returncode == 1
    assert "unknown key 'prot'" in result.stdout
    assert "packages" in result.stdout


@pytest.mark.parametrize(
    ("days", "level"), [(-2, Level.WARNING), (-60, Level.OK), (9, Level.FAILED)]
)
def test_certificate_is_dated(certificates: Path, days: int, level: Level) -> None:
    now = NOW + datetime.timedelta(days=days)
    result = check_certificate(certificates / "one.pem", certificates / "one.key", now)
    assert (result.level, "is valid until" in result.text) == (level, True)


def test_key_of_another_certificate_is_found(certificates: Path) -> None:
    result = check_certificate(certificates / "one.pem", certificates / "two.key", NOW)
    assert (result.level, "MISMATCH" in result.text) == (Level.FAILED, True)


@pytest.mark.parametrize(("skew", "level"), [(0.0, Level.OK), (9.0, Level.WARNING)])
def test_clocks_are_compared(skew: float, level: Level) -> None:
    assert check_clock(1000.0 + skew, 1000.4).level is level


def test_different_options_are_named() -> None:
    config = Config(gateway=GatewayOptions(port=1))
    same = {option.name: option.value for option in effective_options(config, {})}
    assert check_difference(config, same).level is Level.OK
    text = check_difference(config, {**same, "gateway.port": 8200}).text
    assert "gateway.port (8200, not 1)" in text
    changed = dict.fromkeys(same, "x")
    assert check_difference(config, {**same, "kong.hosts": ["a"]}).level is Level.OK
    assert "and " in check_difference(config, changed).text


INSTANCE = {
    "instance": "a:1", "service": "ocr", "state": "up", "health": "in", "schema_active": True,
    "report_age_s": 0.01, "reason": "reported_up", "health_reason": "recovered",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "ping", "level", "part"),
    [
        ({}, 1.5, Level.OK, "answers in 1.5 ms"),
        ({}, "UNAVAILABLE: reset", Level.FAILED, "does not answer: UNAVAILABLE"),
        ({"schema_active": False}, 1.0, Level.WARNING, "with another schema"),
        ({"health": "ejected"}, 1.0, Level.WARNING, "(reported_up, recovered)"),
        ({"state": "draining"}, 1.0, Level.WARNING, "draining"),
        ({"report_age_s": 3.0}, 1.0, Level.WARNING, "its report is 3.0 s old"),
        ({"report_age_s": None, "schema_active": None}, 1.0, Level.OK, "ocr"),
    ],
)
def test_loader_is_judged(changes: Any, ping: Any, level: Level, part: str) -> None:
    finding = check_instance({**INSTANCE, **changes}, ping)
    assert (finding.level, part in finding.text) == (level, True)


def test_report_aligns_and_counts() -> None:
    report = [
        CheckResult(Level.OK, "a", "fine"),
        CheckResult(Level.FAILED, "long", "bad", "mend it"),
    ]
    assert format_results(report) == [
        "ok    a     fine",
        "FAIL  long  bad",
        "            mend it",
        "2 checks: 1 failed, 0 warnings",
    ]


def test_missing_packages_are_named_with_their_cure(tmp_path: Path) -> None:
    program = """
import importlib.util, sys
from asectl.doctor import local
find = importlib.util.find_spec
local.find_spec = lambda name: None if name == "jiter" else find(name)
from asectl.main import main
sys.exit(main(["doctor"]))
"""
    args = [sys.executable, "-c", program]
    result = subprocess.run(args, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "FAIL  packages" in result.stdout
    assert "without jiter" in result.stdout
    assert "pip install 'athena-serving[gateway]'" in result.stdout


@pytest.mark.parametrize(
    ("files", "connections"), [(65536, 64512), (1024, 768), (64, 48), (20, 4), (5, 1)]
)
def test_files_are_reserved_for_others_than_clients(files: int, connections: int) -> None:
    assert max_connections(files) == connections
