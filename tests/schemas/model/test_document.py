"""Schema documents: what the original's hold is read, what is wrong is named, all of it."""

import json
from typing import Any

import pytest

from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType

# The shape of a stock document of the original (docs/wire.md).
OCR: dict[str, Any] = {
    "meta": {
        "serviceId": "s5ca83460",
        "version": "v1.0",
        "service": ["mmocr"],
        "mmocr": {
            "input": {"data1": {"dataType": "image"}},
            "accept": {"boxes": {"dataType": "text"}},
        },
        "hosts": "api.example.com",
        "route": "/v1/private/s5ca83460",
        "sub": "ase",
        "call": "atmos-aipaas",
        "call_type": "0",
        "webgate_type": 2,
        "session_timeout": 15,
        "codeMap": {"10110": 429},
    },
    "schemainput": {"type": "object", "properties": {}},
    "schemaoutput": {"type": "object"},
}


def changed(**meta: Any) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(json.dumps(OCR))
    told["meta"] |= meta
    return told


def problems(told: object) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        document.service_from_document(told)
    return [str(problem) for problem in caught.value.problems]


def test_a_stock_document_is_read() -> None:
    service = document.service_from_document(OCR)
    assert (service.id, service.version, service.sub) == ("s5ca83460", "v1.0", "ase")
    assert service.inputs == {"data1": DataType.IMAGE}
    assert service.accepts == {"boxes": DataType.TEXT}
    assert service.deadline == 15
    assert service.code_map == {10110: 429}
    assert not service.idempotent


def test_a_stream_may_be_told_in_short_and_an_unknown_type_is_audio() -> None:
    nick = {"input": {"a": "video", "b": {"dataType": "per"}}, "accept": {}}
    assert document.service_from_document(changed(mmocr=nick)).inputs == {
        "a": DataType.VIDEO,
        "b": DataType.AUDIO,
    }


def test_sub_routes_come_by_priority_and_values_as_text() -> None:
    service = document.service_from_document(
        changed(
            subRoute=[
                {"subServiceId": "low", "priority": 1, "rules": {"$.header.status": 3}},
                {"subServiceId": "high", "priority": 5, "rules": {"parameter.x.y": ["a", True]}},
            ],
            routeKey=["y"],
        )
    )
    assert [route.service_id for route in service.sub_routes] == ["high", "low"]
    assert service.sub_routes[0].rules == ((("parameter", "x", "y"), frozenset({"a", "true"})),)
    assert service.sub_routes[1].rules == ((("header", "status"), frozenset({"3"})),)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "document: must be an object"),
        ({}, "meta: is missing"),
        (changed(serviceId=""), "meta.serviceId: is missing or empty"),
        (changed(serviceId=7), "meta.serviceId: must be a string"),
        (changed(service=["other"]), "meta.service: nick 'other' has no member in meta"),
        (changed(service=[7]), "meta.service: must be a string or a list of strings"),
        (changed(mmocr=[]), "meta.mmocr: must be an object"),
        (changed(mmocr={"input": {"a": {}}}), "meta.mmocr.input.a: needs a dataType"),
        (changed(session_timeout=-1), "meta.session_timeout: must be a number of seconds"),
        (changed(session_timeout="soon"), "meta.session_timeout: must be a number of seconds"),
        (changed(codeMap={"10110": 99}), "meta.codeMap.10110: must map a code"),
        (changed(codeMap={"x": 400}), "meta.codeMap.x: must map a code"),
        (changed(codeMap={"--5": 400}), "meta.codeMap.--5: must map a code"),
        (changed(codeMap={"5": 204}), "meta.codeMap.5: must map a code"),
        (changed(subRoute={}), "meta.subRoute: must be a list"),
        (changed(subRoute=[{}]), "meta.subRoute.0: needs a subServiceId"),
        (OCR | {"schemainput": []}, "schemainput: must be an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_problem_is_named_with_its_path(told: object, words: str) -> None:
    assert any(problem.startswith(words) for problem in problems(told))


def test_every_problem_is_told_at_once() -> None:
    assert len(problems(changed(serviceId="", session_timeout=-1, codeMap={"x": 1}))) == 3


def test_names_shared_by_two_nicks_are_a_problem() -> None:
    other = {"input": {"data1": {"dataType": "text"}}, "accept": {"boxes": {"dataType": "text"}}}
    told = changed(service=["mmocr", "other"], other=other)
    scalar = {"properties": {"size": {"type": "integer"}}}
    told["schemainput"]["properties"]["parameter"] = {
        "properties": {"mmocr": scalar, "other": scalar}
    }
    assert problems(told) == [
        "meta.other: parameter 'size' is declared by 'mmocr' too",
        "meta.other: input 'data1' is declared by 'mmocr' too",
        "meta.other: accept 'boxes' is declared by 'mmocr' too",
    ]


def test_the_digest_does_not_hang_on_order_or_spaces() -> None:
    turned = {key: OCR[key] for key in reversed(OCR)}
    assert document.canonical(turned) == document.canonical(OCR)
    assert len(document.digest(document.canonical(OCR))) == 64
    assert document.parse(document.canonical(OCR)) == OCR


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b"[]", b"\xff"])
def test_what_is_not_a_json_object_is_told(text: bytes) -> None:
    with pytest.raises(DocumentError):
        document.parse(text)


STRANGE: list[dict[str, Any]] = [
    {"properties": []},
    {"properties": {"parameter": 3}},
    {"properties": {"parameter": {"properties": 3}}},
]


@pytest.mark.parametrize("tree", STRANGE, ids=str)
def test_a_strange_schemainput_is_left_to_the_compiler(tree: dict[str, Any]) -> None:
    assert document.service_from_document(OCR | {"schemainput": tree}).input == tree
