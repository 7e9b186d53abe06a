"""Clients that `asectl api client` prints call services: in Python, both ways, and TypeScript."""

import asyncio
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from schemas.output.python_client import render_client
from tests.harness import ROOT, Gateway, Loader, run_asectl
from tests.schemas.output.test_client_api import Boxes, api_of
from tests.sessions import TALKER
from tests.wire.test_generated_clients import TYPESCRIPT, run

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

FORMS = "tests/wrappers/forms.py:Forms"
PICTURE = ROOT / "examples/image/small.png"


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with (
        Gateway() as running,
        Loader(running.lb, FORMS) as forms,
        Loader(running.lb, TALKER) as talker,
    ):
        running.wait_until_up(forms)
        running.wait_until_up(talker)
        yield running


def client_source(gateway: Gateway, service: str, language: str) -> str:
    result = run_asectl("api", "client", service, "--url", gateway.url, "--lang", language)
    assert result.returncode == 0, result.stderr
    return result.stdout


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def modules(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModuleType]:
    folder = tmp_path_factory.mktemp("clients")
    for service in ("forms", "talker"):
        (folder / f"{service}.py").write_text(client_source(gateway, service, "python"))
    run(folder, sys.executable, "-m", "mypy", "--strict", "--config-file=", "forms.py", "talker.py")
    return {service: load(folder / f"{service}.py") for service in ("forms", "talker")}


class Caller:
    """Calls by `Client`, or by `AsyncClient`."""

    def __init__(self, module: ModuleType, url: str, *, is_async: bool, **options: Any) -> None:
        self._module = module
        self._url = url
        self._is_async = is_async
        self._options = options

    def call(self, **members: Any) -> Any:
        if not self._is_async:
            with self._module.Client(self._url, **self._options) as client:
                return client.call(**members)

        async def call() -> Any:
            async with self._module.AsyncClient(self._url, **self._options) as client:
                return await client.call(**members)

        return asyncio.run(call())

    def stream(self, **members: Any) -> list[Any]:
        if not self._is_async:
            with self._module.Client(self._url, **self._options) as client:
                return list(client.stream(**members))

        async def stream() -> list[Any]:
            async with self._module.AsyncClient(self._url, **self._options) as client:
                return [result async for result in client.stream(**members)]

        return asyncio.run(stream())


IS_ASYNC = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@IS_ASYNC
def test_members_of_every_kind(
    gateway: Gateway, modules: dict[str, ModuleType], *, is_async: bool
) -> None:
    forms = modules["forms"]
    caller = Caller(forms, gateway.url, is_async=is_async, app_id="shop")
    pictures = [str(PICTURE), PICTURE, PICTURE.read_bytes()]
    pictures.append(forms.File(PICTURE.read_bytes(), "image/png", "a.png"))
    for picture in pictures:
        outputs = caller.call(
            text='é "', picture=picture, width=9, grey=True, mode="fine", data={"a": [1, None]}
        )
        assert outputs.note == 'é "'
        assert outputs.thumbnail == PICTURE.read_bytes()
        params = outputs.facts["params"]
        assert (params["width"], params["grey"], params["mode"]) == (9, True, "fine")
        assert outputs.facts["data"] == {"a": [1, None]}
    for data in ("abc", "123", "null", 'a"b'):
        assert caller.call(picture=b"x", data=data).facts["data"] == data, "a text of JSON"
        assert caller.call(data=data).facts["data"] == data
    assert caller.call(text="plain", width=3).facts["params"]["width"] == 3


@IS_ASYNC
def test_error_is_an_exception_with_its_rules(
    gateway: Gateway, modules: dict[str, ModuleType], *, is_async: bool
) -> None:
    forms = modules["forms"]
    caller = Caller(forms, gateway.url, is_async=is_async)
    for method in (caller.call, caller.stream):
        with pytest.raises(forms.Problem) as caught:
            method(text="x", width=999)
        problem = caught.value
        assert (problem.status, problem.code, len(problem.sid)) == (400, 10163, 32)
        assert problem.errors == [{"pointer": "/width", "rule": "breaks maximum 512"}]
        assert problem.sid in str(problem)
    with pytest.raises(FileNotFoundError):
        caller.call(picture="no such file.png")


@IS_ASYNC
def test_stream_yields_results(
    gateway: Gateway, modules: dict[str, ModuleType], *, is_async: bool
) -> None:
    talker = modules["talker"]
    caller = Caller(talker, gateway.url, is_async=is_async)
    results = caller.stream(text="hello", act="flood", many=300)
    assert [r.facts["number"] for r in results if r.facts] == list(range(300))
    assert results[-1].said == "HELLO"
    lines = "a\u2028b\u2029c\u0085d\re\nf"
    assert [r.said for r in caller.stream(text=lines)] == [lines.upper()]
    with pytest.raises(talker.Problem) as caught:
        caller.stream(text="x", act="refuse")
    assert (caught.value.code, caught.value.detail) == (10107, "not this one")


class ScriptedServer:
    """Answers requests with `answers`, each a status, headers and a body; it records what came."""

    def __init__(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        pending, requests = list(answers), self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append((self.path, dict(self.headers.items()), body))
                status, headers, members = pending.pop(0)
                content = json.dumps(members).encode()
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> "ScriptedServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


FULL = (503, {"retry-after": "0"}, {"code": 10110, "detail": "full", "sid": "s"})


@IS_ASYNC
def test_retries_follow_retry_after(modules: dict[str, ModuleType], *, is_async: bool) -> None:
    forms = modules["forms"]
    options = {"is_async": is_async, "headers": {"x-request-id": "7"}}
    with ScriptedServer(
        FULL, (429, {"retry-after": "0"}, "no"), (200, {}, {"note": "a"})
    ) as server:
        caller = Caller(forms, server.url + "/", app_id="shop", **options)
        assert caller.call(picture=b"x", width=5).note == "a"
        first, second, third = server.requests
        assert first[0] == "/v1/forms"
        assert first[1]["x-app-id"] == "shop"
        assert first[1]["x-request-id"] == "7"
        assert first[2] == second[2] == third[2], "the body is sent again"
        assert b'name="width"\r\n\r\n5\r\n' in first[2]
    with ScriptedServer(FULL, FULL) as server:
        with pytest.raises(forms.Problem) as caught:
            Caller(forms, server.url, retries=1, **options).call(text="x")
        assert caught.value.code == 10110
    with ScriptedServer((502, {}, "no problem at all")) as server:
        with pytest.raises(forms.Problem) as caught:
            Caller(forms, server.url, **options).stream(text="x")
        assert (caught.value.status, caught.value.detail) == (502, "status 502")


@IS_ASYNC
def test_idempotent_request_is_repeated_under_one_key(tmp_path: Path, *, is_async: bool) -> None:
    path = tmp_path / "boxes.py"
    path.write_text(render_client(api_of(Boxes)))
    boxes = load(path)
    lost = (502, {}, {"code": 10222, "detail": "lost", "sid": "s"})
    runs = (409, {"retry-after": "0"}, {"code": 10163, "detail": "runs", "sid": "s"})
    with ScriptedServer(lost, runs, (200, {}, {"boxes": [{"x": 1}]}), (200, {}, {})) as server:
        caller = Caller(boxes, server.url, is_async=is_async)
        assert caller.call(picture=b"x", top=1).boxes == [{"x": 1}]
        assert caller.call(picture=b"x", top=1).boxes is None
        first, repeated, again, other = [
            headers["idempotency-key"] for _, headers, _ in server.requests
        ]
    assert first == repeated == again != other


@IS_ASYNC
def test_gateway_that_is_away(modules: dict[str, ModuleType], *, is_async: bool) -> None:
    with ScriptedServer() as server:
        url = server.url
    with pytest.raises(httpx.ConnectError):
        Caller(modules["forms"], url, is_async=is_async, retries=1).call(text="x")


TYPESCRIPT_PROGRAM = """
import { Client, Problem, fileFrom } from "./forms.js";
import { Client as Talker } from "./talker.js";

const [url, path] = process.argv.slice(2) as [string, string];
const client = new Client(url, { appId: "shop" });
const picture = await fileFrom(path);
const outputs = await client.call({ text: "é", picture, width: 9, data: { a: 1 } });
const same = Buffer.from(outputs.thumbnail!).equals(Buffer.from(await picture.arrayBuffer()));
console.log(picture.type, outputs.note, same);
console.log((await client.call({ text: "json" })).note);
try {
  await client.call({ text: "x", width: 999 });
} catch (error) {
  if (error instanceof Problem) console.log(error.code, error.status, error.errors[0]!.pointer);
}
const numbers: unknown[] = [];
for await (const result of new Talker(url).stream({ text: "hi", act: "flood", many: 300 })) {
  numbers.push(result.said!.length);
}
console.log(numbers.length);
try {
  for await (const _ of new Talker(url).stream({ text: "hi", act: "refuse" })) console.log("?");
} catch (error) {
  console.log((error as Problem).detail);
}
const answers = [
  new Response("{}", { status: 503, headers: { "retry-after": "0" } }),
  new Response('{"note": "again"}'),
];
const retried = new Client("http://nowhere", { fetch: async () => answers.shift()! });
console.log((await retried.call({ text: "x" })).note);
"""


@pytest.mark.parametrize("_", ["typescript"] if TYPESCRIPT.is_dir() else [])
def test_typescript_client(gateway: Gateway, tmp_path: Path, _: str) -> None:
    (tmp_path / "node_modules").symlink_to(TYPESCRIPT)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for service in ("forms", "talker"):
        (tmp_path / f"{service}.ts").write_text(client_source(gateway, service, "typescript"))
    (tmp_path / "use.ts").write_text(TYPESCRIPT_PROGRAM)
    flags = ["--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022"]
    run(tmp_path, "node_modules/.bin/tsc", *flags, "--types", "node", "--skipLibCheck", "use.ts")
    assert run(tmp_path, "node", "use.js", gateway.url, str(PICTURE)).splitlines() == [
        "image/png é true",
        "json",
        "10163 400 /width",
        "301",
        "not this one",
        "again",
    ]
