"""`asectl api`, as a user types it: from a declaration to a client, and every fault where it is."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import ROOT, Gateway, Loader

SEED = ROOT / "tests/golden/schemas/seed.yml"


def asectl(folder: Path, *words: str, code: int = 0) -> str:
    """Return what a command says on both streams; its exit code is checked."""
    told = subprocess.run(
        [sys.executable, "-m", "asectl", "api", *words],
        cwd=folder,
        text=True,
        timeout=60,
        capture_output=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )
    assert told.returncode == code, told.stdout + told.stderr
    return told.stdout + told.stderr


@pytest.fixture
def made(tmp_path: Path) -> Path:
    (tmp_path / "ai_api.yml").write_bytes(SEED.read_bytes())
    assert "service image-detect" in asectl(tmp_path, "create", "-f", "ai_api.yml")
    return tmp_path


def test_create_writes_once_and_never_over_what_differs(made: Path) -> None:
    path = made / "schemas/schema_image-detect.json"
    assert "is as it should be" in asectl(made, "create", "-f", "ai_api.yml")
    path.write_text(path.read_text().replace('"1.0.0"', '"2.0.0"'))
    said = asectl(made, "create", "-f", "ai_api.yml", code=1)
    assert "is there and differs" in said
    assert '"2.0.0"' in path.read_text()
    asectl(made, "create", "-f", "ai_api.yml", "--force")
    assert '"1.0.0"' in path.read_text()
    assert list(path.parent.iterdir()) == [path]


def test_create_of_python(tmp_path: Path) -> None:
    source = ROOT / "examples/image/wrapper.py"
    said = asectl(tmp_path, "create", "-f", str(source), "-o", "out")
    assert "schema_image.json" in said
    of_class = subprocess.run(
        [sys.executable, "-m", "asectl", "loader", "schema", f"{source}:Thumbnail"],
        capture_output=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads((tmp_path / "out/schema_image.json").read_text()) == json.loads(
        of_class.stdout
    )


def test_check_tells_each_fault_where_it_stands(made: Path) -> None:
    text = (
        SEED.read_text().replace("type: integer", "tpye: integer").replace("- image1", "- image2")
    )
    (made / "bad.yml").write_text(text)
    assert asectl(made, "check", "ai_api.yml", "schemas") == "0 errors in 2 files\n"
    said = asectl(made, "check", "bad.yml", code=3)
    assert "bad.yml:22:11: error: speed.tpye: keyword 'tpye' is not supported\n" in said
    assert (
        "   22 |           tpye: integer\n      |           ^^^^\n  hint: did you mean 'type'?"
        in said
    )
    assert said.endswith("2 errors in 1 file\n")
    told = json.loads(asectl(made, "check", "--format", "json", "bad.yml", code=3))
    assert [(e["file"], e["line"], e["column"]) for e in told["errors"]] == [
        ("bad.yml", 22, 11),
        ("bad.yml", 63, 11),
    ]
    sarif = json.loads(asectl(made, "check", "--format", "sarif", "bad.yml", code=3))
    (first, _) = sarif["runs"][0]["results"]
    place = first["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "bad.yml"
    assert place["region"] == {"startLine": 22, "startColumn": 11}
    said = asectl(made, "check", "--format", "github", "bad.yml", code=3)
    assert said.splitlines()[0].startswith("::error file=bad.yml,line=22,col=11::speed.tpye: ")


def test_diff_tells_what_breaks(made: Path) -> None:
    (made / "v2.yml").write_text(SEED.read_text().replace("minimum: 50", "minimum: 60"))
    said = asectl(made, "diff", "image-detect", "v2.yml")
    assert "speed.minimum: 50 became 60" in said
    assert said.endswith("1 change, 1 breaking\n")
    asectl(made, "diff", "image-detect", "v2.yml", "--exit-code", code=6)
    asectl(made, "diff", "image-detect", "ai_api.yml", "--exit-code")
    assert json.loads(asectl(made, "diff", "image-detect", "v2.yml", "--json"))["breaking"] == 1


def test_show_in_every_form(made: Path) -> None:
    assert "image1           image, at most" in asectl(made, "show", "image-detect")
    assert json.loads(asectl(made, "show", "image-detect", "--as", "json"))["meta"]
    told = yaml.safe_load(asectl(made, "show", "image-detect", "--as", "yaml"))
    assert told["spec"]["request"]["payload"]["required"] == ["image1"]
    said = asectl(made, "show", "image-detect", "--as", "python")
    assert "class ImageDetect(Wrapper):" in said
    assert "python cannot hold schemainput.properties.payload.properties.image1" in said
    assert "contentEncoding" in asectl(made, "show", "image-detect", "--as", "jsonschema")
    assert "/v1/private/image-detect" in asectl(made, "show", "image-detect", "--as", "openapi")


def test_list_of_a_folder(made: Path) -> None:
    assert "image-detect" in asectl(made, "list", "schemas")
    (line,) = json.loads(asectl(made, "list", "schemas", "--json"))
    assert line["service"] == "image-detect"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "nobody.json"), 3, "nobody.json: no such file"),
        (("show", "nobody", "--url", "http://127.0.0.1:9"), 4, "cannot be asked"),
        (("list", "--url", "http://127.0.0.1:9"), 4, "no services to be had"),
        (("list", "nowhere"), 3, "nowhere: no such folder"),
        (("create", "-f", "nobody.yml"), 1, "nobody.yml: no such file"),
        (("check", "nobody.yml"), 3, "nobody.yml: error: No such file or directory"),
    ],
)
def test_what_is_not_there(tmp_path: Path, words: tuple[str, ...], code: int, said: str) -> None:
    assert said in asectl(tmp_path, *words, code=code)


def test_the_example_of_a_service_that_streams_works_when_pasted(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb, "examples/vad/wrapper.py") as loader:
        gateway.joined(loader)
        line = asectl(tmp_path, "example", "vad", "--curl", "--url", gateway.url)
        told = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
        assert b"event: end" in told.stdout
        listed = json.loads(asectl(tmp_path, "list", "--json", "--url", gateway.url))
        assert listed[0]["streams"] is True
        assert "streams: by WebSocket" in asectl(tmp_path, "show", "vad", "--url", gateway.url)


def test_an_example_and_a_client_of_a_running_service(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.joined(loader)
        line = asectl(tmp_path, "example", "probe", "--curl", "--url", gateway.url)
        told = subprocess.run(
            ["bash", "-c", line], capture_output=True, check=False, text=True, timeout=30
        )
        assert json.loads(told.stdout)["header"]["code"] == 0
        module = asectl(tmp_path, "client", "probe", "--url", gateway.url)
        (tmp_path / "probe_client.py").write_text(module)
        mypy = [sys.executable, "-m", "mypy", "--strict", "probe_client.py"]
        typed = subprocess.run(mypy, cwd=tmp_path, capture_output=True, check=False, text=True)
        assert typed.returncode == 0, typed.stdout
        space: dict[str, Any] = {"__name__": "probe_client"}
        sys.modules["probe_client"] = type(sys)("probe_client")
        exec(compile(module, "probe_client.py", "exec"), space)  # noqa: S102 (as a user imports it)
        answer = space["call"](b"hello", url=gateway.url, app_id="tests", number=5)
        assert answer.said == b"HELLO"
        assert answer.facts["number"] == 5
        with pytest.raises(space["ServiceError"], match="breaks maximum 100"):
            space["call"](b"hello", url=gateway.url, app_id="tests", number=101)
