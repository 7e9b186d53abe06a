"""Config and schemas read anew while the gateway serves: the good at once, the bad never."""

import json
import queue
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aseloader import declare
from tests.harness import Gateway, Hub, Loader, make_envelope, run_asectl
from tests.wrappers.probe import Probe

DOCUMENT: dict[str, Any] = json.loads(declare.schema(Probe))


def write_schema(schema_dir: Path, service: str = "probe", **meta: Any) -> None:
    """Put a schema into a folder, whole at once."""
    document = {**DOCUMENT, "meta": {**DOCUMENT["meta"], **meta, "serviceId": service}}
    temporary = schema_dir / "fresh"
    temporary.write_text(json.dumps(document))
    temporary.replace(schema_dir / f"schema_{service}.json")


@pytest.fixture
def loader() -> Iterator[Loader]:
    with Hub() as other_hub, Loader(other_hub.lb) as running:
        yield running


@pytest.fixture
def config_dir(tmp_path: Path, loader: Loader) -> Path:
    """Return a folder with a config, whose one instance speaks any schema, and a schema."""
    (tmp_path / "schemas").mkdir()
    write_schema(tmp_path / "schemas")
    write_config(tmp_path, loader)
    return tmp_path


def write_config(config_dir: Path, loader: Loader, extra_yaml: str = "") -> None:
    instance = f"{{service: probe, addr: '{loader.addr}', total: 64}}"
    text = f"schemas: schemas\ninstances: [{instance}]\n{extra_yaml}"
    temporary = config_dir / "fresh.yaml"
    temporary.write_text(text)
    temporary.replace(config_dir / "ase.yaml")


def start_gateway(config_dir: Path) -> Gateway:
    return Gateway("--lb-accept-schemas", "false", cwd=config_dir)


def test_schema_files_add_change_and_remove_services(config_dir: Path) -> None:
    with start_gateway(config_dir) as gateway:
        write_schema(config_dir / "schemas", "other")
        event = gateway.wait_for_event("reloaded", generation=2)
        assert (event["added"], event["changed"], event["removed"]) == (["other"], [], [])
        assert {api["service"] for api in gateway.http.get("/v1/apis").json()["apis"]} == {
            "probe",
            "other",
        }
        write_schema(config_dir / "schemas", description="Another one.")
        assert gateway.wait_for_event("reloaded", generation=3)["changed"] == ["probe"]
        assert gateway.call().status_code == 200
        (config_dir / "schemas/schema_probe.json").unlink()
        assert gateway.wait_for_event("reloaded", generation=4)["removed"] == ["probe"]
        assert gateway.call().json()["header"]["code"] == 10225
        assert 'ase_reloads_total{outcome="done"} 3.0' in gateway.metrics()


def test_bad_file_is_rejected_with_a_reason_and_old_schema_serves(config_dir: Path) -> None:
    with start_gateway(config_dir) as gateway:
        path = config_dir / "schemas/schema_probe.json"
        valid_text = path.read_text()
        path.write_text(valid_text.replace('"maxB64DLen"', '"maxB64DLeng"'))
        event = gateway.wait_for_event("reload refused; all stays as it was")
        assert "schemas/schema_probe.json:1:" in event["reason"]
        assert "did you mean 'maxB64DLen'?" in event["reason"]
        assert gateway.call().status_code == 200
        assert 'ase_reloads_total{outcome="refused"} 1.0' in gateway.metrics()
        path.write_text(valid_text)
        gateway.wait_for_event("reloaded; nothing changed", generation=1)


def test_service_options_reload_and_others_are_logged(config_dir: Path, loader: Loader) -> None:
    with start_gateway(config_dir) as gateway:
        write_config(config_dir, loader, "services: {probe: {deadline: 0.2}}\nlb: {ttl: 9}\n")
        gateway.wait_for_event("reloaded", generation=2)
        needs_restart = gateway.wait_for_event("changed, and read at the next start alone")
        assert needs_restart["options"] == "lb.ttl"
        assert gateway.call(act="hold").status_code == 504
        write_config(config_dir, loader, "services: {probe: {deadlin: 0.2}}\n")
        event = gateway.wait_for_event("reload refused; all stays as it was")
        assert "did you mean 'deadline'?" in event["reason"]
        assert gateway.call().status_code == 200


def test_sighup_reloads(config_dir: Path) -> None:
    with start_gateway(config_dir) as gateway:
        gateway.signal(signal.SIGHUP)
        gateway.wait_for_event("reloaded; nothing changed", generation=1)
        assert gateway.call().status_code == 200


def test_no_request_is_lost_during_reloads(config_dir: Path) -> None:
    with start_gateway(config_dir) as gateway:
        answered: queue.Queue[int] = queue.Queue()
        statuses: list[int] = []
        stop = threading.Event()

        def send_requests() -> None:
            with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as http:
                while not stop.is_set():
                    response = http.post("/v1/private/probe", json=make_envelope())
                    answered.put(response.status_code)

        clients = [threading.Thread(target=send_requests) for _ in range(4)]
        for client in clients:
            client.start()
        for generation in range(2, 12):
            write_schema(config_dir / "schemas", description=f"Number {generation}.")
            gateway.signal(signal.SIGHUP)
            gateway.wait_for_event("reloaded", generation=generation)
            statuses += [answered.get(timeout=30) for _ in range(4)]
        stop.set()
        for client in clients:
            client.join()
    while not answered.empty():
        statuses.append(answered.get())
    assert set(statuses) == {200}


def test_operator_learns_what_came_of_a_reload(tmp_path: Path) -> None:
    config = tmp_path / "ase.yaml"
    config.write_text("gateway: {deadline: 5}\n")
    with Gateway("-c", str(config)) as gateway:

        def reload() -> tuple[int, str]:
            result = run_asectl("reload", "--url", gateway.admin)
            return result.returncode, result.stdout + result.stderr

        assert reload() == (0, "nothing changed; generation 1\n")
        config.write_text("gateway: {deadline: 6, keep_alive: 9}\n")
        assert reload()[0] == 0  # what it says depends on whether the check has come before
        process = httpx.get(f"{gateway.admin}/debug/process", trust_env=False).json()
        assert process["generation"] == 2
        code, text = reload()
        assert (code, text.splitlines()[0]) == (0, "nothing changed; generation 2")
        assert text.endswith("at the next start alone, or by asectl upgrade: gateway.keep_alive\n")
        config.write_text("gateway: {deadlin: 6}\n")
        code, text = reload()
        assert code == 3
        assert "reload refused; options and schemas stay as they were" in text
        assert "did you mean 'deadline'?" in text
        status = run_asectl("status", gateway.admin)
        assert " CONFIG " in status.stdout
