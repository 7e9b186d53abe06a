"""The Dockerfile agrees with the tree. (No engine is needed.)"""

import re
from pathlib import Path

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
    assert build.startswith("${BUILD_BASE} AS build\n")
    assert final.startswith("${BASE}\n")
    bases = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    assert re.fullmatch(r"python:3\.\d+", bases["BUILD_BASE"])  # with a compiler
    assert bases["BASE"] == f"{bases['BUILD_BASE']}-slim"


def test_image_is_not_root_and_has_a_healthcheck() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert text.count("\nFROM ") + text.startswith("FROM ") >= 1
    assert re.search(r"^USER \d+$", text, re.MULTILINE)
    assert "HEALTHCHECK" in text


def test_published_port_of_the_image_is_reachable() -> None:
    """A process that listens on the loopback address of a container cannot be reached."""
    text = (ROOT / "Dockerfile").read_text()
    final_stage = text.rpartition("\nFROM ")[2]
    variables = dict(re.findall(r"^ENV (ASE_\w+)=(\S+)", final_stage, re.MULTILINE))
    config = resolve.resolve(None, variables, {})
    assert config.gateway.host == "0.0.0.0"
    assert "auth" not in str(variables).lower(), "a variable would outrank the operator's file"
    assert re.search(r"^RUN echo 'auth: none' > ase\.yaml$", final_stage, re.MULTILINE)
    private = (config.gateway.admin_host, config.lb.host, config.lb.admin_host)
    assert private == ("127.0.0.1",) * 3, "nothing else is opened without being asked for"
