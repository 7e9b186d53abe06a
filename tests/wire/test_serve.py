"""`serve(...)` in the author's own program, and the files that run a loader elsewhere."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aseloader import serve
from tests.harness import ROOT, TIMEOUT_S, Gateway, make_envelope, run_asectl

PROGRAM = """
import logging
from aseloader import serve, service

logger = logging.getLogger("mine")


@service("greet")
def greet(text: str) -> str:
    logger.info("greeting")
    return "hello " + text


if __name__ == "__main__":
    import sys
    serve(greet, lb=sys.argv[1], metrics_port=0)
    print("served")
"""


def test_serve_runs_until_sigterm(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with Gateway() as gateway:
        args = [sys.executable, str(program), gateway.lb]
        with subprocess.Popen(
            args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            gateway.wait_for_event("instance admitted", service="greet")
            response = gateway.post(make_envelope("greet"), "greet")
            assert response.status_code == 200
            process.send_signal(signal.SIGTERM)
            output, log = process.communicate(timeout=TIMEOUT_S)
        assert (process.returncode, output) == (0, "served\n")
        assert "INFO ase.loader listening on 127.0.0.1:" in log
        assert "INFO mine greeting" in log


def test_serve_needs_a_wrapper() -> None:
    with pytest.raises(TypeError, match="is no Wrapper, and no function with @service"):
        serve(print)


@pytest.mark.parametrize("has_requirements", [False, True])
def test_dockerfile_names_the_wrapper(tmp_path: Path, *, has_requirements: bool) -> None:
    (tmp_path / "my_words.py").touch()
    if has_requirements:
        (tmp_path / "requirements.txt").touch()
    result = run_asectl("loader", "dockerfile", f"{tmp_path}/my_words.py:Words")
    assert result.returncode == 0
    assert 'ENTRYPOINT ["asectl", "loader", "run", "my_words.py:Words"' in result.stdout
    assert "docker build -t my-words ." in result.stdout
    assert ("requirements.txt" in result.stdout) is has_requirements


def test_dockerfile_of_a_missing_file_is_an_error() -> None:
    result = run_asectl("loader", "dockerfile", "missing.py:Words")
    assert (result.returncode, "missing.py: no such file" in result.stderr) == (2, True)
