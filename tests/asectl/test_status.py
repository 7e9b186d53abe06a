"""`asectl status`: a gateway, a hub and their loaders; what does not answer."""

import json
from typing import Any

import yaml

from asectl.status import ProcessStatus, format_tables, summarize_services
from tests.harness import Gateway, Hub, Loader, run_asectl


def test_cluster_of_a_hub_and_a_gateway() -> None:
    with Hub() as hub, Loader(hub.lb) as loader, Gateway("--lb-hub", hub.lb) as gateway:
        gateway.wait_until_up(loader)
        result = run_asectl("status", gateway.admin, hub.admin)
        assert result.returncode == 0, result.stderr
        lines = [line.split() for line in result.stdout.splitlines() if line]
        assert [line[:3] for line in lines[1:3]] == [
            [gateway.admin, "gateway", "0.2.0"],
            [hub.admin, "hub", "0.2.0"],
        ]
        assert lines[4][:3] == ["probe", "1", "1"]
        status = json.loads(run_asectl("status", gateway.admin, "-o", "json").stdout)
        assert status["processes"][0]["pid"] == gateway.process.pid
        assert yaml.safe_load(run_asectl("status", hub.admin, "-o", "yaml").stdout)["services"]

        partial = run_asectl("status", gateway.admin, "http://127.0.0.1:1")
        assert partial.returncode == 5
        assert "http://127.0.0.1:1 does not answer: " in partial.stdout
        public = run_asectl("status", gateway.url)
        assert (public.returncode, "404" in public.stdout) == (4, True)


def test_nothing_answers() -> None:
    result = run_asectl("status", "http://127.0.0.1:1")
    assert result.returncode == 4
    assert result.stdout.startswith("http://127.0.0.1:1 does not answer: ")
    assert "Traceback" not in result.stderr


def row(instance: str, **changes: Any) -> dict[str, Any]:
    members = {"service": "ocr", "state": "up", "health": "in", "slots": 4, "running": 1,
               "queued": 2, "schema": "d"}  # fmt: skip
    return {**members, "instance": instance, **changes}


def test_instances_that_several_processes_know_count_once() -> None:
    first = ProcessStatus("a", "", {}, [row("x:1"), row("y:1", health="ejected", schema="e")])
    second = ProcessStatus("b", "", {}, [row("x:1", running=9), row("z:1", service="asr")])
    assert summarize_services([first, second]) == [
        {"service": "asr", "instances": 1, "serving": 1, "slots": 4, "running": 1, "queued": 2,
         "schemas": 1},
        {"service": "ocr", "instances": 2, "serving": 1, "slots": 8, "running": 2, "queued": 4,
         "schemas": 2},
    ]  # fmt: skip


def test_gateway_without_instances() -> None:
    process = {"url": "u", "role": "hub", "version": "1", "pid": 7, "uptime_s": 90.0,
               "compiled": False, "error": ""}  # fmt: skip
    lines = format_tables({"processes": [process], "services": []})
    assert lines[1].split() == ["u", "hub", "1", "7", "90s", "-", "no"]
    assert lines[-1] == "no instance is known"
