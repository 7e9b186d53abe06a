"""A loader is installed without the packages of the gateway: what needs them says so."""

import subprocess
import sys

import pytest

from asectl.main import _GATEWAY_PACKAGES
from tests.harness import ROOT

RUN_WITHOUT_GATEWAY = f"""
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*_GATEWAY_PACKAGES, "grpc")}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv[0] = "asectl"
runpy.run_module("asectl", run_name="__main__")
"""


def run_asectl_alone(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN_WITHOUT_GATEWAY, *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "args",
    [
        ("loader", "schema", "tests/wrappers/functions.py:count"),
        ("loader", "run", "--help"),
        ("lb", "state", "--help"),
        ("healthcheck", "--help"),
        ("config", "show"),
    ],
    ids=" ".join,
)
def test_loader_needs_no_package_of_the_gateway(args: tuple[str, ...]) -> None:
    result = run_asectl_alone(*args)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("args", [("gateway",), ("call", "x", "--file", "y")], ids=" ".join)
def test_missing_package_names_the_extra(args: tuple[str, ...]) -> None:
    result = run_asectl_alone(*args)
    assert result.returncode == 1
    assert f"`asectl {args[0]}` needs " in result.stderr
    assert "pip install 'athena-serving[gateway]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_hub_runs_without_the_gateway() -> None:
    result = run_asectl_alone("lb", "--lb-port", "99999")
    assert result.returncode == 3, "its configuration is read, so its packages were found"
