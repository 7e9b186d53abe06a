"""A wrapper of the first form: functions of a module, and the schema beside it."""

from pathlib import Path

import pytest

from aseloader import declare
from aseloader.loading import LoadError, load
from aseloader.testing import LoaderError, LoaderFor
from schemas.model import document
from schemas.model.service import DataType
from schemas.sources.declare import Declaration, Param, PayloadStream, declaration_to_document

SOURCE = """
import sys

sessions = {}


def wrapperInit(config: {}) -> int:
    return int(config.get("code", 0))


def wrapperFini() -> int:
    return 0


def wrapperError(ret: int) -> str:
    return "no words" if ret == 100 else ""


def wrapperOnceExec(usrTag: str, params: {}, reqData: [], respData: [], psrIds: [], psrCnt: int):
    text = reqData[0]["data"]
    if text == b"bad":
        return 100
    result = text.upper() + params.get("mark", "").encode()
    respData.append({"key": "result", "data": result, "len": len(result), "status": 3, "type": 0})
    return 0


def wrapperCreate(usrTag: str, params: {}, psrIds: [], psrCnt: int) -> str:
    sessions[usrTag] = []
    return usrTag


def wrapperWrite(handle: str, datas: []) -> int:
    for data in datas:
        item = {"key": "result", "data": data["data"].upper(), "status": data["status"]}
        sessions[handle].append(item)
    return 0


def wrapperRead(handle: str) -> []:
    items, sessions[handle] = sessions[handle], []
    return items


def wrapperDestroy(handle: str) -> int:
    del sessions[handle]
    return 0
"""


def write_wrapper(folder: Path, *, streaming: bool = False) -> tuple[str, bytes]:
    api = Declaration(
        id="old-upper",
        streaming=streaming,
        params=(Param("mark", {"type": "string", "maxLength": 1}),),
        inputs=(PayloadStream("text", DataType.TEXT),),
        outputs=(PayloadStream("result", DataType.TEXT),),
    )
    schema = document.canonical(declaration_to_document(api))
    (folder / "wrapper.py").write_text(SOURCE, encoding="utf-8")
    (folder / "schema_old-upper.json").write_bytes(schema)
    return str(folder / "wrapper.py"), schema


def test_single_requests(tmp_path: Path) -> None:
    path, schema = write_wrapper(tmp_path)
    wrapper_class = load(path)
    assert declare.schema(wrapper_class) == schema
    with LoaderFor(wrapper_class()) as call:
        assert call({"mark": "!"}, {"text": b"hello"})["result"].data == b"HELLO!"
        assert call({}, {"text": b"hello"})["result"].data == b"HELLO"
        with pytest.raises(LoaderError, match="the wrapper returned 100: no words") as caught:
            call({}, {"text": b"bad"})
    assert caught.value.code == 100


def test_sessions(tmp_path: Path) -> None:
    path, _ = write_wrapper(tmp_path, streaming=True)
    with LoaderFor(load(path)()) as call:
        frames = [{"text": b"one"}, {"text": b"two"}]
        results = [r["result"].data for r in call.session({}, frames, {"sid": "s" * 32})]
    assert results == [b"ONE", b"TWO"]


def test_failed_init_names_the_code(tmp_path: Path) -> None:
    path, _ = write_wrapper(tmp_path)
    with (
        pytest.raises(RuntimeError, match="wrapperInit returned 100: no words"),
        LoaderFor(load(path)(), {"code": "100"}),
    ):
        pass


def test_a_missing_schema_is_an_error_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "wrapper.py").write_text(SOURCE, encoding="utf-8")
    with pytest.raises(LoadError, match=r"put its schema beside it as schema_NAME\.json"):
        load(str(tmp_path / "wrapper.py"))
