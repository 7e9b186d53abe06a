"""Names of plain members, and where an envelope's path is among them."""

import pytest

from aseloader import declare
from schemas.model import document
from schemas.model.plain import MemberKind, PlainApi
from schemas.model.service import DataType, Nick, Service
from tests.wrappers.forms import Forms


def api() -> PlainApi:
    return PlainApi(document.service_from_document(document.parse(declare.schema(Forms))))


def test_inputs_come_first_and_options_of_outputs_last() -> None:
    members = api().members
    kinds = [member.kind for member in members.values()]
    counts = {MemberKind.INPUT: 3, MemberKind.PARAMETER: 5, MemberKind.OUTPUT_OPTIONS: 3}
    assert kinds == [kind for kind, count in counts.items() for _ in range(count)]
    assert members["picture"].encodings == ("png", "jpg")
    assert members["data"].is_json
    assert [member.name for member in api().inputs()] == ["data", "picture", "text"]


def test_outputs() -> None:
    outputs = api().outputs
    assert outputs["thumbnail"].data_type is DataType.IMAGE
    assert outputs["thumbnail"].encodings == ("png", "jpg")
    assert [name for name, output in outputs.items() if output.is_json] == ["facts"]


def test_equal_names_are_qualified_by_their_nick() -> None:
    nicks = (
        Nick("one", {"text": DataType.TEXT}, {"text": DataType.TEXT}),
        Nick("two", {}, {"sound": DataType.AUDIO}),
    )
    parameter = {
        "properties": {
            "one": {"properties": {"text": {"type": "object"}, "speed": {"type": "integer"}}},
            "two": {"properties": {"speed": {"type": "integer"}, "pitch": {"type": "integer"}}},
        }
    }
    service = Service("s", "v1", "ase", nicks, {"properties": {"parameter": parameter}}, {})
    members = PlainApi(service).members
    assert {name: member.path for name, member in members.items()} == {
        "text": ("payload", "text"),
        "one.speed": ("parameter", "one", "speed"),
        "two.speed": ("parameter", "two", "speed"),
        "pitch": ("parameter", "two", "pitch"),
        "one.text": ("parameter", "one", "text"),
        "sound": ("parameter", "two", "sound"),
    }


def test_required_members_of_the_header_are_members() -> None:
    header = {
        "required": ["app_id", "status", "uid"],
        "properties": {"app_id": {}, "status": {}, "uid": {"type": "string"}, "did": {}},
    }
    service = Service("s", "v1", "ase", (), {"properties": {"header": header}}, {})
    api = PlainApi(service)
    assert {name: member.path for name, member in api.members.items()} == {
        "header.uid": ("header", "uid")
    }
    assert api.locate("$.header.uid") == ("header.uid", "/header.uid")


@pytest.mark.parametrize(
    ("path", "name", "pointer"),
    [
        ("$.payload.text.text", "text", "/text"),
        ("$.payload.text", "text", "/text"),
        ("$.payload.picture.encoding", "picture.encoding", "/picture/encoding"),
        ("$.parameter.forms.width", "width", "/width"),
        ("$.parameter.forms.thumbnail.encoding", "thumbnail.encoding", "/thumbnail/encoding"),
        ("$.payload.text['a/b'][3].c", "text.a/b.3.c", "/text/a~1b/3/c"),
        ("$.payload.textual", "", ""),
        ("$.header.app_id", "", ""),
        ("$", "", ""),
    ],
)
def test_location_of_a_path(path: str, name: str, pointer: str) -> None:
    assert api().locate(path) == (name, pointer)
