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


def seed() -> Any:
    return yaml.safe_load(SEED.read_text(encoding="utf-8"))


def minimal(**request: Any) -> dict[str, Any]:
    return {
        "apiVersion": api_schema.API_VERSION,
        "kind": "ApiSchema",
        "metadata": {"serviceName": "ocr"},
        "spec": {
            "request": request,
            "response": {"payload": {"properties": {"t": {"type": "text"}}}},
        },
    }


def test_the_sample_of_the_design_document() -> None:
    told = api_schema.declaration_from_api_schema(seed())
    assert (told.id, told.version) == ("image-detect", "1.0.0")
    assert told.annotations["group"] == "gas"
    assert told.annotations["configFilename"] == "xxxx.json"
    assert {s.name: s.data_type for s in told.inputs} == {
        "audio1": DataType.AUDIO,
        "text1": DataType.TEXT,
        "image1": DataType.IMAGE,
        "vedio1": DataType.VIDEO,
    }
    assert [s.name for s in told.inputs if s.required] == ["image1"]
    assert [(s.name, s.encodings) for s in told.outputs] == [("audio1", ("speex-wb",))]
    service = document.service_from_document(declare.declaration_to_document(told))
    judge = RequestValidator(service.input)
    good = {
        "header": {"app_id": "a", "status": 3},
        "parameter": {"image-detect": {"vcn": "x", "speed": 50, "someother": '{"value1": "a"}'}},
        "payload": {"image1": {"compress": "raw", "format": "jpg", "image": "YWJj"}},
    }
    assert judge.validate_and_transform(good) == ()
    for path, value, words in (
        (
            ("parameter", "image-detect", "speed"),
            49,
            "$.parameter['image-detect'].speed: breaks minimum",
        ),
        (("parameter", "image-detect", "someother"), {}, "someother: must be of type string"),
        (("payload", "image1", "format"), "png", "$.payload.image1.format: must be one of jpg"),
        (("payload", "audio1"), {"encoding": "mp3", "audio": "YQ=="}, "must be one of speex-wb"),
    ):
        bad = yaml.safe_load(yaml.safe_dump(good))
        at = bad
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value
        assert words in "; ".join(map(str, judge.validate_and_transform(bad)))


def test_what_is_written_has_the_right_words_and_is_read_back() -> None:
    told = api_schema.declaration_from_api_schema(seed())
    written = api_schema.declaration_to_api_schema(told)
    assert api_schema.declaration_from_api_schema(written) == told
    text = yaml.safe_dump(written)
    assert not [word for word in ("paramters", "palyload", "vedio:", "Filname") if word in text]
    assert written["spec"]["request"]["parameters"]["properties"]["someother"]["type"] == "object"


def test_what_it_can_say_more() -> None:
    tree = minimal(
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
    told = api_schema.declaration_from_api_schema(tree)
    assert (told.sub, told.deadline, told.idempotent, told.description) == ("gas", 9.0, True, "d")
    assert [s.data_type for s in told.inputs] == [DataType.AUDIO, DataType.OTHER, DataType.IMAGE]
    assert told.inputs[0].max_bytes == 9
    assert told.inputs[2].encodings == ("jpg", "png")
    assert api_schema.declaration_from_api_schema(
        api_schema.declaration_to_api_schema(told)
    ) == api_schema.declaration_from_api_schema(
        api_schema.declaration_to_api_schema(
            api_schema.declaration_from_api_schema(api_schema.declaration_to_api_schema(told))
        )
    )


def broken(**changes: Any) -> Any:
    tree = minimal()
    for path, value in changes.items():
        at = tree
        *way, last = path.split("__")
        for name in way:
            at = at[name]
        at[last] = value
    return tree


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        (None, "document: is missing"),
        ([], "document: must be an object"),
        (broken(kind="Api"), "kind: must be ApiSchema"),
        (broken(apiVersion=1), "apiVersion: must be iflytek.com/v1alpha1"),
        (broken(extra=1), "extra: unknown key 'extra'; known: apiVersion, kind"),
        (broken(metadata__serviceName=None), "metadata.serviceName: is missing"),
        (broken(metadata__servicename="x"), "did you mean 'serviceName'?"),
        (broken(metadata__version=1.0), "metadata.version: must be a text; write it in quotes"),
        (broken(metadata__deadline="soon"), "metadata.deadline: must be a number of seconds"),
        (broken(spec=5), "spec: must be an object"),
        (broken(spec__request=None), "spec.request: is missing"),
        (
            broken(spec__request={"paramters": {"properties": {"a": 5}}}),
            "spec.request.paramters.properties.a: must be an object (the rules of a parameter)",
        ),
        (
            broken(spec__request={"parameters": {"properties": {"a": {"tpye": "string"}}}}),
            "parameters.properties.a.tpye: keyword 'tpye' is not supported; did you mean 'type'?",
        ),
        (
            broken(spec__request={"parameters": {"properties": {"a": {}}, "required": ["b"]}}),
            "parameters.required.0: 'b' is not in properties",
        ),
        (
            broken(spec__request={"parameters": {}, "paramters": {}}),
            "paramters: 'parameters' stands here twice",
        ),
        (
            broken(spec__request={"payload": {"properties": {"a": {"type": "imgae"}}}}),
            "payload.properties.a.type: must be text, audio, image, video, other or base64; did",
        ),
        (
            broken(
                spec__request={"payload": {"properties": {"a": {"type": "text", "maxBytes": 0}}}}
            ),
            "a.maxBytes: must be a number of bytes",
        ),
        (
            broken(spec__request={"payload": {"required": "a"}}),
            "payload.required: must be a list of names",
        ),
    ],
    ids=str,
)
def test_every_fault_is_told_by_its_path(tree: Any, words: str) -> None:
    with pytest.raises(DocumentError) as caught:
        api_schema.declaration_from_api_schema(tree)
    assert words in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    tree = broken(kind="x", metadata__deadline=-1, spec__request={"payload": {"required": "a"}})
    with pytest.raises(DocumentError) as caught:
        api_schema.declaration_from_api_schema(tree)
    assert len(caught.value.problems) == 3
