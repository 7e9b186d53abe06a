"""`serve(...)` in the author's own program, and the files that run a loader elsewhere."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from aseloader import serve
from tests.harness import ROOT, TIMEOUT_S, Gateway, Process, make_envelope, run_asectl

OPERATE = (ROOT / "docs/operate.md").read_text(encoding="utf-8")

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


def test_pod_of_the_guide_serves_and_is_ready(tmp_path: Path) -> None:
    """The Dockerfile's command with the arguments and probes of the Deployment, on free ports."""
    (tmp_path / "words.py").write_text(PROGRAM, encoding="utf-8")
    dockerfile = run_asectl("loader", "dockerfile", f"{tmp_path}/words.py:greet").stdout
    entrypoint = json.loads(dockerfile.partition("ENTRYPOINT ")[2].replace("\\\n", ""))
    (manifest,) = re.findall(r"```\n(apiVersion: .*?)```", OPERATE, re.DOTALL)
    (container,) = yaml.safe_load(manifest)["spec"]["template"]["spec"]["containers"]
    values = {"8240": "0", "9240": "0", "$(POD_IP):8240": "127.0.0.1:0"}
    with Gateway() as gateway:
        values["ase-gateway:8220"] = gateway.lb
        arguments = [values.get(text, text) for text in entrypoint[1:] + container["args"]]
        with Process(*arguments, cwd=tmp_path) as loader:
            gateway.wait_for_event("instance admitted", service="greet")
            assert gateway.post(make_envelope("greet"), "greet").status_code == 200
            url = loader.wait_for_event("metrics")["url"].replace("0.0.0.0", "127.0.0.1")
            for probe in ("readinessProbe", "livenessProbe"):
                request = container[probe]["httpGet"]
                assert request["port"] == 9240
                assert httpx.get(url + request["path"]).status_code == 200


@pytest.mark.parametrize("instance", [1, 2])
def test_unit_of_the_guide_runs(tmp_path: Path, instance: int) -> None:
    (unit,) = re.findall(r"```\n(\[Service\].*?)```", OPERATE, re.DOTALL)
    command = re.search(r"ExecStart=(.*?[^\\])\n", unit, re.DOTALL)
    assert command is not None
    (tmp_path / "words.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "token").write_text("t", encoding="utf-8")
    values = {
        "/opt/words/words.py:Words": f"{tmp_path}/words.py:greet",
        f"824{instance}": "0",
        f"924{instance}": "0",
        f"host:824{instance}": "127.0.0.1:0",
        "/etc/ase/token": f"{tmp_path}/token",
    }
    text = command[1].replace("%i", str(instance)).replace("%H", "host").replace("\\\n", "")
    with Gateway(env={"ASE_LB_TOKEN": "t"}) as gateway:
        values["gateway:8220"] = gateway.lb
        with Process(*(values.get(word, word) for word in shlex.split(text)[1:])):
            gateway.wait_for_event("instance admitted", service="greet")
            assert gateway.post(make_envelope("greet"), "greet").status_code == 200
