"""Schema files of every kind: documents, or faults in their places; and nothing else, ever."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.source import ConfigError
from gateway.services import schema_file, schema_folder
from tests.harness import ROOT

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled

SEED_YAML = (ROOT / "tests/golden/schemas/seed.yml").read_text(encoding="utf-8")


def load_error(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        schema_folder.load_file(path, {}, 0.0)
    return str(caught.value)


TEXTS_YAML = """
apiVersion: iflytek.com/v1alpha1
kind: ApiSchema
metadata: {serviceName: 010, version: 1.10, description: on, deadline: 2.50, idempotent: true}
spec:
  request:
    parameters:
      properties:
        lang: {type: string, enum: [en, no, 1.10, 010], default: 1.10}
        size: {type: number, enum: [1.10, 010], default: 010}
    payload: {properties: {text: {type: text}}, required: [text]}
  response: {payload: {properties: {out: {type: text, contentFormat: json}}}}
"""


def test_yaml_values_are_texts_where_texts_are_declared(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TEXTS_YAML)
    contract = schema_folder.load_file(tmp_path / "x.yaml", {}, 0.0)
    service = contract.service
    assert (service.id, service.version, service.description) == ("010", "1.10", "on")
    assert (service.deadline, service.idempotent) == (2.5, True)
    params = service.input["properties"]["parameter"]["properties"]["010"]["properties"]
    assert params["lang"]["enum"] == ["en", "no", "1.10", "010"]
    assert params["lang"]["default"] == "1.10"
    assert params["size"]["enum"] == [1.1, 10]
    assert params["size"]["default"] == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ".json:1:1: error: not JSON: Expecting value"),
        ("{", ".json:1:2: error: not JSON: Expecting property name"),
        ('{"meta": 1,\n\t"meta": 2}', "error: is not JSON: member 'meta' occurs twice"),
        ("[]", "error: must be a JSON object"),
        ("{}", "error: meta: is missing"),
        ('{"meta": {"serviceId": "x"},\n\t"schemainput": {"tpye": 1}}',
         ".json:2:18: error: schemainput.tpye: keyword 'tpye' is not supported"),
    ],
)  # fmt: skip
def test_json_errors(tmp_path: Path, text: str, message: str) -> None:
    assert message in load_error(tmp_path / "schema_x.json", text)


def test_minified_file_errors_are_truncated_and_counted(tmp_path: Path) -> None:
    schema = {f"abcde{n}": 1 for n in range(2000)}
    message = load_error(
        tmp_path / "x.json", json.dumps({"meta": {"serviceId": "x"}, "schemainput": schema})
    )
    assert len(message) < 50_000
    assert message.endswith("and 1950 more")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("creationTimestamp: null", "creationTimestamp: 2026-11-27", ""),
        ("group: gas", "group: !!binary aGk=", "cannot be read as a value"),
        ("group: gas", "group: 0x" + "f" * 5000, "cannot be read as a value"),
        ("group: gas", 'group: "\\ud800"', "cannot be written as JSON"),
        ("minimum: 50", "minimum: .nan", "must be a number"),
        ("apiVersion:", "a: &b [c]\napiVersion:", ":1:1: error: a: unknown key 'a'"),
        ("kind: ApiSchema", "kind: *b", "aliases are not allowed"),
        ("spec:", "---\nspec:", "not YAML: but found another document"),
        ("spec:", "\tspec:", "not YAML: "),
        ("serviceName: image-detect", "serviceName: version", "is a word of the document itself"),
        ("        audio1:\n          type: audio\n          encoding: speex-wb\n",
         "        vcn:\n          type: audio\n", "'vcn' is a parameter and an output"),
    ],
)  # fmt: skip
def test_yaml_errors(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SEED_YAML
    head, _, tail = SEED_YAML.rpartition(old)
    path = tmp_path / "x.yml"
    if message:
        assert message in load_error(path, head + new + tail)
    else:
        path.write_text(head + new + tail, encoding="utf-8")
        assert b"2026-11-27" in schema_file.read_schema(path)


def test_undecodable_oversized_and_missing_files(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        schema_file.read_schema(path)
    path.write_bytes(b" " * (schema_file.MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="is larger than 1024 KiB"):
        schema_file.read_schema(path)
    with pytest.raises(OSError, match="No such file"):
        schema_file.read_schema(tmp_path / "y.json")


@pytest.mark.parametrize(
    "line",
    ["p = String(default=b'x')", "p = Number(default=1e999)", "p = Input(['image'])",
     "p = Input('image', encodings='jpg')", "deadline = 1j", "p = String(doc='\\ud800')",
     "p = String(default={1: 2, 'a': 3})", "p = String(pattern='(')"],
)  # fmt: skip
def test_invalid_python_declarations(tmp_path: Path, line: str) -> None:
    head = "class A(Wrapper):\n    service = 'a'\n    out = Output('text')\n    "
    assert "error: " in load_error(tmp_path / "x.py", head + line + "\n")


ODD_VALUES = st.sampled_from(
    [None, 0, -1, 1.5, 10**400, True, "", "x", [], [1], {}, {"a": 1}, [[]], {"": {}}]
)
VALID_DOCUMENT: dict[str, Any] = json.loads(
    (ROOT / "tests/golden/service.json").read_text(encoding="utf-8")
)
VALID_DECLARATION: dict[str, Any] = yaml.safe_load(SEED_YAML)


def all_paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [
        path,
        *(child_path for key, value in members for child_path in all_paths(value, (*path, key))),
    ]


def with_value(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    result = copy.deepcopy(tree)
    parent = result
    for key in path[:-1]:
        parent = parent[key]
    if not path:
        return value
    parent[path[-1]] = value
    return result


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.sampled_from(all_paths(VALID_DOCUMENT)), ODD_VALUES)
def test_mutated_document_loads_or_is_rejected(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(with_value(VALID_DOCUMENT, path, value)))
    with contextlib.suppress(ConfigError):
        schema_folder.load_file(file, {}, 0.0)


@pytest.mark.unmeasured
@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.sampled_from(all_paths(VALID_DECLARATION)), ODD_VALUES)
def test_mutated_declaration_loads_or_is_rejected(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    file = tmp_path / "x.yml"
    file.write_text(yaml.safe_dump(with_value(VALID_DECLARATION, path, value)))
    with contextlib.suppress(ConfigError):
        schema_folder.load_file(file, {}, 0.0)


def bad_file_params() -> list[Any]:
    golden = (ROOT / "tests/golden/schemas/bad.txt").read_text(encoding="utf-8")
    params = []
    for section in golden.split("\n---- ")[1:]:
        name, _, remainder = section.partition("\n")
        text, _, message = remainder.rpartition(">>> ")
        params.append(pytest.param(name, text, message.rstrip("\n"), id=name))
    return params


def test_at_least_forty_bad_files() -> None:
    assert len(bad_file_params()) >= 40


@pytest.mark.parametrize(("name", "text", "message"), bad_file_params())
def test_bad_file_has_one_diagnostic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        schema_folder.load_file(Path(name), {}, 0.0)
    assert str(caught.value).splitlines()[0] == message
    assert len(caught.value.diagnostics) == 1


def test_duplicate_service_files_are_rejected(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"meta": {"serviceId": "x"}, "schemainput": {}}')
    with pytest.raises(
        schema_folder.SchemaFolderError, match=r"b\.json: error: service 'x' is in .*a\.json too"
    ):
        schema_folder.load_folder(tmp_path, {}, 0.0)


WRAPPER = """\
from settings import SERVICE, Limits
from pkg.names import TEXT
from aseloader import Integer, Output, Wrapper

class Words(Wrapper):
    service = SERVICE
    top = Integer(0, Limits.TOP)
    text = Output(TEXT)
"""


def test_constants_are_read_from_modules_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("SERVICE = 'words'\nclass Limits:\n    TOP = 2 * 8\n")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__init__.py").touch()
    (tmp_path / "pkg/names.py").write_text("TEXT = 'text'\nraise SystemExit('never run')\n")
    (tmp_path / "x.py").write_text(WRAPPER)
    schema_document = json.loads(schema_file.read_schema(tmp_path / "x.py"))
    assert schema_document["meta"]["serviceId"] == "words"
    parameter = schema_document["schemainput"]["properties"]["parameter"]["properties"]["words"]
    assert parameter["properties"]["top"]["maximum"] == 16


@pytest.mark.parametrize("module", ["..secret", "os.path", "settings"])
def test_other_modules_are_not_read(tmp_path: Path, module: str) -> None:
    """Nothing above the folder, nothing that is installed, no file that is no Python."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.py").write_text("SERVICE = 'words'")
    (folder / "settings.py").write_bytes(b"# coding: nonsense\nSERVICE = 'words'")
    text = WRAPPER.replace("from settings import SERVICE, Limits", f"from {module} import SERVICE")
    assert "cannot be read without running the file" in load_error(folder / "x.py", text)


@pytest.mark.parametrize("encoding", ["gbk", "utf-8-sig", "latin-1"])
def test_python_is_read_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    note = "é" if encoding == "latin-1" else "漢字"
    line = "" if encoding == "utf-8-sig" else f"# -*- coding: {encoding} -*-\n"
    text = f"""{line}from aseloader import Output, Wrapper
class Words(Wrapper):
    '''{note}'''
    service = "words"
    text = Output("text")
"""
    (tmp_path / "x.py").write_bytes(text.encode(encoding))
    assert json.loads(schema_file.read_schema(tmp_path / "x.py"))["meta"]["description"] == note


def test_python_that_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    for raw in (b"# coding: nonsense\n", b"x = '\xff'\n"):
        (tmp_path / "x.py").write_bytes(raw)
        with pytest.raises(ConfigError, match="cannot be decoded"):
            schema_file.read_schema(tmp_path / "x.py")
