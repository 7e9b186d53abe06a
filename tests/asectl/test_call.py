"""`asectl call` with odd arguments, outputs and servers."""

import argparse
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asectl import call
from asectl.main import Failure
from aseloader import declare
from tests.wrappers.probe import Probe

DOCUMENT = declare.schema(Probe)


class OddServer(BaseHTTPRequestHandler):
    """Answers each path with what the test says; with the schema of the probe by default."""

    responses: ClassVar[dict[str, tuple[int, bytes]]] = {}
    received: ClassVar[list[bytes]] = []

    def do_GET(self) -> None:
        self._respond(200, DOCUMENT)

    def do_POST(self) -> None:
        self.received.append(self.rfile.read(int(self.headers["content-length"])))
        self._respond(200, b"{}")

    def _respond(self, default_status: int, default_body: bytes) -> None:
        status, body = self.responses.get(self.path, (default_status, default_body))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[type[OddServer]]:
    class Handler(OddServer):
        responses: ClassVar[dict[str, tuple[int, bytes]]] = {}
        received: ClassVar[list[bytes]] = []

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        Handler.url = f"http://127.0.0.1:{http_server.server_port}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=http_server.serve_forever, args=(0.01,))
        thread.start()
        yield Handler
        http_server.shutdown()
        thread.join()


def run_call(server: type[OddServer], *argv: str) -> int:
    parser = argparse.ArgumentParser()
    call.add_arguments(parser)
    url: str = server.url  # type: ignore[attr-defined]
    return call.run(parser.parse_args(["probe", "--url", url, *argv]))


def answer(server: type[OddServer], payload: Any) -> None:
    envelope = {"header": {"code": 0, "message": "success", "sid": "1"}, "payload": payload}
    server.responses["/v1/private/probe"] = (200, json.dumps(envelope).encode())


@pytest.mark.parametrize("value", ["a text", "", 5, 1.5, True, None, [], {"a": [1]}, "aGk="])
def test_json_outputs_of_every_type(
    server: type[OddServer], value: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    answer(server, {"facts": {"text": value, "format": "json"}, "said": {"text": "aGk="}})
    assert run_call(server) == 0
    assert json.loads(capsys.readouterr().out) == {"facts": value, "said": "hi"}
    file = tmp_path / "facts.json"
    assert run_call(server, "-o", f"facts={file}") == 0
    assert file.read_text() == (json.dumps(value, indent=2) if value != "" else "")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "[NaN]", "[" * 5000])
def test_numbers_that_json_cannot_carry_are_sent_as_text(
    server: type[OddServer], text: str
) -> None:
    answer(server, {})
    assert run_call(server, "-p", f"number={text}") == 0
    assert json.loads(server.received[0])["parameter"]["probe"]["number"] == text


def test_argument_that_is_not_utf8_is_named(server: type[OddServer]) -> None:
    text = os.fsdecode(b"act=\xff")
    for flag in ("-p", "--app-id"):
        with pytest.raises(Failure, match=f"{flag} .*is not UTF-8") as caught:
            run_call(server, flag, text)
        assert caught.value.code == 2
    assert not server.received


@pytest.mark.parametrize(
    ("path", "status", "body", "reason"),
    [
        ("/v1/private/probe", 200, b"<html>", r"HTTP 200\) is not JSON; is it a gateway"),
        ("/v1/private/probe", 502, b"", r"HTTP 502\) is not JSON"),
        ("/v1/private/probe", 200, b"[]", "is no envelope"),
        ("/v1/private/probe", 200, b'{"header": 5}', "is no envelope"),
        ("/v1/private/probe", 200, b'{"header": {"code": 0}}', "is no envelope"),
        ("/v1/apis/probe/schema", 200, b"<html>", "is not JSON"),
        ("/v1/apis/probe/schema", 200, b"{}", "no schema that can be read: meta: is missing"),
        ("/v1/apis/probe/schema", 404, b"", "is no list of services"),
    ],
)
def test_server_that_is_no_gateway_is_described(
    server: type[OddServer], path: str, status: int, body: bytes, reason: str
) -> None:
    server.responses[path] = (status, body)
    with pytest.raises(Failure, match=reason):
        run_call(server)
