"""A deployer where models are published, and one at the edge that takes them over and runs them."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.models.file_server import FileServer, file_server
from tests.harness import Gateway
from tests.wire.test_deployer import Deployer

TEMPLATE = """\
class Model:
    def __init__(self, model_path):
        self.factor = float(open(model_path).read())

    def inference(self, value):
        return self.factor * value
"""


def send(deployer: Deployer, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    response = httpx.request(
        method, f"{deployer.api}/api/v1{path}", json=body, trust_env=False, timeout=30.0
    )
    assert response.status_code == status, response.text
    return response.json()["data"]


def wait_until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return


def models(deployer: Deployer) -> list[str]:
    listed = httpx.get(f"{deployer.api}/api/v1/applications/battery/models", trust_env=False)
    return [row["id"] for row in listed.json()["data"] or []]


def publish(platform: Deployer, files: FileServer, version: str, content: bytes) -> None:
    files.files[f"/{version}.txt"] = content
    files.tokens[f"/{version}.txt"] = f"token-{version}"
    model = {
        "name": "lstm", "version": version, "application": "battery", "wrapper": "template.py",
        "modelUrl": f"{files.url}/{version}.txt", "modelDigest": sha256(content).hexdigest(),
        "accessToken": f"token-{version}", "accuracy": float(f"0.{version}"),
    }  # fmt: skip
    send(platform, "POST", "/models", model)


def position(edge: Deployer, phase: str, reason: str) -> dict[str, Any]:
    """Return the position when it is in a phase, for a reason."""
    while True:
        shown: dict[str, Any] = send(edge, "GET", "/positions/north")
        is_settled = shown["phase"] == phase and shown["isObserved"] and shown["isSettled"]
        if is_settled and shown["reason"] == reason:
            return shown


def answer(gateway: Gateway, value: float) -> Any:
    response = httpx.post(
        f"{gateway.url}/inference-service-north", json={"value": value}, trust_env=False
    )
    return response.json().get("value")


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


def test_models_are_published_taken_over_pulled_and_verified(
    files: FileServer, tmp_path: Path
) -> None:
    there, here = tmp_path / "platform", tmp_path / "edge"
    there.mkdir()
    here.mkdir()
    (here / "template.py").write_text(TEMPLATE)
    with (
        Gateway("--lb-accept-schemas", "true") as gateway,
        Deployer(gateway, there) as platform,
    ):
        send(platform, "POST", "/projects", {"name": "drones"})
        send(platform, "POST", "/applications", {"name": "battery", "project": "drones"})
        publish(platform, files, "1", b"2")
        flags = (
            "--deployer-subscribe", platform.api, "--deployer-model-sources", files.url,
        )  # fmt: skip
        with Deployer(gateway, here, *flags) as edge:
            wait_until(lambda: models(edge) == ["lstm:1"])
            assert not files.requests  # files are pulled when they are needed
            body = {"name": "north", "application": "battery", "model": "best"}
            send(edge, "POST", "/positions", body)
            position(edge, "InService", "")
            assert files.requests == [("/1.txt", "token-1")]
            assert answer(gateway, 3) == 6.0
            publish(platform, files, "2", b"10")
            wait_until(lambda: models(edge) == ["lstm:1", "lstm:2"])
            send(edge, "POST", "/positions/north/switch", {"model": "best"})
            position(edge, "InService", "")
            assert answer(gateway, 3) == 30.0
            # A file that is another one than was published is not run.
            publish(platform, files, "3", b"100")
            files.files["/3.txt"] = b"666"
            wait_until(lambda: "lstm:3" in models(edge))
            send(edge, "POST", "/positions/north/switch", {"model": "lstm:3"})
            wait_until(lambda: "has the SHA-256" in _model_step(edge))
            assert answer(gateway, 3) == 30.0
            send(edge, "POST", "/positions/north/switch", {"model": "lstm:2"})
            position(edge, "InService", "")
            edge.stop()
        # What is published and withdrawn while the edge is away.
        send(platform, "DELETE", "/applications/battery/models/lstm:1")
        publish(platform, files, "4", b"4")
        with Deployer(gateway, here, *flags) as edge:
            wait_until(lambda: models(edge) == ["lstm:2", "lstm:3", "lstm:4"])
            send(platform, "DELETE", "/applications/battery/models/lstm:2")
            edge.wait_for_event("not taken over")
            assert "lstm:2" in models(edge)  # it serves
            send(edge, "DELETE", "/positions/north")
            wait_until(lambda: edge_shows(edge, "north") == "terminated")


def _model_step(edge: Deployer) -> str:
    shown = send(edge, "GET", "/modserv/north/pipeline")
    return next(str(step["message"]) for step in shown["steps"] if step["name"] == "model")


def edge_shows(edge: Deployer, name: str) -> str:
    return str(send(edge, "GET", f"/modserv/{name}")["status"])
