"""The shortest command for a service."""

import pytest

from aseloader import Input, Integer, Output, Wrapper, declare
from schemas.model import document
from schemas.output.curl import curl_command

PICTURE, TEXT, VALUE = Input("image"), Input("text"), Input("json")
PNG, SOUND, NOTE = Output("image", encodings=("jpg",)), Output("audio"), Output("text")


def command(
    example: dict[str, object], *members: object, sample: str = "", takes_bearer: bool = False
) -> str:
    attributes = {f"m{number}": member for number, member in enumerate(members)}
    base = {"service": "s", "once": lambda self, params, inputs: {}}
    wrapper = type("S", (Wrapper,), {**base, **attributes})
    service = document.service_from_document(document.parse(declare.schema(wrapper)))
    return curl_command(service, "http://h:1", example, sample, takes_bearer=takes_bearer)


@pytest.mark.parametrize(
    ("example", "members", "text"),
    [
        ({"m0": "AAAA"}, (PICTURE, PNG), "-F m0=@PATH -o m1.jpg"),
        ({"m0": "AAAA"}, (PICTURE, SOUND, NOTE), "-F m0=@PATH -o m1.wav"),
        ({"m0": "AAAA"}, (PICTURE, PNG, SOUND), "-F m0=@PATH"),
        ({"m0": "it's"}, (TEXT, NOTE), "-d 'm0=it'\"'\"'s'"),
        ({"m0": [1]}, (VALUE, NOTE), "-H 'Content-Type: application/json' -d '{\"m0\": [1]}'"),
        (
            {"m0": "a", "m1": 5},
            (TEXT, Integer(1, 9, required=True), NOTE),
            '-H \'Content-Type: application/json\' -d \'{"m0": "a", "m1": 5}\'',
        ),
        ({}, (TEXT, NOTE), "-H 'Content-Type: application/json' -d '{}'"),
    ],
    ids=range(7),
)
def test_command(example: dict[str, object], members: tuple[object, ...], text: str) -> None:
    assert command(example, *members) == f"curl -sS http://h:1/v1/s {text}"


def test_sample_is_quoted() -> None:
    assert command({"m0": "AAAA"}, PICTURE, NOTE, sample="a b.png").endswith("-F m0=@'a b.png'")


def test_command_with_a_key() -> None:
    text = command({"m0": "a"}, TEXT, NOTE, takes_bearer=True)
    assert text == 'curl -sS http://h:1/v1/s -H "Authorization: Bearer $ASE_API_KEY" -d m0=a'
