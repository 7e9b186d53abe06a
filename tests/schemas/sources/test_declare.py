"""A declaration becomes a document that the reader and the compiler take, and says what it said."""

from schemas.model import document
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, Param, PayloadStream
from schemas.validation.compile import compile_input
from schemas.validation.validate import Validator

API = Declaration(
    id="ocr",
    description="Reads text.",
    deadline=9.0,
    idempotent=True,
    params=(
        Param("lang", {"type": "string", "enum": ["en", "zh"]}, required=True),
        Param("size", {"type": "integer", "default": 3}),
    ),
    inputs=(
        PayloadStream("page", DataType.IMAGE, ("png", "jpg"), max_bytes=6),
        PayloadStream("hint", DataType.TEXT, required=False),
        PayloadStream("voice", DataType.AUDIO, required=False),
    ),
    outputs=(PayloadStream("words", DataType.TEXT, format="json"),),
)


def test_document_is_parsed_back() -> None:
    service = document.service_from_document(declare.declaration_to_document(API))
    assert (service.id, service.sub, service.version) == ("ocr", "ase", "v1")
    assert service.inputs == {
        "page": DataType.IMAGE,
        "hint": DataType.TEXT,
        "voice": DataType.AUDIO,
    }
    assert service.accepts == {"words": DataType.TEXT}
    assert service.deadline == 9.0
    assert service.idempotent
    assert service.description == "Reads text."


def test_schema_enforces_required_members() -> None:
    validator = Validator(
        compile_input(document.service_from_document(declare.declaration_to_document(API)).input)
    )
    header = {"app_id": "a", "status": 3}
    valid_body = {
        "header": header,
        "parameter": {"ocr": {"lang": "en", "words": {"format": "json"}}},
        "payload": {"page": {"image": "YWJjZGVm", "encoding": "png", "status": 3}},
    }
    assert validator.violations(valid_body) == ()
    assert [str(violation) for violation in validator.violations({"header": header})] == [
        "$.parameter: is required",
        "$.payload: is required",
    ]
    invalid_body = {
        **valid_body,
        "payload": {"page": {"image": "YWJjZGVmZw=="}, "voice": {"rate": 1}},
    }
    assert {str(violation) for violation in validator.violations(invalid_body)} == {
        "$.payload.page.image: must decode to at most 6 bytes",
        "$.payload.voice.rate: is not known here",
        "$.payload.voice.audio: is required",
    }


def test_a_client_cannot_name_a_loader() -> None:
    """The original let `directEngIp` and `session` in the public JSON choose whom to call."""
    validator = Validator(
        compile_input(document.service_from_document(declare.declaration_to_document(API)).input)
    )
    body = {"header": {"app_id": "a", "status": 3, "directEngIp": "10.0.0.1:22", "session": "x"}}
    violations = {str(violation) for violation in validator.violations(body)}
    assert "$.header.directEngIp: is not known here" in violations
    assert "$.header.session: is not known here" in violations
