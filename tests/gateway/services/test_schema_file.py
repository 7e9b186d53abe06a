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

SEED = (ROOT / "tests/golden/schemas/seed.yml").read_text(encoding="utf-8")


def fault(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        schema_folder.load_file(path, {}, 0.0)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ".json:1:1: error: not JSON: Expecting value"),
        ("{", ".json:1:2: error: not JSON: Expecting property name"),
        ('{"meta": 1,\n\t"meta": 2}', "error: is not JSON: member 'meta' stands there twice"),
        ("[]", "error: must be a JSON object"),
        ("{}", "error: meta: is missing"),
        ('{"meta": {"serviceId": "x"},\n\t"schemainput": {"tpye": 1}}',
         ".json:2:18: error: schemainput.tpye: keyword 'tpye' is not supported"),
    ],
)  # fmt: skip
def test_json(tmp_path: Path, text: str, words: str) -> None:
    assert words in fault(tmp_path / "schema_x.json", text)


def test_a_minified_file_is_shown_in_part_and_its_faults_are_counted(tmp_path: Path) -> None:
    tree = {f"abcde{n}": 1 for n in range(2000)}
    said = fault(tmp_path / "x.json", json.dumps({"meta": {"serviceId": "x"}, "schemainput": tree}))
    assert len(said) < 50_000
    assert said.endswith("and 1950 more")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("creationTimestamp: null", "creationTimestamp: 2026-11-27", ""),
        ("group: gas", "group: .nan", "cannot be written as JSON"),
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
def test_yaml(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in SEED
    head, _, tail = SEED.rpartition(old)
    path = tmp_path / "x.yml"
    if words:
        assert words in fault(path, head + new + tail)
    else:
        path.write_text(head + new + tail, encoding="utf-8")
        assert b"2026-11-27" in schema_file.read_schema(path)


def test_what_is_no_text_or_too_large(tmp_path: Path) -> None:
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
def test_python_that_declares_what_no_field_takes(tmp_path: Path, line: str) -> None:
    head = "class A(Wrapper):\n    service = 'a'\n    out = Output('text')\n    "
    assert "error: " in fault(tmp_path / "x.py", head + line + "\n")


ODD = st.sampled_from(
    [None, 0, -1, 1.5, 10**400, True, "", "x", [], [1], {}, {"a": 1}, [[]], {"": {}}]
)
GOOD: dict[str, Any] = json.loads((ROOT / "tests/golden/service.json").read_text(encoding="utf-8"))
YAML: dict[str, Any] = yaml.safe_load(SEED)


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    return [path, *(place for key, value in members for place in places(value, (*path, key)))]


def changed(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    told = copy.deepcopy(tree)
    at = told
    for key in path[:-1]:
        at = at[key]
    if not path:
        return value
    at[path[-1]] = value
    return told


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.sampled_from(places(GOOD)), ODD)
def test_a_document_with_anything_anywhere_is_read_or_refused(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps(changed(GOOD, path, value)))
    with contextlib.suppress(ConfigError):
        schema_folder.load_file(file, {}, 0.0)


@settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.sampled_from(places(YAML)), ODD)
def test_a_declaration_with_anything_anywhere_is_read_or_refused(
    tmp_path: Path, path: tuple[Any, ...], value: Any
) -> None:
    file = tmp_path / "x.yml"
    file.write_text(yaml.safe_dump(changed(YAML, path, value)))
    with contextlib.suppress(ConfigError):
        schema_folder.load_file(file, {}, 0.0)


def bad_files() -> list[Any]:
    golden = (ROOT / "tests/golden/schemas/bad.txt").read_text(encoding="utf-8")
    found = []
    for part in golden.split("\n---- ")[1:]:
        name, _, rest = part.partition("\n")
        text, _, message = rest.rpartition(">>> ")
        found.append(pytest.param(name, text, message.rstrip("\n"), id=name))
    return found


def test_there_are_forty_of_them() -> None:
    assert len(bad_files()) >= 40


@pytest.mark.parametrize(("name", "text", "message"), bad_files())
def test_a_bad_file_has_its_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        schema_folder.load_file(Path(name), {}, 0.0)
    assert str(caught.value).splitlines()[0] == message
    assert len(caught.value.diagnostics) == 1


def test_two_files_of_one_service_are_told(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"meta": {"serviceId": "x"}, "schemainput": {}}')
    with pytest.raises(
        schema_folder.SchemaFolderError, match=r"b\.json: error: service 'x' is in .*a\.json too"
    ):
        schema_folder.load_folder(tmp_path, {}, 0.0)
