"""The wrapper in C of the examples, compiled here and called by its interface."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from asectl.logs import JsonFormatter
from aseloader import declare
from aseloader.aiges.plugin import PluginError, plugin_wrapper
from aseloader.testing import LoaderError, LoaderFor
from aseloader.wrapper import Context, Data
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.errors import AseError
from schemas.model.service import DataType
from schemas.sources.declare import Declaration, PayloadStream, declaration_to_document
from tests.harness import ROOT, Gateway, Loader, Process, make_envelope

pytestmark = pytest.mark.peer("cc")
EXAMPLE = ROOT / "examples/c"
SCHEMA = (EXAMPLE / "schema.json").read_bytes()


def build(source: Path, path: Path) -> Path:
    compiler = shutil.which("cc")
    assert compiler is not None
    options = ["-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror", "-o", str(path)]
    subprocess.run([compiler, *options, str(source)], check=True)
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(EXAMPLE / "wrapper.c", tmp_path_factory.mktemp("plugin") / "libupper.so")


@pytest.fixture(scope="module")
def callback_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).with_name("callbacks.c")
    return build(source, tmp_path_factory.mktemp("plugin") / "libcallbacks.so")


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


def test_results_by_callback(callback_library: Path) -> None:
    """Single requests by `wrapperExecAsync`, sessions without `wrapperRead`."""
    with LoaderFor(plugin_wrapper(callback_library, SCHEMA)()) as call:
        assert call({}, {"text": b"hello"})["result"].data == b"hello"
        with pytest.raises(LoaderError, match="the wrapper returned 7: refused by callback"):
            call({}, {"text": b"fail"})
    with LoaderFor(plugin_wrapper(callback_library, streaming_schema())()) as call:
        frames = [{"text": b"one"}, {"text": b"two"}, {"text": b"three"}]
        results = [r["result"].data for r in call.session({}, frames)]
        assert results == [b"one", b"two", b"three"]
        with pytest.raises(LoaderError, match="refused by callback"):
            list(call.session({}, [{"text": b"one"}, {"text": b"fail"}]))


def test_library_that_does_not_call_back_ends_at_the_deadline(callback_library: Path) -> None:
    wrapper = plugin_wrapper(callback_library, SCHEMA)()
    wrapper.init({})
    context = Context({"sid": "s"}, deadline=time.monotonic() + 0.05)
    with pytest.raises(AseError, match="did not call back in time"):
        wrapper.once({}, {"text": Data(b"silent")}, context)  # type: ignore[attr-defined]
    wrapper.fini()


def test_what_a_library_meters_and_traces(
    callback_library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {"service": "c-upper", "key": "bytes"}
    with (
        caplog.at_level("INFO", "ase.loader"),
        LoaderFor(plugin_wrapper(callback_library, SCHEMA)()) as call,
    ):
        call({}, {"text": b"hello"})
        call({}, {"text": b"you"})
        assert REGISTRY.get_sample_value("ase_loader_metered_total", labels) == 8
    assert REGISTRY.get_sample_value("ase_loader_metered_total", labels) is None
    traces = [record for record in caplog.records if record.message == "plugin trace"]
    assert [(t.key, t.value) for t in traces] == [("job", "started\nforged")] * 2  # type: ignore[attr-defined]
    assert all("\n" not in JsonFormatter().format(trace) for trace in traces)


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
