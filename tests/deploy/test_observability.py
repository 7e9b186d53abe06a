"""Alerts, their runbook and the dashboard, by Prometheus' own tools and by a real Prometheus."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.harness import ROOT, TIMEOUT_S, Gateway, Loader, free_port

FOLDER = ROOT / "deploy/observability"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0][
    "rules"
]
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
EXPRESSIONS = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]

# Of each alert: series that raise it, series that do not, and the labels that it has.
GATEWAY = 'instance="gw:1"'
CASES: dict[str, tuple[list[str], list[str], dict[str, str]]] = {
    "AseDown": (
        ['up{job="ase-hub",instance="h:1"} 0x60'],
        ['up{job="ase-hub",instance="h:1"} 1x60', 'up{job="other",instance="x:1"} 0x60'],
        {"job": "ase-hub", "instance": "h:1"},
    ),
    "AseServiceWithoutInstance": (
        ['ase_requests_total{service="ocr",code="20002"} 0+6x60'],
        [
            'ase_lb_instances{service="ocr",state="up"} 1x60',
            'ase_requests_total{service="ocr",code="0"} 0+6x60',
        ],
        {"service": "ocr"},
    ),
    "AseErrors": (
        [
            'ase_requests_total{service="ocr",status="200"} 0+95x60',
            'ase_requests_total{service="ocr",status="502"} 0+5x60',
        ],
        [
            'ase_requests_total{service="ocr",status="200"} 0+995x60',
            'ase_requests_total{service="ocr",status="502"} 0+5x60',
            'ase_requests_total{service="ocr",status="400"} 0+500x60',
        ],
        {"service": "ocr"},
    ),
    "AseRequestsWait": (
        ["ase_pick_waiting 5x60", "ase_pick_waits_total 0+30x60", "ase_pick_total 0+100x60"],
        ["ase_pick_waiting 1x60", "ase_pick_waits_total 0+1x60", "ase_pick_total 0+100x60"],
        {},
    ),
    "AseSlow": (
        [
            'ase_request_seconds_bucket{service="ocr",le="5"} 0+90x60',
            'ase_request_seconds_bucket{service="ocr",le="10"} 0+100x60',
            'ase_request_seconds_bucket{service="ocr",le="+Inf"} 0+100x60',
        ],
        [
            'ase_request_seconds_bucket{service="ocr",le="1"} 0+100x60',
            'ase_request_seconds_bucket{service="ocr",le="+Inf"} 0+100x60',
        ],
        {"service": "ocr"},
    ),
    "AseGatewaySlow": (
        [
            f'ase_overhead_seconds_bucket{{{GATEWAY},le="0.025"}} 0+90x60',
            f'ase_overhead_seconds_bucket{{{GATEWAY},le="0.1"}} 0+100x60',
            f'ase_overhead_seconds_bucket{{{GATEWAY},le="+Inf"}} 0+100x60',
        ],
        [
            f'ase_overhead_seconds_bucket{{{GATEWAY},le="0.001"}} 0+100x60',
            f'ase_overhead_seconds_bucket{{{GATEWAY},le="+Inf"}} 0+100x60',
        ],
        {"instance": "gw:1"},
    ),
    "AseEjections": (
        ['ase_pick_ejections_total{reason="unreachable"} 0+1x60'],
        [
            'ase_pick_ejections_total{reason="unreachable"} 7x60',
            'ase_pick_ejections_total{reason="operator"} 0+1x60',
        ],
        {"reason": "unreachable"},
    ),
    "AseInstancesLost": (
        ['ase_lb_instance_changes_total{service="ocr",state="gone",reason="stream_lost"} 0+1x60'],
        ['ase_lb_instance_changes_total{service="ocr",state="gone",reason="left"} 0+1x60'],
        {"service": "ocr", "reason": "stream_lost"},
    ),
    "AseReportsLate": (
        [
            f"ase_pick_report_age_seconds_sum{{{GATEWAY}}} 0+60x60",
            f"ase_pick_report_age_seconds_count{{{GATEWAY}}} 0+100x60",
        ],
        [
            f"ase_pick_report_age_seconds_sum{{{GATEWAY}}} 0+1x60",
            f"ase_pick_report_age_seconds_count{{{GATEWAY}}} 0+100x60",
        ],
        {"instance": "gw:1"},
    ),
    "AseReportsRefused": (
        ['ase_lb_reports_refused_total{reason="address"} 0+1x60'],
        ['ase_lb_reports_refused_total{reason="address"} 9x60'],
        {"reason": "address"},
    ),
    "AseHubStrained": (
        [f"ase_lb_strain{{{GATEWAY}}} 4x60"],
        [f"ase_lb_strain{{{GATEWAY}}} 1x60"],
        {"instance": "gw:1"},
    ),
    "AseReloadRefused": (
        [f'ase_reloads_total{{{GATEWAY},outcome="refused"}} 0+1x60'],
        [f'ase_reloads_total{{{GATEWAY},outcome="done"}} 0+1x60'],
        {"instance": "gw:1"},
    ),
    "AseClientsCut": (
        [f"ase_unread_cuts_total{{{GATEWAY}}} 0+1x60", f"ase_grpc_cuts_total{{{GATEWAY}}} 0x60"],
        [f"ase_unread_cuts_total{{{GATEWAY}}} 3x60", f"ase_grpc_cuts_total{{{GATEWAY}}} 0x60"],
        {"instance": "gw:1"},
    ),
    "AseSlotsLeaked": (
        [f"ase_pick_dropped_total{{{GATEWAY}}} 0+1x60"],
        [f"ase_pick_dropped_total{{{GATEWAY}}} 0x60"],
        {"instance": "gw:1"},
    ),
}


def promtool(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *args], capture_output=True, text=True, check=False)


@pytest.mark.peer("promtool")
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    assert {rule["alert"] for rule in RULES} == {*CASES}
    groups = []
    for alert, (raising, calm, labels) in CASES.items():
        severity = next(r["labels"]["severity"] for r in RULES if r["alert"] == alert)
        for series, is_raised in ((raising, True), (calm, False)):
            expected = [{"exp_labels": {**labels, "severity": severity}}] * is_raised
            groups.append(
                {
                    "interval": "1m",
                    "input_series": [
                        dict(zip(("series", "values"), line.rsplit(" ", 1), strict=True))
                        for line in series
                    ],
                    "alert_rule_test": [
                        {"eval_time": "30m", "alertname": alert, "exp_alerts": expected}
                    ],
                }
            )
    # The wording is not under test.
    rules = [{name: r[name] for name in r if name != "annotations"} for r in RULES]
    groups_file = {"groups": [{"name": "ase", "rules": rules}]}
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(groups_file))
    test_file = tmp_path / "test.yaml"
    tests = {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": groups}
    test_file.write_text(yaml.safe_dump(tests))
    result = promtool("test", "rules", str(test_file))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.peer("promtool")
def test_files_and_the_queries_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    config = promtool("check", "config", str(FOLDER / "prometheus.yaml"))
    assert config.returncode == 0, config.stderr
    rules = [
        {"record": f"panel:{number}", "expr": as_query(expression)}
        for number, expression in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    result = promtool("check", "rules", str(file))
    assert result.returncode == 0, result.stderr


def as_query(expression: str) -> str:
    return expression.replace("$__rate_interval", "5m").replace("$service", ".*")


def test_each_alert_has_its_section_in_the_runbook() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE)
    alerts = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert sections == [rule["alert"] for rule in alerts]
    for rule in alerts:
        anchor = rule["annotations"]["runbook_url"].partition("#")[2]
        assert anchor == rule["alert"].lower()


def metric_names(text: str) -> set[str]:
    return {*re.findall(r"\b(ase_\w+?)(?:_bucket|_sum|_count|_total)?(?=\W)", f"{text} ")}


def test_every_metric_that_they_name_exists(gateway: Gateway, loader: Loader) -> None:
    gateway.call()
    exposed = {*re.findall(r"^# TYPE (\w+?)(?:_total)? ", gateway.metrics(), re.MULTILINE)}
    documented = {*re.findall(r"`(ase_loader_\w+?)`", (ROOT / "docs/operate.md").read_text())}
    named = metric_names(" ".join([*EXPRESSIONS, (FOLDER / "alerts.yaml").read_text()]))
    assert named <= exposed | documented
    assert len(named) > 15


@pytest.mark.peer("prometheus")
def test_a_real_prometheus_scrapes_a_gateway_and_runs_the_rules(
    gateway: Gateway, loader: Loader, tmp_path: Path
) -> None:
    gateway.call()
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    config["global"]["scrape_interval"] = "1s"
    config["rule_files"] = [str(FOLDER / "alerts.yaml")]
    target = gateway.admin.removeprefix("http://")
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    args = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yaml",
        f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    transport = httpx.HTTPTransport(retries=20)  # until it listens
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(base_url=url, transport=transport, timeout=TIMEOUT_S) as api:
            query = {"query": 'sum(ase_requests_total{service="probe"})'}
            result: list[Any] = []
            while not result:
                answer = api.get("/api/v1/query", params=query)
                result = answer.json()["data"]["result"] if answer.status_code == 200 else []
            assert float(result[0]["value"][1]) >= 1
            for expression in EXPRESSIONS:
                query = {"query": as_query(expression)}
                assert api.get("/api/v1/query", params=query).status_code == 200, expression
            (group,) = api.get("/api/v1/rules").json()["data"]["groups"]
            assert len(group["rules"]) == len(CASES)
            assert not [rule["lastError"] for rule in group["rules"] if rule.get("lastError")]
    finally:
        process.kill()
        process.wait()
