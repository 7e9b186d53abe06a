"""The compiled wheel in an environment of its own, as a user installs it."""

import json
import subprocess
import sys

import pytest

from tests.harness import ROOT

pytestmark = pytest.mark.compiled_only  # it is built for these tests


@pytest.mark.first
@pytest.mark.peer("curl")
def test_installed_demo_answers_every_command_that_it_prints() -> None:
    args = [sys.executable, "-m", "bench", "install", "--json", "-"]
    bench = subprocess.run(args, cwd=ROOT, capture_output=True, text=True, check=False)
    assert bench.returncode == 0, bench.stderr
    commands = json.loads(bench.stdout)["commands"]
    assert [command.split()[0].rpartition("/")[2] for command in commands] == [
        "curl", "asectl", "curl", "asectl", "asectl"
    ]  # fmt: skip
