"""`asectl api`, as a user types it: from a declaration to a client, and every fault where it is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness import ROOT, Gateway, Loader, run_asectl

SEED = ROOT / "tests/golden/schemas/seed.yml"


def asectl(folder: Path, *args: str, code: int = 0) -> str:
    """Return what a command says on both streams; its exit code is checked."""
    result = run_asectl("api", *args, cwd=folder, environ={"PATH": ""})
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def api_folder(tmp_path: Path) -> Path:
    (tmp_path / "ai_api.yml").write_bytes(SEED.read_bytes())
    assert "service image-detect" in asectl(tmp_path, "create", "-f", "ai_api.yml")
    return tmp_path


def test_create_does_not_overwrite_a_changed_file(api_folder: Path) -> None:
    path = api_folder / "schemas/schema_image-detect.json"
    assert "is as it should be" in asectl(api_folder, "create", "-f", "ai_api.yml")
    path.write_text(path.read_text().replace('"1.0.0"', '"2.0.0"'))
    output = asectl(api_folder, "create", "-f", "ai_api.yml", code=1)
    assert "is there and differs" in output
    assert '"2.0.0"' in path.read_text()
    asectl(api_folder, "create", "-f", "ai_api.yml", "--force")
    assert '"1.0.0"' in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_create_from_python(tmp_path: Path) -> None:
    source = ROOT / "examples/image/wrapper.py"
    output = asectl(tmp_path, "create", "-f", str(source), "-o", "out")
    assert "schema_image.json" in output
    class_schema = subprocess.run(
        [sys.executable, "-m", "asectl", "loader", "schema", f"{source}:Thumbnail"],
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads((tmp_path / "out/schema_image.json").read_text()) == json.loads(
        class_schema.stdout
    )


def test_check_reports_each_error_with_its_location(api_folder: Path) -> None:
    text = (
        SEED.read_text().replace("type: integer", "tpye: integer").replace("- image1", "- image2")
    )
    (api_folder / "bad.yml").write_text(text)
    assert asectl(api_folder, "check", "ai_api.yml", "schemas") == "0 errors in 2 files\n"
    output = asectl(api_folder, "check", "bad.yml", code=3)
    assert "bad.yml:22:11: error: speed.tpye: keyword 'tpye' is not supported\n" in output
    assert (
        "   22 |           tpye: integer\n      |           ^^^^\n  hint: did you mean 'type'?"
        in output
    )
    assert output.endswith("2 errors in 1 file\n")
    report = json.loads(asectl(api_folder, "check", "--format", "json", "bad.yml", code=3))
    assert [(e["file"], e["line"], e["column"]) for e in report["errors"]] == [
        ("bad.yml", 22, 11),
        ("bad.yml", 63, 11),
    ]
    sarif = json.loads(asectl(api_folder, "check", "--format", "sarif", "bad.yml", code=3))
    (first, _) = sarif["runs"][0]["results"]
    location = first["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "bad.yml"
    assert location["region"] == {"startLine": 22, "startColumn": 11}
    output = asectl(api_folder, "check", "--format", "github", "bad.yml", code=3)
    assert output.splitlines()[0].startswith("::error file=bad.yml,line=22,col=11::speed.tpye: ")


def test_diff_reports_breaking_changes(api_folder: Path) -> None:
    (api_folder / "v2.yml").write_text(SEED.read_text().replace("minimum: 50", "minimum: 60"))
    output = asectl(api_folder, "diff", "image-detect", "v2.yml")
    assert "speed.minimum: 50 became 60" in output
    assert output.endswith("1 change, 1 breaking\n")
    asectl(api_folder, "diff", "image-detect", "v2.yml", "--exit-code", code=6)
    asectl(api_folder, "diff", "image-detect", "ai_api.yml", "--exit-code")
    assert (
        json.loads(asectl(api_folder, "diff", "image-detect", "v2.yml", "--json"))["breaking"] == 1
    )


def test_show_in_every_format(api_folder: Path) -> None:
    assert "image1           image, at most" in asectl(api_folder, "show", "image-detect")
    assert json.loads(asectl(api_folder, "show", "image-detect", "--as", "json"))["meta"]
    api_schema = yaml.safe_load(asectl(api_folder, "show", "image-detect", "--as", "yaml"))
    assert api_schema["spec"]["request"]["payload"]["required"] == ["image1"]
    source = asectl(api_folder, "show", "image-detect", "--as", "python")
    assert "class ImageDetect(Wrapper):" in source
    assert "python cannot hold schemainput.properties.payload.properties.image1" in source
    assert "contentEncoding" in asectl(api_folder, "show", "image-detect", "--as", "jsonschema")
    assert "/v1/private/image-detect" in asectl(
        api_folder, "show", "image-detect", "--as", "openapi"
    )


def test_list_of_a_folder(api_folder: Path) -> None:
    assert "image-detect" in asectl(api_folder, "list", "schemas")
    (line,) = json.loads(asectl(api_folder, "list", "schemas", "--json"))
    assert line["service"] == "image-detect"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("show", "nobody.json"), 3, "nobody.json: no such file"),
        (("show", "nobody", "--url", "http://127.0.0.1:9"), 4, "cannot be asked"),
        (("list", "--url", "http://127.0.0.1:9"), 4, "no services to be had"),
        (("list", "nowhere"), 3, "nowhere: no such folder"),
        (("create", "-f", "nobody.yml"), 1, "nobody.yml: no such file"),
        (("check", "nobody.yml"), 3, "nobody.yml: error: No such file or directory"),
    ],
)
def test_missing_files_and_unreachable_gateways_are_errors(
    tmp_path: Path, args: tuple[str, ...], code: int, message: str
) -> None:
    assert message in asectl(tmp_path, *args, code=code)


def test_curl_example_of_a_streaming_service_runs(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb, "examples/vad/wrapper.py") as loader:
        gateway.wait_until_up(loader)
        command = asectl(tmp_path, "example", "vad", "--curl", "--url", gateway.url)
        result = subprocess.run(
            ["bash", "-c", command], capture_output=True, check=True, timeout=30
        )
        assert b"event: end" in result.stdout
        services = json.loads(asectl(tmp_path, "list", "--json", "--url", gateway.url))
        assert services[0]["streams"] is True
        assert "streams: by WebSocket" in asectl(tmp_path, "show", "vad", "--url", gateway.url)


def test_example_and_client_of_a_running_service(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        command = asectl(tmp_path, "example", "probe", "--curl", "--url", gateway.url)
        curl = subprocess.run(
            ["bash", "-c", command], capture_output=True, check=False, text=True, timeout=30
        )
        assert json.loads(curl.stdout)["header"]["code"] == 0
        module = asectl(tmp_path, "client", "probe", "--url", gateway.url)
        (tmp_path / "probe_client.py").write_text(module)
        script = f"""
import probe_client
client = probe_client.Client({gateway.url!r})
outputs = client.call(text="hello", number=5)
print(outputs.said, outputs.facts["number"])
"""
        output = subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path, text=True)
        assert output == "HELLO 5\n"
