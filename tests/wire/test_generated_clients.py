"""Clients that generators make of the OpenAPI document call a service."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import ROOT, TIMEOUT_S, Gateway, Loader

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

PICTURE = ROOT / "examples/image/small.png"
TYPESCRIPT = ROOT / ".npm-tools/node_modules"  # `.ci/run` installs it where there is npm

PYTHON_SCRIPT = """
import base64, sys
from made import Client
from made.api.image import call_image, image as plain
from made.models import CallImageBody, ImageForm, ImageRequest
from made.types import File

url, picture = sys.argv[1:]
image = base64.b64encode(open(picture, "rb").read()).decode()
body = {"header": {"app_id": "me", "status": 3}, "payload": {"image": {"image": image}}}
response = call_image.sync(client=Client(base_url=url), body=CallImageBody.from_dict(body))
print(response.header.code, response.payload.facts.text["width"])
client = Client(base_url=url, headers={"accept": "application/json"})
print(plain.sync(client=client, body=ImageRequest(image=image)).facts["width"])
file = File(payload=open(picture, "rb"), file_name="a.png", mime_type="image/png")
print(plain.sync(client=client, body=ImageForm(image=file, width=64)).facts["width"])
print(plain.sync(client=client, body=ImageRequest(image=image, width=0)).errors[0].pointer)
"""

OPENAPI_GENERATOR_SCRIPT = """
import base64, sys
import openapi_client

url, picture = sys.argv[1:]
image = base64.b64encode(open(picture, "rb").read()).decode()
body = {"header": {"app_id": "me", "status": 3}, "payload": {"image": {"image": image}}}
client = openapi_client.ApiClient()
assert client.configuration.host == url
request = openapi_client.CallImageRequest.from_dict(body)
response = openapi_client.ImageApi(client).call_image(request)
print(response.header.code, response.payload.facts.text["width"])
api = openapi_client.ImageApi(client)
print(api.image(openapi_client.ImageRequest(image=image)).facts["width"])
print(api.image(openapi_client.ImageRequest(image=image, width=64)).facts["width"])
try:
    api.image(openapi_client.ImageRequest.model_construct(image=image, width=0))
except openapi_client.ApiException as error:
    print(error.data.errors[0].pointer)
"""

DATAMODEL_SCRIPT = """
import base64, sys
import httpx
from models import ImageAnswer, ImageRequest, Problem

url, picture = sys.argv[1:]
image = base64.b64encode(open(picture, "rb").read()).decode()
print("0 240")  # envelopes are no components

def post(request):
    body = request.model_dump_json(exclude_none=True)
    headers = {"content-type": "application/json"}
    return httpx.post(f"{url}/v1/image", content=body, headers=headers).text

print(ImageAnswer.model_validate_json(post(ImageRequest(image=image))).facts["width"])
print(ImageAnswer.model_validate_json(post(ImageRequest(image=image, width=64))).facts["width"])
wrong = ImageRequest.model_construct(image=image, width=0)
print(Problem.model_validate_json(post(wrong)).errors[0].pointer)
"""

TYPESCRIPT_SCRIPT = """
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./made.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });
const image = readFileSync(process.argv[3]!).toString("base64");
const { data } = await client.POST("/v1/private/image", {
  body: { header: { app_id: "me", status: 3 }, payload: { image: { image } } },
});
if (!data || !("header" in data)) throw new Error("no envelope");
const facts = data.payload!.facts!.text as { width: number };
console.log(data.header.code, facts.width);
const plain = async (body: { image: string; width?: number }) => {
  const { data, error } = await client.POST("/v1/image", { body });
  if (error) return error.errors![0]!.pointer;
  if (!data || typeof data === "string" || !("facts" in data)) throw new Error("no answer");
  return (data.facts as { width: number }).width;
};
console.log(await plain({ image }));
console.log(await plain({ image, width: 64 }));
console.log(await plain({ image, width: 0 }));
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway() as running, Loader(running.lb, "examples/image/wrapper.py") as loader:
        running.wait_until_up(loader)
        yield running


def run(folder: Path, *command: str) -> str:
    """Run a command in a folder; return what it prints."""
    result = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * TIMEOUT_S,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def make_openapi_python_client(folder: Path, url: str) -> list[str]:
    output = run(
        folder,
        tool("openapi-python-client"),
        "generate",
        "--url",
        f"{url}/v1/apis/image/openapi.json",
        "--meta",
        "none",
        "--output-path",
        "made",
    )
    assert "will not be generated" not in output, output
    (folder / "use.py").write_text(PYTHON_SCRIPT)
    return [sys.executable, "use.py"]


def make_openapi_generator_client(folder: Path, url: str) -> list[str]:
    arguments = ("generate", "-g", "python", "-i", f"{url}/openapi.json", "-o", ".")
    run(folder, tool("openapi-generator-cli"), *arguments)
    (folder / "use.py").write_text(OPENAPI_GENERATOR_SCRIPT)
    return [sys.executable, "use.py"]


def make_datamodel_client(folder: Path, url: str) -> list[str]:
    flags = ("--input-file-type", "openapi", "--output-model-type", "pydantic_v2.BaseModel")
    source = ("--url", f"{url}/openapi.json", "--allow-private-network")
    run(folder, tool("datamodel-codegen"), *source, *flags, "--output", "models.py")
    (folder / "use.py").write_text(DATAMODEL_SCRIPT)
    return [sys.executable, "use.py"]


def make_typescript_client(folder: Path, url: str) -> list[str]:
    (folder / "node_modules").symlink_to(TYPESCRIPT)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "use.ts").write_text(TYPESCRIPT_SCRIPT)
    # A member with a default may be left out of a request.
    options = ("--default-non-nullable", "false", "-o", "made.ts")
    run(folder, "node_modules/.bin/openapi-typescript", f"{url}/openapi.json", *options)
    flags = [
        "--strict",
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--types",
        "node",
        "--skipLibCheck",
    ]
    run(folder, "node_modules/.bin/tsc", *flags, "use.ts")
    return ["node", "use.js"]


GENERATORS: list[Callable[[Path, str], list[str]]] = [
    make_openapi_python_client,
    make_datamodel_client,
]
if shutil.which("java"):
    GENERATORS.append(make_openapi_generator_client)
if TYPESCRIPT.is_dir():
    GENERATORS.append(make_typescript_client)


@pytest.mark.parametrize("generate", GENERATORS)
def test_generated_client_calls_a_service(
    gateway: Gateway, tmp_path: Path, generate: Callable[[Path, str], list[str]]
) -> None:
    command = generate(tmp_path, gateway.url)
    printed = run(tmp_path, *command, gateway.url, str(PICTURE))
    assert printed.splitlines() == ["0 240", "240", "240", "/width"]
