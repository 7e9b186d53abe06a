"""Any text makes a docstring, and the docstring has the text."""

import ast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.output.python_text import docstring_body


@given(st.text() | st.text(alphabet="\\\"'\n\r\t x{}#"))
@example('ends with a quote"')
@example('"""')
@example('""""')
@example('\\"')
@example("a \\ b\\")
@example("\ud800\x00\x1b")
def test_docstring_has_the_text(text: str) -> None:
    tree = ast.parse(f'def f():\n    """{docstring_body(text)}"""\n')
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    assert ast.get_docstring(function, clean=False) == text


@pytest.mark.parametrize("text", ["Recognise text.", "Erkennt Wörter 识别", 'a "word" in it.'])
def test_plain_texts_are_unchanged(text: str) -> None:
    assert docstring_body(text) == text
