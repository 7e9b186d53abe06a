"""The wrapper in C of the examples, compiled here and called by its interface."""

import shutil
import subprocess
from pathlib import Path

import pytest

from aseloader import declare
from aseloader.aiges.plugin import PluginError, plugin_wrapper
from aseloader.testing import LoaderError, LoaderFor
from aseloader.wrapper import Data
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType
from schemas.sources.declare import Declaration, PayloadStream, declaration_to_document
from tests.harness import ROOT, Gateway, Loader, Process, make_envelope

pytestmark = pytest.mark.peer("cc")
EXAMPLE = ROOT / "examples/c"
SCHEMA = (EXAMPLE / "schema.json").read_bytes()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "libupper.so"
    compiler = shutil.which("cc")
    assert compiler is not None
    options = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", str(path)]
    subprocess.run([compiler, *options, str(EXAMPLE / "wrapper.c")], check=True)
    return path


def streaming_schema() -> bytes:
    api = Declaration(
        id="c-upper",
        streaming=True,
        inputs=(PayloadStream("text", DataType.TEXT),),
        outputs=(PayloadStream("result", DataType.TEXT),),
    )
    return document.canonical(declaration_to_document(api))


def test_schema_of_the_example_is_that_of_the_plugin(library: Path) -> None:
    wrapper = plugin_wrapper(library, SCHEMA)
    assert declare.schema(wrapper) == document.canonical(document.parse(SCHEMA))
    assert wrapper.service == "c-upper"


def test_single_requests(library: Path) -> None:
    with LoaderFor(plugin_wrapper(library, SCHEMA)()) as call:
        for text in (b"hello", b"a" * 1_000_000, b"\0\xff"):
            assert call({}, {"text": text})["result"].data == text.upper()
        assert (
            call({"crash": False}, {"text": Data(b"x", {"encoding": "utf8"})})["result"].data
            == b"X"
        )


def test_sessions(library: Path) -> None:
    with LoaderFor(plugin_wrapper(library, streaming_schema())()) as call:
        frames = [{"text": b"one"}, {"text": b"two"}, {"text": b"three"}]
        results = [r["result"].data for r in call.session({}, frames)]
        assert results == [b"ONE", b"TWO", b"THREE"]
        assert [r["result"].data for r in call.session({}, [{"text": b"x"}])] == [b"X"]
        assert call({}, {"text": b"once"})["result"].data == b"ONCE"


def test_codes_carry_the_words_of_the_library(library: Path) -> None:
    schema = document.parse(SCHEMA)
    text = schema["schemainput"]["properties"]["payload"]["properties"]["text"]
    text["properties"]["text"]["minLength"] = 0
    with (
        LoaderFor(plugin_wrapper(library, document.canonical(schema))()) as call,
        pytest.raises(LoaderError, match="the wrapper returned 10013: the text is empty") as caught,
    ):
        call({}, {"text": b""})
    assert caught.value.code == 10013
    with (
        pytest.raises(RuntimeError, match="wrapperInit returned 10013: the text is empty"),
        LoaderFor(plugin_wrapper(library, SCHEMA)(), {"code": "10013"}),
    ):
        pass


def test_a_library_that_cannot_be_loaded_is_an_error(tmp_path: Path, library: Path) -> None:
    with pytest.raises(PluginError, match=r"libnone\.so"):
        plugin_wrapper(tmp_path / "libnone.so", SCHEMA)
    with pytest.raises(DocumentError):
        plugin_wrapper(library, b"{}")


def test_a_crash_of_the_plugin_is_a_restart_of_its_loader_alone(library: Path) -> None:
    crash = make_envelope("c-upper", crash=True)
    plugin = (f"--plugin={library}", "--schema", str(EXAMPLE / "schema.json"))
    with Gateway() as gateway, Loader(gateway.lb, *plugin) as crashing:
        gateway.wait_until_up(crashing)
        assert gateway.post(crash, "c-upper").status_code == 502
        assert crashing.wait_for_exit() == -6
        with Loader(gateway.lb, *plugin) as restarted:
            gateway.wait_until_up(restarted)
            assert gateway.post(make_envelope("c-upper"), "c-upper").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give FILE:Class, or --plugin LIBRARY --schema FILE"),
        (("--plugin", "x.so"), "--plugin needs --schema FILE"),
        (("--plugin", "x.so", "--schema", str(EXAMPLE / "schema.json")), "x.so: "),
    ],
    ids=range(3),
)
def test_wrong_arguments_name_the_cure(arguments: tuple[str, ...], message: str) -> None:
    with Process("loader", "run", *arguments) as process:
        assert process.wait_for_exit() != 0
        assert any(message in line for line in process.text)
