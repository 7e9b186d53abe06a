"""APIs found in Python sources that are never run: three styles, and what cannot be read."""

import inspect
from pathlib import Path

import pytest

import tests.wrappers.probe
from aseloader import declare as of_class
from schemas.model.service import DataType
from schemas.sources.declare import Param, PayloadStream
from schemas.sources.python_source import ScanError, declaration_from_source
from tests.wrappers.probe import Probe

SEED_SOURCE = (Path(__file__).parent.parent.parent / "golden/schemas/seed_api.py.txt").read_text(
    encoding="utf-8"
)

AIGES_SOURCE = '''
from aiges.sdk import WrapperBase, ImageBodyField, StringBodyField, StringParamField
from aiges.sdk import IntegerParamField, BooleanParamField, JsonBodyField
from aiges.dto import Response

class UserRequest(object):
    """Old style."""
    input1 = ImageBodyField(key="image", path="test_data/0.png")
    input2 = StringBodyField(key="hint", value=b"x")
    param1 = StringParamField(key="lang", minLength=2, maxLength=5, enums=["en", "zh"],
                              required=True)
    param2 = IntegerParamField(key="top", minimum=1, maximum=9, required=False)
    param3 = BooleanParamField(key="exact", default=True)

class UserResponse(object):
    accept1 = JsonBodyField(key="boxes")
    accept2 = StringBodyField(key="text")

class Wrapper(WrapperBase):
    """Finds text."""
    serviceId = "mmocr"
    version = "v1"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperOnceExec(self, params, reqData):
        raise SystemExit("never run")
'''


def test_static_declaration_equals_the_runtime_one() -> None:
    source = inspect.getsource(tests.wrappers.probe)
    assert declaration_from_source(source, "Probe") == of_class.declaration(Probe)


def test_seed_source() -> None:
    declaration = declaration_from_source(SEED_SOURCE)
    assert declaration.id == "api"
    assert declaration.params == (
        Param(
            "param1",
            {"type": "integer", "description": "user param1", "minimum": 10, "maximum": 11},
            True,
        ),
        Param("param2", {"type": "string", "description": "user param2"}, True),
        Param("param3", {"type": "string", "description": "user param3"}, False),
    )
    assert [out.name for out in declaration.outputs] == ["param1", "param2", "param3"]


def test_service_id_comes_from_the_wrapper_class() -> None:
    source = SEED_SOURCE + '\nclass Wrapper:\n    serviceId = "ocr"\n'
    assert declaration_from_source(source).id == "ocr"


def test_aiges_wrapper() -> None:
    declaration = declaration_from_source(AIGES_SOURCE)
    assert (declaration.id, declaration.version, declaration.description) == (
        "mmocr",
        "v1",
        "Finds text.",
    )
    assert declaration.inputs == (
        PayloadStream("image", DataType.IMAGE),
        PayloadStream("hint", DataType.TEXT),
    )
    assert declaration.outputs == (
        PayloadStream("boxes", DataType.TEXT, format="json"),
        PayloadStream("text", DataType.TEXT),
    )
    assert declaration.params == (
        Param("lang", {"type": "string", "enum": ["en", "zh"]}, True),
        Param("top", {"type": "integer", "minimum": 1, "maximum": 9}, False),
        Param("exact", {"type": "boolean", "default": True}, False),
    )


@pytest.mark.parametrize(
    ("field", "param"),
    [
        (
            'StringParamField("speaker", 0, 44)',
            Param("speaker", {"type": "string", "minLength": 0, "maxLength": 44}),
        ),
        (
            'StringParamField(key="text", required=True, description="what to say")',
            Param(
                "text",
                {
                    "type": "string", "minLength": 0, "maxLength": 1024,
                    "description": "what to say",
                },
                True,
            ),
        ),
        (
            'IntegerParamField("volume")',
            Param("volume", {"type": "integer", "minimum": 0, "maximum": 100}),
        ),
        (
            'NumberParamField("pitch", 1, required=True)',
            Param("pitch", {"type": "number", "minimum": 1, "maximum": 100}, True),
        ),
        (
            'NumberParamField("rate", 0, 9, [8, 16])',
            Param("rate", {"type": "number", "enum": [8, 16]}),
        ),
        (
            'BooleanParamField("exact", "as it is", True)',
            Param("exact", {"type": "boolean", "default": True, "description": "as it is"}),
        ),
    ],
)  # fmt: skip
def test_aiges_parameter_has_the_bounds_and_defaults_of_the_package(
    field: str, param: Param
) -> None:
    source = AIGES_SOURCE.replace(
        'param2 = IntegerParamField(key="top", minimum=1, maximum=9, required=False)',
        f"param2 = {field}",
    )
    assert declaration_from_source(source).params[1] == param


@pytest.mark.parametrize(
    ("methods", "streaming"),
    [
        ("def wrapperWrite(self, handle, req, sid):\n        self.queue.put(req)", True),
        ("def wrapperWrite(self, handle, req, sid):\n        'Not used.'\n        pass", False),
        ("def wrapperWrite(self, handle, req, sid):\n        return 0", False),
        ("def wrapperRead(self, handle, sid):\n        return self.queue.get()", False),
    ],
)
def test_aiges_wrapper_that_writes_frames_streams(methods: str, streaming: bool) -> None:
    assert declaration_from_source(f"{AIGES_SOURCE}\n    {methods}\n").streaming is streaming


def test_constants_of_a_wrapper_are_followed() -> None:
    """As most public wrappers are written."""
    source = AIGES_SOURCE.replace('"mmocr"', "task").replace('key="hint"', "key=Keys.HINT")
    constants = 'name = "ocr"\ntask = f"{name}-v{2}"\nclass Keys:\n    HINT = "hint"\n'
    declaration = declaration_from_source(constants + source)
    assert declaration.id == "ocr-v2"
    assert declaration.inputs[1].name == "hint"


WRAPPER_HEAD = (
    "from aseloader import *\nclass A(Wrapper):\n    service = 'a'\n    out = Output('text')\n"
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def f(:\n", "line 1: not Python: "),
        ("x = 1\n", "line 1: one class that declares an API is needed, not 0"),
        (WRAPPER_HEAD + "class B(A): pass\nclass C(Wrapper):\n    o = Output('text')\n", "not 2"),
        (
            WRAPPER_HEAD + "    n = Integer(maximum=LIMIT)\n",
            "line 5: cannot be read without running the file",
        ),
        (WRAPPER_HEAD + "    i = Input('json', type=X)\n", "line 5: a type cannot be read"),
        (WRAPPER_HEAD + "    n = Object(X)\n", "line 5: a type cannot be read"),
        (WRAPPER_HEAD + "    i = Input('imgae')\n", "line 5: 'imgae' is no kind of payload"),
        (WRAPPER_HEAD.replace("'a'", "'a b'"), "line 2: needs the id of its service"),
        (WRAPPER_HEAD.replace("'a'", "NAME"), "line 3: cannot be read without running the file"),
    ],
)
def test_unreadable_source_error_has_its_line(source: str, message: str) -> None:
    with pytest.raises(ScanError) as caught:
        declaration_from_source(source)
    assert message in str(caught.value)


def test_all_unreadable_values_are_reported() -> None:
    with pytest.raises(ScanError) as caught:
        declaration_from_source(
            WRAPPER_HEAD + "    n = Integer(maximum=A)\n    m = Integer(maximum=B)\n"
        )
    assert [finding.line for finding in caught.value.findings] == [5, 6]


def test_json_kind_is_text_of_json() -> None:
    fields = "    order = Input('json')\n    facts = Output('json')\n"
    declaration = declaration_from_source(WRAPPER_HEAD.replace("    out", "    out1") + fields)
    assert declaration.inputs[0].data_type.key == "text"
    assert declaration.inputs[0].value_schema == {}, "any JSON"
    assert [stream.format for stream in declaration.outputs] == ["", "json"]
