"""The loader in JavaScript of the examples, behind our gateway."""

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from schemas.model import document
from tests.harness import ROOT, Gateway, make_envelope

EXAMPLE = ROOT / "examples/node"
NODE_MODULES = ROOT / ".npm-tools/node_modules"  # `.ci/run` installs it where there is npm


def check_schema_of_the_example_is_canonical() -> None:
    text = (EXAMPLE / "schema.json").read_bytes()
    assert document.canonical(document.parse(text)) == text
    assert document.service_from_document(document.parse(text)).id == "node-upper"


def read_lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def check_node_loader_serves_and_reports() -> None:
    with Gateway("--lb-accept-schemas", "true") as gateway:
        env = {"NODE_PATH": str(NODE_MODULES), "PATH": "/usr/local/bin:/usr/bin:/bin"}
        args = ["node", str(EXAMPLE / "loader.js"), gateway.lb]
        with subprocess.Popen(args, env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                line = next(read_lines(process))
                addr = line.split()[-1]
                gateway.wait_for_event("instance admitted", instance=addr)
                bodies = [call(gateway) for _ in range(20)]
                assert {body["header"]["code"] for body in bodies} == {0}
                output = bodies[0]["payload"]["result"]["text"]
                assert base64.b64decode(output) == b"HELLO"
                (state,) = gateway.state()
                assert (state["instance"], state["state"], state["total"]) == (addr, "up", 8)
                wait_until_served(gateway, 20)
            finally:
                process.kill()
        gateway.wait_for_event("instance gone", instance=addr)


def call(gateway: Gateway) -> dict[str, object]:
    body: dict[str, object] = json.loads(
        gateway.post(make_envelope("node-upper"), "node-upper").text
    )
    return body


def wait_until_served(gateway: Gateway, count: int) -> None:
    """Wait until the reports of the loader show all requests."""
    pause = threading.Event()
    while gateway.state()[0]["served"] < count:
        pause.wait(0.01)


CHECKS = [check_schema_of_the_example_is_canonical]
if (NODE_MODULES / "@grpc/grpc-js").is_dir():
    CHECKS.append(check_node_loader_serves_and_reports)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_node_loader(check: Callable[[], None]) -> None:
    check()
