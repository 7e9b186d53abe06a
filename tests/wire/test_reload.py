"""Config and schemas read anew while the gateway serves: the good at once, the bad never."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aseloader import declare
from tests.harness import Gateway, Hub, Loader, body
from tests.wrappers.probe import Probe

DOCUMENT: dict[str, Any] = json.loads(declare.schema(Probe))


def write(folder: Path, service: str = "probe", **meta: Any) -> None:
    """Put a schema into a folder, whole at once."""
    told = {**DOCUMENT, "meta": {**DOCUMENT["meta"], **meta, "serviceId": service}}
    fresh = folder / "fresh"
    fresh.write_text(json.dumps(told))
    fresh.replace(folder / f"schema_{service}.json")


@pytest.fixture
def loader() -> Iterator[Loader]:
    with Hub() as elsewhere, Loader(elsewhere.lb) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, loader: Loader) -> Path:
    """Return a folder with a config, whose one instance speaks any schema, and a schema."""
    (tmp_path / "schemas").mkdir()
    write(tmp_path / "schemas")
    configure(tmp_path, loader)
    return tmp_path


def configure(folder: Path, loader: Loader, more: str = "") -> None:
    instance = f"{{service: probe, addr: '{loader.addr}', total: 64}}"
    text = f"schemas: schemas\ninstances: [{instance}]\n{more}"
    fresh = folder / "fresh.yaml"
    fresh.write_text(text)
    fresh.replace(folder / "ase.yaml")


def started(folder: Path) -> Gateway:
    return Gateway("--lb-accept-schemas", "false", cwd=folder)


def test_services_come_change_and_go_with_their_files(folder: Path) -> None:
    with started(folder) as gateway:
        write(folder / "schemas", "other")
        told = gateway.event("reloaded", generation=2)
        assert (told["added"], told["changed"], told["removed"]) == (["other"], [], [])
        assert {api["service"] for api in gateway.http.get("/v1/apis").json()["apis"]} == {
            "probe",
            "other",
        }
        write(folder / "schemas", description="Another one.")
        assert gateway.event("reloaded", generation=3)["changed"] == ["probe"]
        assert gateway.call().status_code == 200
        (folder / "schemas/schema_probe.json").unlink()
        assert gateway.event("reloaded", generation=4)["removed"] == ["probe"]
        assert gateway.call().json()["header"]["code"] == 10225
        assert 'ase_reloads_total{outcome="done"} 3.0' in gateway.metrics()


def test_a_bad_file_leaves_the_old_one_serving_and_says_why(folder: Path) -> None:
    with started(folder) as gateway:
        path = folder / "schemas/schema_probe.json"
        good = path.read_text()
        path.write_text(good.replace('"maxB64DLen"', '"maxB64DLeng"'))
        told = gateway.event("reload refused; all stays as it was")
        assert "schemas/schema_probe.json:1:" in told["reason"]
        assert "did you mean 'maxB64DLen'?" in told["reason"]
        assert gateway.call().status_code == 200
        assert 'ase_reloads_total{outcome="refused"} 1.0' in gateway.metrics()
        path.write_text(good)
        gateway.event("reloaded; nothing changed", generation=1)


def test_options_of_services_take_effect_and_others_are_told(folder: Path, loader: Loader) -> None:
    with started(folder) as gateway:
        configure(folder, loader, "services: {probe: {deadline: 0.2}}\nlb: {ttl: 9}\n")
        gateway.event("reloaded", generation=2)
        late = gateway.event("changed, and read at the next start alone")
        assert late["options"] == "lb.ttl"
        assert gateway.call(act="hold").status_code == 504
        configure(folder, loader, "services: {probe: {deadlin: 0.2}}\n")
        told = gateway.event("reload refused; all stays as it was")
        assert "did you mean 'deadline'?" in told["reason"]
        assert gateway.call().status_code == 200


def test_a_signal_asks_for_it(folder: Path) -> None:
    with started(folder) as gateway:
        gateway.signal(signal.SIGHUP)
        gateway.event("reloaded; nothing changed", generation=1)
        assert gateway.call().status_code == 200


def test_nothing_is_lost_while_generations_follow_each_other(folder: Path) -> None:
    with started(folder) as gateway:
        statuses: list[int] = []
        over = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as http:
                while not over.is_set():
                    statuses.append(http.post("/v1/private/probe", json=body()).status_code)

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        for generation in range(2, 12):
            write(folder / "schemas", description=f"Number {generation}.")
            gateway.signal(signal.SIGHUP)
            gateway.event("reloaded", generation=generation)
        over.set()
        for asker in askers:
            asker.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}
