"""What a generated client has to know of a service."""

from dataclasses import dataclass
from typing import Any

from aseloader import Input, Integer, Output, Wrapper, declare
from schemas.model import document
from schemas.output import openapi
from schemas.output.client_api import ClientApi, ValueKind, client_api
from schemas.validation.request_validator import RequestValidator
from tests.wrappers.forms import Forms


@dataclass
class Box:
    """A box in a picture."""

    x: int
    label: str | None = None


class Boxes(Wrapper):
    """Finds boxes.

    In pictures.
    """

    service = "boxes"
    idempotent = True
    top = Integer(1, 9, required=True, doc="how many\nat most")
    picture = Input("image", encodings=("png",))
    near = Input("json", type=Box, required=False)
    boxes = Output("json", type=list[Box])

    def once(self, params: Any, inputs: Any, context: Any) -> Any:
        return {}


def api_of(wrapper: type[Wrapper]) -> ClientApi:
    service = document.service_from_document(document.parse(declare.schema(wrapper)))
    schema = openapi.to_standard_schema(RequestValidator(service.input).schema, service)
    return client_api(service, schema)


def test_members_and_outputs() -> None:
    api = api_of(Boxes)
    assert (api.service_id, api.description, api.idempotent) == ("boxes", "Finds boxes.", True)
    assert [(member.name, member.kind, member.required) for member in api.members] == [
        ("picture", ValueKind.FILE, True),
        ("top", ValueKind.PARAMETER, True),
        ("near", ValueKind.JSON, False),
        ("boxes", ValueKind.PARAMETER, False),
    ]
    by_name = {member.name: member for member in api.members}
    assert by_name["top"].description == "how many"
    assert by_name["boxes"].type_name == "boxes options"
    assert by_name["near"].schema["properties"]["x"] == {"type": "integer"}
    (output,) = api.outputs
    assert output.kind is ValueKind.JSON
    assert output.schema["items"]["required"] == ["x"]


def test_null_is_no_value_of_a_member() -> None:
    by_name = {member.name: member for member in api_of(Forms).members}
    assert by_name["width"].schema["type"] == "integer"
    assert by_name["mode"].schema["enum"] == ["fast", "fine"]
    assert by_name["text"].kind is ValueKind.TEXT
    assert [output.kind for output in api_of(Forms).outputs] == [
        ValueKind.JSON,
        ValueKind.TEXT,
        ValueKind.FILE,
    ]
