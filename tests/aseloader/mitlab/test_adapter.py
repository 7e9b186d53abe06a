"""Which modules are inference templates, and what their answers become."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aseloader.loading import LoadError, load
from aseloader.mitlab.adapter import TemplateWrapper
from aseloader.wrapper import Context

MODEL = """\
class Model:
    def __init__(self, path):
        pass

    def inference(self, value):
        return value
"""
AIGES = """\
from aiges.core.types import *
from aiges.sdk import WrapperBase, StringParamField, StringBodyField
from aiges.dto import Response, ResponseData

"""


def write(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_module_with_a_model_is_a_template(tmp_path: Path) -> None:
    wrapper = load(write(tmp_path, "template_a.py", MODEL))
    assert issubclass(wrapper, TemplateWrapper)


def test_wrapper_of_aiges_with_a_model_of_its_own_is_none(tmp_path: Path) -> None:
    text = (
        AIGES
        + MODEL
        + (
            "class UserRequest(object):\n"
            "    text = StringBodyField(key='text', value=b'x')\n"
            "class UserResponse(object):\n"
            "    result = StringBodyField(key='result')\n"
            "class Wrapper(WrapperBase):\n"
            "    serviceId = 'words'\n"
            "    version = '1.0'\n"
            "    requestCls = UserRequest()\n"
            "    responseCls = UserResponse()\n"
            "    def wrapperInit(self, config):\n"
            "        return 0\n"
            "    def wrapperOnceExec(self, params, reqData):\n"
            "        return Response()\n"
            "    def wrapperFini(self):\n"
            "        return 0\n"
        )
    )
    wrapper = load(write(tmp_path, "aiges_with_model.py", text))
    assert not issubclass(wrapper, TemplateWrapper)
    assert wrapper.service == "words"


def test_model_of_another_module_makes_no_template(tmp_path: Path) -> None:
    write(tmp_path, "model_of_ours.py", MODEL)
    file = write(tmp_path, "script_b.py", "from model_of_ours import Model\n")
    with pytest.raises(LoadError, match="there is: none"):
        load(file)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": np.arange(2)}, {"a": np.arange(2)}),
        (np.arange(2), [0, 1]),
        ([1.5, None], [1.5, None]),
        ({1, 2}, {1, 2}),
        (float("nan"), "nan"),
        (object, "<class 'object'>"),
    ],
)
def test_answers_are_json_as_far_as_they_can_be(tmp_path: Path, value: Any, expected: Any) -> None:
    wrapper = load(write(tmp_path, "template_c.py", MODEL))()
    wrapper.init({})
    answer = wrapper.once({}, {"value": value}, Context.__new__(Context))
    np.testing.assert_equal(answer, {"status": "success", "value": expected})


def test_value_that_contains_itself_is_its_text(tmp_path: Path) -> None:
    wrapper = load(write(tmp_path, "template_d.py", MODEL))()
    wrapper.init({})
    endless: list[Any] = []
    endless.append(endless)
    answer: Any = wrapper.once({}, {"value": endless}, Context.__new__(Context))
    assert answer["value"] == "[[...]]"
