"""`kind: ApiSchema`: the seed's own sample, its spelling and the right one, and every fault."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType
from schemas.sources import api_schema, declare
from schemas.validation.request_validator import RequestValidator

SEED = Path(__file__).parent.parent.parent / "golden/schemas/seed.yml"


def load_seed() -> Any:
    return yaml.safe_load(SEED.read_text(encoding="utf-8"))


def minimal_document(**request: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_schema.API_VERSION,
        "kind": "ApiSchema",
        "metadata": {"serviceName": "ocr"},
        "spec": {
            "request": request,
            "response": {"payload": {"properties": {"t": {"type": "text"}}}},
        },
    }


def test_seed_document() -> None:
    api = api_schema.declaration_from_api_schema(load_seed())
    assert (api.id, api.version) == ("image-detect", "1.0.0")
    assert api.annotations["group"] == "gas"
    assert api.annotations["configFilename"] == "xxxx.json"
    assert {stream.name: stream.data_type for stream in api.inputs} == {
        "audio1": DataType.AUDIO,
        "text1": DataType.TEXT,
        "image1": DataType.IMAGE,
        "vedio1": DataType.VIDEO,
    }
    assert [stream.name for stream in api.inputs if stream.required] == ["image1"]
    assert [(stream.name, stream.encodings) for stream in api.outputs] == [
        ("audio1", ("speex-wb",))
    ]
    service = document.service_from_document(declare.declaration_to_document(api))
    validator = RequestValidator(service.input)
    valid_body = {
        "header": {"app_id": "a", "status": 3},
        "parameter": {"image-detect": {"vcn": "x", "speed": 50, "someother": '{"value1": "a"}'}},
        "payload": {"image1": {"compress": "raw", "format": "jpg", "image": "YWJj"}},
    }
    assert validator.validate_and_transform(valid_body) == ()
    for path, value, message in (
        (
            ("parameter", "image-detect", "speed"),
            49,
            "$.parameter['image-detect'].speed: breaks minimum",
        ),
        (("parameter", "image-detect", "someother"), {}, "someother: must be of type string"),
        (("payload", "image1", "format"), "png", "$.payload.image1.format: must be one of jpg"),
        (("payload", "audio1"), {"encoding": "mp3", "audio": "YQ=="}, "must be one of speex-wb"),
    ):
        invalid_body = yaml.safe_load(yaml.safe_dump(valid_body))
        node = invalid_body
        for name in path[:-1]:
            node = node[name]
        node[path[-1]] = value
        assert message in "; ".join(map(str, validator.validate_and_transform(invalid_body)))


def test_round_trip_corrects_misspelled_keys() -> None:
    api = api_schema.declaration_from_api_schema(load_seed())
    written = api_schema.declaration_to_api_schema(api)
    assert api_schema.declaration_from_api_schema(written) == api
    text = yaml.safe_dump(written)
    assert not [
        misspelling
        for misspelling in ("paramters", "palyload", "vedio:", "Filname")
        if misspelling in text
    ]
    assert written["spec"]["request"]["parameters"]["properties"]["someother"]["type"] == "object"


def test_extended_keys() -> None:
    tree = minimal_document(
        parameters={"properties": {"n": {"type": "integer", "maximum": 3, "default": 2}}},
        payload={
            "properties": {
                "a": {"type": "base64", "format": "wav", "maxBytes": 9, "description": "a voice"},
                "b": {"type": "base64", "format": "zip"},
                "c": {"type": "image", "encoding": ["jpg", "png"]},
            }
        },
    )
    tree["metadata"] |= {"sub": "gas", "deadline": 9, "idempotent": True, "description": "d"}
    api = api_schema.declaration_from_api_schema(tree)
    assert (api.sub, api.deadline, api.idempotent, api.description) == ("gas", 9.0, True, "d")
    assert [stream.data_type for stream in api.inputs] == [
        DataType.AUDIO,
        DataType.OTHER,
        DataType.IMAGE,
    ]
    assert api.inputs[0].max_bytes == 9
    assert api.inputs[2].encodings == ("jpg", "png")
    assert api_schema.declaration_from_api_schema(
        api_schema.declaration_to_api_schema(api)
    ) == api_schema.declaration_from_api_schema(
        api_schema.declaration_to_api_schema(
            api_schema.declaration_from_api_schema(api_schema.declaration_to_api_schema(api))
        )
    )


def document_with(**changes: Any) -> Any:
    tree = minimal_document()
    for path, value in changes.items():
        node = tree
        *parents, last = path.split("__")
        for name in parents:
            node = node[name]
        node[last] = value
    return tree


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (None, "document: is missing"),
        ([], "document: must be an object"),
        (document_with(kind="Api"), "kind: must be ApiSchema"),
        (document_with(apiVersion=1), "apiVersion: must be iflytek.com/v1alpha1"),
        (document_with(extra=1), "extra: unknown key 'extra'; known: apiVersion, kind"),
        (document_with(metadata__serviceName=None), "metadata.serviceName: is missing"),
        (document_with(metadata__servicename="x"), "did you mean 'serviceName'?"),
        (
            document_with(metadata__version=1.0),
            "metadata.version: must be a text; write it in quotes",
        ),
        (
            document_with(metadata__deadline="soon"),
            "metadata.deadline: must be a number of seconds",
        ),
        (document_with(spec=5), "spec: must be an object"),
        (document_with(spec__request=None), "spec.request: is missing"),
        (
            document_with(spec__request={"paramters": {"properties": {"a": 5}}}),
            "spec.request.paramters.properties.a: must be an object (the rules of a parameter)",
        ),
        (
            document_with(spec__request={"parameters": {"properties": {"a": {"tpye": "string"}}}}),
            "parameters.properties.a.tpye: keyword 'tpye' is not supported; did you mean 'type'?",
        ),
        (
            document_with(
                spec__request={"parameters": {"properties": {"a": {}}, "required": ["b"]}}
            ),
            "parameters.required.0: 'b' is not in properties",
        ),
        (
            document_with(spec__request={"parameters": {}, "paramters": {}}),
            "paramters: 'parameters' occurs twice",
        ),
        (
            document_with(spec__request={"payload": {"properties": {"a": {"type": "imgae"}}}}),
            "payload.properties.a.type: must be text, audio, image, video, other or base64; did",
        ),
        (
            document_with(
                spec__request={"payload": {"properties": {"a": {"type": "text", "maxBytes": 0}}}}
            ),
            "a.maxBytes: must be a number of bytes",
        ),
        (
            document_with(spec__request={"payload": {"required": "a"}}),
            "payload.required: must be a list of names",
        ),
        (document_with(metadata__serviceName="../x"), "metadata.serviceName: must be 1 to 128"),
    ],
    ids=str,
)
def test_problem_has_its_path(tree: Any, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        api_schema.declaration_from_api_schema(tree)
    assert message in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    tree = document_with(
        kind="x", metadata__deadline=-1, spec__request={"payload": {"required": "a"}}
    )
    with pytest.raises(DocumentError) as caught:
        api_schema.declaration_from_api_schema(tree)
    assert len(caught.value.problems) == 3
