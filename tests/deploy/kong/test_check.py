"""What `asectl kong check` finds in a Kong file: Kong's own rules, each with its line."""

import json
from pathlib import Path

import pytest
import yaml

from config.source import ConfigError
from deploy.kong.check import check_text, find_errors
from tests.harness import run_asectl

VALID = """\
_format_version: "3.0"
upstreams:
- name: ase-gateways
  algorithm: least-connections
  healthchecks: {threshold: 30, active: {type: http, healthy: {interval: 5}}}
  targets: [{target: "10.0.0.11:8888", weight: 100}, {target: "[2001:db8::7]:8888"}]
- {name: sticky, algorithm: consistent-hashing, hash_on: header, hash_on_header: x-ase-session}
services:
- name: ase
  host: ase-gateways
  protocol: http
  retries: 2
  routes:
  - {name: ase-http, paths: [/v1, "~/v2/.*"], protocols: [http, https], strip_path: false}
  plugins:
  - {name: key-auth, config: {key_names: [x-api-key], hide_credentials: true}}
  - {name: rate-limiting, config: {second: 5, minute: 100, policy: local}}
- {name: grpc, host: atom, port: 9443, protocol: grpc, _comment: ours}
routes:
- {name: other, paths: [/other], service: ase}
consumers: [{username: tenant-a, keyauth_credentials: [{key: demo}]}]
oauth2_credentials: [{name: a, _comment: any kind that a plugin brings}]
plugins: [{name: prometheus, config: {latency_metrics: true}}, {name: our-own, config: {any: 1}}]
"""


def errors_of(text: str) -> list[tuple[int, str]]:
    try:
        check_text(text, "kong.yaml")
    except ConfigError as error:
        return [
            (fault.location.line if fault.location else 0, f"{fault.message} {fault.hint}".strip())
            for fault in error.diagnostics
        ]
    return []


def test_valid_file_has_no_errors() -> None:
    assert errors_of(VALID) == []
    assert errors_of(json.dumps(yaml.safe_load(VALID))) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('_format_version: "3.0"', '_format_version: "4"', 1, "must be one of 1.1, 2.1, 3.0"),
        ('_format_version: "3.0"', "_comment: a", 1, "_format_version is missing"),
        ("services:", "servises:", 8, "unknown key 'servises' did you mean 'services'?"),
        ("least-connections", "least-busy", 4, "must be one of consistent-hashing"),
        ("weight: 100", "weight: 70000", 6, "70000 is greater than the maximum of 65535"),
        ("10.0.0.11:8888", "http://10.0.0.11", 6, "does not match"),
        ("10.0.0.11:8888", "10.0.0.11:99999", 6, "port 99999 is not 1 to 65535"),
        ("[2001:db8::7]:8888", "10.0.0.11:8888", 6, "'10.0.0.11:8888' is declared twice"),
        ("name: ase-gateways", "name: 10.0.0.1", 3, "is an IP address"),
        ("name: ase-gateways", "name: a b", 3, "does not match"),
        ("name: ase-gateways", "name: u\n  slots: 5", 4, "less than the minimum of 10"),
        ("threshold: 30", "threshold: 101", 5, "greater than the maximum of 100"),
        (", hash_on_header: x-ase-session", "", 7, "needs hash_on_header"),
        ("consistent-hashing", "latency", 7, "Kong makes the algorithm consistent-hashing of it"),
        ("retries: 2", "retries: two", 12, "is not of type"),
        ("protocol: grpc,", "protocol: grpc, path: /x,", 18, "a grpc service has no path"),
        ("https], strip_path: false", "grpc], strip_path: true", 14, "strips no path"),
        ("host: atom, ", "", 18, "has no host and no url"),
        ("paths: [/other], ", "", 20, "chooses no requests: by destinations"),
        ("hash_on: header", "hash_on: cookie", 7, "needs hash_on_cookie"),
        ("consumers: [", "_info: {}\nx: [", 21, "_info is decK's; Kong rejects it remove it"),
        ("paths: [/v1,", "paths: [v1,", 14, "does not match"),
        ("name: ase-http", "nane: ase-http", 14, "unknown key 'nane' did you mean 'name'?"),
        ("name: other", "name: ase-http", 20, "'ase-http' is declared twice"),
        ("minute: 100", "minute: 4", 17, "allows less than second"),
        ("second: 5, minute: 100, ", "", 17, "names no period: one of second, minute"),
        ("policy: local", "policy: cluster", 17, "a Kong without a database has no cluster"),
        ("minute: 100", "minut: 100", 17, "unknown key 'minut' did you mean 'minute'?"),
        ("policy: local", "limit_by: header", 17, "needs header_name"),
        ("hide_credentials: true", "hide_credentials: maybe", 16, "is not of type"),
    ],
)
def test_error_is_found_at_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in VALID
    ((found_line, found_message), *_) = errors_of(VALID.replace(old, new, 1))
    assert message in found_message
    assert found_line == line


def test_all_errors_are_listed_at_once() -> None:
    text = VALID.replace("retries: 2", "retries: x").replace("weight: 100", "weight: -1")
    assert [line for line, _ in errors_of(text)] == [6, 12]


def test_plugin_without_a_name_is_one_error() -> None:
    text = VALID.replace("{name: prometheus, ", "{")
    assert errors_of(text) == [(23, "name is missing")]


def test_grpc_route_strips_nothing_by_default() -> None:
    assert errors_of(VALID.replace("[http, https], strip_path: false", "[grpc]")) == []


def test_null_is_a_member_left_out() -> None:
    document = yaml.safe_load(VALID)
    document["services"][0]["path"] = None
    assert find_errors(document) == []
    document["services"][0]["name"] = None
    assert find_errors({"_format_version": None}) == [": _format_version is missing"]


@pytest.mark.parametrize("text", ["", "[]", "a: [", "- 1"])
def test_what_is_no_kong_file_is_an_error(text: str) -> None:
    assert errors_of(text)


def test_command_prints_each_error_with_its_place(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(VALID)
    bad.write_text(VALID.replace("retries: 2", "retrys: 2"))
    assert run_asectl("kong", "check", str(good)).stdout == "0 errors in 1 file\n"
    result = run_asectl("kong", "check", str(good), str(bad), "missing.yaml", cwd=tmp_path)
    assert result.returncode == 3
    assert f"{bad}:12:3: error: unknown key 'retrys'" in result.stdout
    assert "hint: did you mean 'retries'?" in result.stdout
    assert "missing.yaml: error: No such file or directory" in result.stdout
    report = json.loads(run_asectl("kong", "check", str(bad), "--format", "json").stdout)
    assert [(error["line"], error["column"]) for error in report["errors"]] == [(12, 3)]
