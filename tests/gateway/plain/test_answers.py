"""Which form an answer has; the bodies are in test_exchange, through a socket."""

import pytest

from aseloader import Input, Output, Wrapper, declare
from gateway.plain import answers
from schemas.model import document
from schemas.model.plain import PlainApi


def api(*outputs: Output) -> PlainApi:
    members = {f"out{number}": output for number, output in enumerate(outputs)}
    methods = {"service": "s", "once": lambda self, params, inputs: {}, "text": Input("text")}
    wrapper = type("S", (Wrapper,), {**methods, **members})
    return PlainApi(document.service_from_document(document.parse(declare.schema(wrapper))))


TEXT, FACTS = Output("text"), Output("json")
PNG, SOUND = Output("image", encodings=("png",)), Output("audio")


@pytest.mark.parametrize(
    ("outputs", "types"),
    [
        ((FACTS,), []),
        ((TEXT,), ["text/plain"]),
        ((TEXT, FACTS), []),
        ((FACTS, PNG), ["image/png", "application/octet-stream"]),
        ((SOUND,), ["audio/*", "application/octet-stream"]),
        ((Output("other"),), ["application/octet-stream"]),
        ((PNG, SOUND), []),
    ],
    ids=range(7),
)
def test_files_that_a_service_offers(outputs: tuple[Output, ...], types: list[str]) -> None:
    offered = answers.offers(api(*outputs), is_file_request=False)
    assert offered == [
        "application/json", *types, "multipart/mixed", "text/event-stream", "application/x-ndjson"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outputs", "accept", "of_a_file", "of_json"),
    [
        ((PNG, FACTS), "*/*", "image/png", "application/json"),
        ((PNG, FACTS), "", "image/png", "application/json"),
        ((TEXT,), "*/*", "application/json", "application/json"),
        ((SOUND,), "audio/wav", "audio/wav", "audio/wav"),
        ((SOUND,), "audio/*", "audio/*", "audio/*"),
        ((SOUND,), "text/html, */*;q=0.1", "audio/*", "application/json"),
        ((SOUND,), "text/html", "", ""),
    ],
    ids=range(7),
)
def test_negotiation(
    outputs: tuple[Output, ...], accept: str, of_a_file: str, of_json: str
) -> None:
    service = api(*outputs)
    assert answers.negotiate(service, accept, is_file_request=True) == of_a_file
    assert answers.negotiate(service, accept, is_file_request=False) == of_json
