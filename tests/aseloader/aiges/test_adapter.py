"""Wrappers of the package aiges, loaded from their files without an edit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aseloader import declare
from aseloader.aiges.stand_in import Results
from aseloader.loading import LoadError, load
from aseloader.testing import LoaderError, LoaderFor
from schemas.model.document import canonical
from schemas.model.service import DataType
from schemas.sources.declare import Declaration, Param, PayloadStream, declaration_to_document
from tests.harness import ROOT

ONCE = str(ROOT / "tests/wrappers/aiges_once.py")
STREAM = str(ROOT / "tests/wrappers/aiges_stream.py")


def test_declarations_are_those_of_the_file() -> None:
    api = declare.declaration(load(ONCE))
    assert (api.id, api.version, api.streaming) == ("aiges-once", "v1", False)
    assert [(s.name, s.data_type, s.required) for s in api.inputs] == [
        ("text", DataType.TEXT, True),
        ("image", DataType.IMAGE, True),
    ]
    assert [s.name for s in api.outputs] == ["text", "facts"], "an input has the same name"
    assert [p.name for p in api.params] == ["mode", "times"]


@pytest.fixture
def once() -> Iterator[LoaderFor]:
    with LoaderFor(load(ONCE)(), {"prefix": ">"}) as call:
        yield call


def test_once(once: LoaderFor) -> None:
    outputs = once({"times": 3}, {"text": b"ab", "image": b"\0\0"}, {"sid": "s" * 32})
    assert outputs["text"].data == b">ababab"
    assert json.loads(outputs["facts"].data) == {"image": 2, "tag": 32}


def test_default_of_a_parameter_and_its_bounds_hold(once: LoaderFor) -> None:
    inputs = {"text": b"ab", "image": b"\0"}
    assert once({}, inputs)["text"].data in (b">ab", b">abab")
    with pytest.raises(LoaderError, match="10163"):
        once({"times": 99}, inputs)


@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [("fail", 10013, "the wrapper returned 10013: reqData is empty"), ("old", -1, "returned -1")],
)
def test_codes_of_the_wrapper_reach_the_caller(
    once: LoaderFor, mode: str, code: int, message: str
) -> None:
    with pytest.raises(LoaderError, match=message) as caught:
        once({"mode": mode}, {"text": b"a", "image": b"\0"})
    assert caught.value.code == code


def test_failed_init_names_the_code() -> None:
    with (
        pytest.raises(RuntimeError, match="wrapperInit returned 10013: reqData is empty"),
        LoaderFor(load(ONCE)(), {"code": "10013"}),
    ):
        pass


def test_results_of_a_session_come_by_callback() -> None:
    with LoaderFor(load(STREAM)()) as call:
        frames = [{"audio": b"12"}, {"audio": b"3456"}, {"audio": b"7"}]
        results = list(call.session({}, frames, {"sid": "s" * 32}))
        assert [r["text"].data for r in results] == [b"2 0", b"4 1", b"1 2"]
        again = list(call.session({}, [{"audio": b"1"}], {"sid": "t" * 32}))
        assert [r["text"].data for r in again] == [b"1 2"]


def test_a_streaming_wrapper_may_serve_single_requests_too() -> None:
    with LoaderFor(load(STREAM)()) as call:
        with pytest.raises(LoaderError, match="10106: wrapperOnceExec must return a Response"):
            call({}, {"audio": b"1"})
        call._wrapper._wrapped.wrapperOnceExec = lambda params, request: echo(request)  # type: ignore[attr-defined]
        assert call({}, {"audio": b"12"})["text"].data == b"12 3"


def echo(request: Any) -> Any:
    from aiges.dto import Response, ResponseData

    result, response = ResponseData(), Response()
    result.key = "text"
    result.data = f"{request.list[0].len * 6} {request.list[0].status}"
    response.list = [result]
    return response


def test_sessions_beyond_the_handles_are_refused() -> None:
    with LoaderFor(load(STREAM)()) as call:
        wrapped = call._wrapper._wrapped  # type: ignore[attr-defined]
        assert {wrapped.session.get_idle_handle() for _ in range(2)} == {
            "Process-0-Thread-0",
            "Process-0-Thread-1",
        }
        with pytest.raises(LoaderError, match="the wrapper returned -1"):
            list(call.session({}, [{"audio": b"1"}], {"sid": "s" * 32}))


def test_results_go_to_their_session_alone() -> None:
    results = Results()
    first, second = results.open("a"), results.open("b")
    results.put("0.5", "a")
    results.put("0.16", "handle", "b")
    results.put("nobody", "c")
    assert (first.get(), second.get()) == ("0.5", "0.16")
    results.close("a")
    results.put("late", "a")
    assert first.empty()


def test_declarations_that_cannot_be_read_are_an_error_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "wrapper.py"
    file.write_text(
        "from aiges.sdk import *\nimport os\n\n\nclass Wrapper(WrapperBase):\n"
        "    serviceId = os.environ.get('NAME', 'x')\n"
        "    input1 = StringBodyField(key='text')\n    accept1 = StringBodyField(key='out')\n"
    )
    with pytest.raises(LoadError, match=r"wrapper.py: line 6: cannot be read without running"):
        load(str(file))


FORMS = """
from aiges.callback import callback
from aiges.core.types import Types, Status, DataText
from aiges.dto import Response, ResponseData, SessionCreateResponse, init_rq
from aiges.sdk import WrapperBase, StringBodyField


def answer(text):
    result, response = ResponseData(), Response()
    result.key, result.data, result.len, result.status = "out", text, len(text), 2
    response.list = [result]
    return response


class Wrapper(WrapperBase):
    serviceId = "forms"
    text = StringBodyField(key=b"text")
    accept1 = StringBodyField(key=b"out")

    def wrapperInit(self, config):
        assert Types[DataText] == "text" and Status[3] == "once" and init_rq().empty()
        return 0

    def wrapperOnceExec(self, params, reqData):
        return answer(params["sid"].encode() + reqData.list[0].get_data())
"""
SESSIONS = """
    def wrapperCreate(self, ARGUMENTS):
        created = SessionCreateResponse()
        if params.get("mode") == "fail":
            created.error_code = 10013
            return created
        created.handle, self.tag = "handle-1", TAG
        return created

    def wrapperWrite(self, handle, req, sid):
        callback(answer(req.list[0].get_data()), self.tag)
        return 0
"""


def test_forms_of_public_wrappers(tmp_path: Path) -> None:
    """Names as bytes, `get_data`, the sid among the parameters, names of 0.16."""
    file = tmp_path / "wrapper.py"
    file.write_text(FORMS)
    with LoaderFor(load(str(file))()) as call:
        assert call({}, {"text": b"!"}, {"sid": "s" * 32})["out"].data == b"s" * 32 + b"!"


@pytest.mark.parametrize(
    ("arguments", "tag"),
    [
        ("params, sid, userTag=''", "userTag"),
        ("params, sid, persId=0, usrTag=''", "usrTag"),
        ("params, sid", "sid"),
    ],
)
def test_sessions_of_public_wrappers(tmp_path: Path, arguments: str, tag: str) -> None:
    """No declarations, a schema beside; both orders of the arguments; no `wrapperDestroy`."""
    file = tmp_path / "wrapper.py"
    source = FORMS.replace('    text = StringBodyField(key=b"text")\n', "")
    source = source.replace('    accept1 = StringBodyField(key=b"out")\n', "")
    file.write_text(source + SESSIONS.replace("ARGUMENTS", arguments).replace("TAG", tag))
    api = Declaration(
        id="forms",
        streaming=True,
        params=(Param("mode", {"type": "string"}),),
        inputs=(PayloadStream("text", DataType.TEXT),),
        outputs=(PayloadStream("out", DataType.TEXT),),
    )
    (tmp_path / "schema_forms.json").write_bytes(canonical(declaration_to_document(api)))
    with LoaderFor(load(str(file))()) as call:
        results = list(call.session({}, [{"text": b"a"}], {"sid": "s" * 32}))
        assert [result["out"].data for result in results] == [b"a"]
        with pytest.raises(LoaderError, match="the wrapper returned 10013"):
            list(call.session({"mode": "fail"}, [{"text": b"a"}], {"sid": "t" * 32}))


def test_session_ends_with_its_last_result_whenever_that_came(tmp_path: Path) -> None:
    """Not 60 s later; frames after it are still written."""
    file = tmp_path / "wrapper.py"
    source = SESSIONS.replace("ARGUMENTS", "params, sid").replace("TAG", "sid")
    source = source.replace("        callback(", "        if req.list[0].data == b'a': callback(")
    file.write_text(FORMS + source)
    api = Declaration(
        id="forms",
        streaming=True,
        inputs=(PayloadStream("text", DataType.TEXT),),
        outputs=(PayloadStream("out", DataType.TEXT),),
    )
    (tmp_path / "schema_forms.json").write_bytes(canonical(declaration_to_document(api)))
    with LoaderFor(load(str(file))()) as call:
        frames = [{"text": b"a"}, {"text": b"b"}, {"text": b"c"}]
        results = list(call.session({}, frames, {"sid": "s" * 32}))
        assert [result["out"].data for result in results] == [b"a"]


def test_class_of_the_first_form(tmp_path: Path) -> None:
    file = tmp_path / "wrapper.py"
    source = FORMS.partition("    def wrapperOnceExec")[0]
    file.write_text(
        source
        + """
    def wrapperOnceExec(cls, usrTag, params, reqData, respData, psrIds, psrCnt) -> int:
        data = reqData[0]["data"]
        respData.append({"key": "out", "data": data, "len": len(data), "type": 0, "status": 3})
        return 0
"""
    )
    with LoaderFor(load(str(file))()) as call:
        assert call({}, {"text": b"first"})["out"].data == b"first"
