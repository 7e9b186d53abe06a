"""Schemas of plain requests; the whole document is tried by schemathesis in test_openapi."""

import pytest

from aseloader import declare
from schemas.model import document
from schemas.output import example, openapi, plain_openapi
from schemas.validation.request_validator import RequestValidator
from tests.wrappers.forms import Forms

SERVICE = document.service_from_document(document.parse(declare.schema(Forms)))
VALIDATOR = RequestValidator(SERVICE.input)


def schemas() -> dict[str, dict[str, object]]:
    standard = openapi.to_standard_schema(VALIDATOR.schema, SERVICE)
    return plain_openapi.component_schemas(SERVICE, standard, "Forms")


@pytest.mark.parametrize(
    ("service_id", "name"),
    [("image", "Image"), ("voice-activity.v2", "VoiceActivityV2"), ("7zip", "Service7zip")],
)
def test_names_of_schemas(service_id: str, name: str) -> None:
    assert plain_openapi.component_name(service_id) == name


def test_request_has_the_members_and_no_others() -> None:
    request = schemas()["FormsRequest"]
    properties = request["properties"]
    assert isinstance(properties, dict)
    assert request["additionalProperties"] is False
    assert "required" not in request
    assert properties["text"] == {"type": "string", "minLength": 1, "maxLength": 1000}
    assert properties["picture"]["contentEncoding"] == "base64"
    assert properties["width"]["maximum"] == 512
    assert properties["data"] == {}


def test_form_has_files() -> None:
    properties = schemas()["FormsForm"]["properties"]
    assert isinstance(properties, dict)
    sizes = {"minLength": 1, "maxLength": 100_000}
    assert properties["picture"] == {"type": "string", "format": "binary", **sizes}
    assert properties["mode"]["enum"] == ["fast", "fine"], "a field of a form is never null"


def test_answers_by_media_type() -> None:
    operation = plain_openapi.operation(SERVICE, "Forms", {"width": 1})
    content = operation["responses"]["200"]["content"]
    assert list(content) == [
        "application/json", "image/png", "image/jpeg", "application/octet-stream",
        "text/event-stream",
    ]  # fmt: skip
    assert operation["requestBody"]["content"]["application/json"]["example"] == {"width": 1}
    assert "multipart/form-data" in operation["requestBody"]["content"]


def test_plain_example_is_that_of_the_envelope() -> None:
    envelope = example.example_request(SERVICE, VALIDATOR)
    plain = example.plain_example(SERVICE, envelope)
    assert plain["width"] == envelope["parameter"]["forms"]["width"]
    envelope["payload"] = {
        "text": {"text": "aGk="},
        "data": {"text": "WzFd"},
        "picture": {"image": "AAAA", "encoding": "jpg"},
    }
    assert example.plain_example(SERVICE, envelope) == plain | {
        "text": "hi", "data": [1], "picture": "data:image/jpeg;base64,AAAA"
    }  # fmt: skip
