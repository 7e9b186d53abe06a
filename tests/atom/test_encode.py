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
def test_encode_matches_golden_file(path: Path) -> None:
    envelope, expected = map(json.loads, path.read_text(encoding="utf-8").split("----------\n"))
    wire = Encoder(SERVICE).encode(envelope, {"sid": "5id"})
    decoded = json_format.MessageToDict(
        LoaderInput.FromString(wire), preserving_proto_field_name=True
    )
    assert decoded == expected


def test_golden_files_exist() -> None:
    assert len(FILES) >= 17


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"song": {}}, "$.payload.song: is not known here"),
        ({"doc": None}, "$.payload.doc: must be of type object"),
        ({"doc": "aGk="}, "$.payload.doc: must be of type object"),
        ({"doc": {"text": None}}, "$.payload.doc.text: must be a base64 string"),
        ({"doc": {"text": 7}}, "$.payload.doc.text: must be a base64 string"),
        (
            {"doc": {"text": "YW@Jj"}},
            "$.payload.doc.text: must be a base64 string: character 3 is none of it",
        ),
        (
            {"doc": {"text": "YW_j"}},
            "$.payload.doc.text: must be a base64 string: character 3 is none of it (base64url",
        ),
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
def test_invalid_payload_is_rejected(payload: dict[str, Any], message: str) -> None:
    with pytest.raises(AseError) as caught:
        Encoder(SERVICE).encode({"payload": payload}, {})
    assert caught.value.spec is BAD_REQUEST
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"parameter": "text"}, "$.parameter: must be of type object"),
        ({"parameter": {"one": "text"}}, "$.parameter.one: must be of type object"),
        ({"parameter": {"three": {}}}, "$.parameter.three: is not known here"),
        ({"header": [1]}, "$.header: must be of type object"),
        ({"payload": [1]}, "$.payload: must be of type object"),
    ],
    ids=str,
)
def test_malformed_sections_are_rejected_without_a_schema(
    body: dict[str, Any], message: str
) -> None:
    with pytest.raises(AseError, match=re.escape(message)):
        Encoder(SERVICE).encode(body, {})


@given(st.binary())
def test_payload_bytes_round_trip(data: bytes) -> None:
    import base64

    envelope = {"payload": {"blob": {"other": base64.b64encode(data).decode()}}}
    frame = LoaderInput.FromString(Encoder(SERVICE).encode(envelope, {}))
    assert frame.pl[0].data == data


@given(st.text(alphabet="AQYWJg=+/", max_size=12))
def test_only_canonical_base64_is_accepted(text: str) -> None:
    import base64

    try:
        is_canonical = base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except ValueError:
        is_canonical = False
    try:
        Encoder(SERVICE).encode({"payload": {"blob": {"other": text}}}, {})
    except AseError:
        assert not is_canonical
    else:
        assert is_canonical
