"""The image and the compose file agree with the tree and with each other. (No engine is needed.)"""

import argparse
import re
from pathlib import Path

import yaml

from asectl import loader
from config import resolve
from tests.test_house import LAYERS

ROOT = Path(__file__).parent.parent.parent


def test_image_contains_every_package() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert copied == set(LAYERS) - {"bench"} | {"examples"}


def test_the_image_is_compiled() -> None:
    text = (ROOT / "Dockerfile").read_text()
    build, final = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert "ASE_COMPILE=1" in build
    assert "setup.py" in build
    assert re.match(r"python:3\.\d+ AS", build)  # with a compiler
    assert re.match(r"python:3\.\d+-slim\n", final)


def test_image_is_not_root_and_has_a_healthcheck() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert text.count("\nFROM ") + text.startswith("FROM ") >= 1
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text


def test_published_port_of_the_image_is_reachable() -> None:
    """A process that listens on the loopback address of a container cannot be reached."""
    text = (ROOT / "Dockerfile").read_text()
    final_stage = text.rpartition("\nFROM ")[2]
    variables = dict(re.findall(r"(ASE_\w+)=(\S+)", final_stage))
    config = resolve.resolve(None, variables, {})
    assert config.gateway.host == "0.0.0.0"
    private = (config.gateway.admin_host, config.lb.host, config.lb.admin_host)
    assert private == ("127.0.0.1",) * 3, "nothing else is opened without being asked for"


def test_each_loader_advertises_its_service_name() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert len(services) == 5
    for name, service in services.items():
        if name == "gateway":
            environment = service["environment"]
            assert environment["ASE_LB_HOST"] == environment["ASE_GATEWAY_ADMIN_HOST"] == "0.0.0.0"
            assert environment["ASE_GATEWAY_ADMIN_HOSTS"] == name, "Prometheus asks by this name"
            assert service["ports"] == ["127.0.0.1:8200:8200"]
            continue
        assert service["command"][:2] == ["loader", "run"]
        parser = argparse.ArgumentParser()
        loader.add_arguments(parser)
        options = parser.parse_args(service["command"][2:])
        assert options.advertise == f"{name}:{options.port}"
        assert options.lb == "gateway:8220"
        assert options.host == "0.0.0.0"
        assert (ROOT / options.wrapper).is_file()
        assert f"127.0.0.1:{options.port}" in service["healthcheck"]["test"]
