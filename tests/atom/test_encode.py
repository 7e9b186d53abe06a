"""JSON to frames: every golden file, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from atom.encode import Encoder
from schemas.model import document
from schemas.model.errors import BAD_REQUEST, AseError
from schemas.wire import LoaderInput

GOLDEN = Path(__file__).parent.parent / "golden"
SERVICE = document.service_from_document(json.loads((GOLDEN / "service.json").read_text()))
FILES = sorted((GOLDEN / "encode").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    told, expected = map(json.loads, path.read_text(encoding="utf-8").split("----------\n"))
    wire = Encoder(SERVICE).encode(told, {"sid": "5id"})
    shown = json_format.MessageToDict(
        LoaderInput.FromString(wire), preserving_proto_field_name=True
    )
    assert shown == expected


def test_there_are_files() -> None:
    assert len(FILES) >= 17


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"song": {}}, "$.payload.song: is not known here"),
        ({"doc": None}, "$.payload.doc: must be of type object"),
        ({"doc": "aGk="}, "$.payload.doc: must be of type object"),
        ({"doc": {"text": None}}, "$.payload.doc.text: must be a base64 string"),
        ({"doc": {"text": 7}}, "$.payload.doc.text: must be a base64 string"),
        ({"doc": {"text": "YW@Jj"}}, "$.payload.doc.text: must be a base64 string"),
        ({"doc": {"text": "YWJj=ZGVm="}}, "$.payload.doc.text: must be"),
        ({"doc": {"text": "YQ==YQ=="}}, "$.payload.doc.text: must be"),
        ({"doc": {"text": "YWJ="}}, "$.payload.doc.text: must be canonical"),
        ({"doc": {"text": "YR=="}}, "$.payload.doc.text: must be canonical"),
        ({"doc": {"text": "===="}}, "$.payload.doc.text: must be"),
        ({"doc": {"text": "YWI"}}, "$.payload.doc.text: must be"),
        ({"doc": {"text": " YWI="}}, "$.payload.doc.text: must be a base64 string"),
    ],
    ids=str,
)
def test_what_cannot_be_a_frame_is_refused(payload: dict[str, Any], words: str) -> None:
    with pytest.raises(AseError) as caught:
        Encoder(SERVICE).encode({"payload": payload}, {})
    assert caught.value.spec is BAD_REQUEST
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"parameter": "text"}, "$.parameter: must be of type object"),
        ({"parameter": {"one": "text"}}, "$.parameter.one: must be of type object"),
        ({"parameter": {"three": {}}}, "$.parameter.three: is not known here"),
        ({"header": [1]}, "$.header: must be of type object"),
        ({"payload": [1]}, "$.payload: must be of type object"),
    ],
    ids=str,
)
def test_an_open_schema_lets_nothing_odd_through(body: dict[str, Any], words: str) -> None:
    with pytest.raises(AseError, match=re.escape(words)):
        Encoder(SERVICE).encode(body, {})


@given(st.binary())
def test_any_bytes_arrive_as_they_were(data: bytes) -> None:
    import base64

    told = {"payload": {"blob": {"other": base64.b64encode(data).decode()}}}
    frame = LoaderInput.FromString(Encoder(SERVICE).encode(told, {}))
    assert frame.pl[0].data == data


@given(st.text(alphabet="AQYWJg=+/", max_size=12))
def test_exactly_the_canonical_text_is_taken(text: str) -> None:
    import base64

    try:
        canonical = base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except ValueError:
        canonical = False
    try:
        Encoder(SERVICE).encode({"payload": {"blob": {"other": text}}}, {})
    except AseError:
        assert not canonical
    else:
        assert canonical
