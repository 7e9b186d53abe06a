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


def document_with(**meta: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(OCR))
    result["meta"] |= meta
    return result


def document_problems(tree: object) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        document.service_from_document(tree)
    return [str(problem) for problem in caught.value.problems]


def test_original_document_is_parsed() -> None:
    service = document.service_from_document(OCR)
    assert (service.id, service.version, service.sub) == ("s5ca83460", "v1.0", "ase")
    assert service.inputs == {"data1": DataType.IMAGE}
    assert service.accepts == {"boxes": DataType.TEXT}
    assert service.deadline == 15
    assert service.code_map == {10110: 429}
    assert not service.idempotent


def test_short_stream_syntax_and_unknown_types_default_to_audio() -> None:
    nick = {"input": {"a": "video", "b": {"dataType": "per"}}, "accept": {}}
    assert document.service_from_document(document_with(mmocr=nick)).inputs == {
        "a": DataType.VIDEO,
        "b": DataType.AUDIO,
    }


def test_sub_routes_are_sorted_by_priority_with_values_as_text() -> None:
    service = document.service_from_document(
        document_with(
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
    ("tree", "message"),
    [
        ([], "document: must be an object"),
        ({}, "meta: is missing"),
        (document_with(serviceId=""), "meta.serviceId: is missing or empty"),
        *[
            (document_with(serviceId=service_id), "meta.serviceId: must be 1 to 128 letters")
            for service_id in ("a?b", "../x", "a/b", "a b", ".x", "-x", "ü", "a\n", "x" * 129)
        ],
        (document_with(serviceId=7), "meta.serviceId: must be a string"),
        (document_with(serviceId="version"), "meta.serviceId: must not be 'version', which is a"),
        (document_with(service=["other"]), "meta.service: nick 'other' has no member in meta"),
        (document_with(service=[7]), "meta.service: must be a string or a list of strings"),
        (document_with(mmocr=[]), "meta.mmocr: must be an object"),
        (document_with(mmocr={"input": {"a": {}}}), "meta.mmocr.input.a: needs a dataType"),
        (document_with(session_timeout=-1), "meta.session_timeout: must be a number of seconds"),
        (
            document_with(session_timeout="soon"),
            "meta.session_timeout: must be a number of seconds",
        ),
        (document_with(codeMap={"10110": 99}), "meta.codeMap.10110: must map a code"),
        (document_with(codeMap={"x": 400}), "meta.codeMap.x: must map a code"),
        (document_with(codeMap={"--5": 400}), "meta.codeMap.--5: must map a code"),
        (document_with(codeMap={"5": 204}), "meta.codeMap.5: must map a code"),
        (document_with(subRoute={}), "meta.subRoute: must be a list"),
        (document_with(subRoute=[{}]), "meta.subRoute.0: needs a subServiceId"),
        (OCR | {"schemainput": []}, "schemainput: must be an object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_problem_has_its_path(tree: object, message: str) -> None:
    assert any(problem.startswith(message) for problem in document_problems(tree))


def test_all_problems_are_reported_at_once() -> None:
    assert (
        len(document_problems(document_with(serviceId="", session_timeout=-1, codeMap={"x": 1})))
        == 3
    )


def test_names_shared_by_two_nicks_are_a_problem() -> None:
    other = {"input": {"data1": {"dataType": "text"}}, "accept": {"boxes": {"dataType": "text"}}}
    tree = document_with(service=["mmocr", "other"], other=other)
    scalar = {"properties": {"size": {"type": "integer"}}}
    tree["schemainput"]["properties"]["parameter"] = {
        "properties": {"mmocr": scalar, "other": scalar}
    }
    assert document_problems(tree) == [
        "meta.other: parameter 'size' is declared by 'mmocr' too",
        "meta.other: input 'data1' is declared by 'mmocr' too",
        "meta.other: accept 'boxes' is declared by 'mmocr' too",
    ]


def test_digest_ignores_key_order_and_whitespace() -> None:
    reordered = {key: OCR[key] for key in reversed(OCR)}
    assert document.canonical(reordered) == document.canonical(OCR)
    assert len(document.digest(document.canonical(OCR))) == 64
    assert document.parse(document.canonical(OCR)) == OCR


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b"[]", b"\xff"])
def test_non_object_document_is_rejected(text: bytes) -> None:
    with pytest.raises(DocumentError):
        document.parse(text)


INVALID_SCHEMAINPUTS: list[dict[str, Any]] = [
    {"properties": []},
    {"properties": {"parameter": 3}},
    {"properties": {"parameter": {"properties": 3}}},
]


@pytest.mark.parametrize("tree", INVALID_SCHEMAINPUTS, ids=str)
def test_invalid_schemainput_is_left_to_the_compiler(tree: dict[str, Any]) -> None:
    assert document.service_from_document(OCR | {"schemainput": tree}).input == tree
