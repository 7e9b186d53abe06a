"""Frames as a wrapper sees them, and its outputs as frames."""

from typing import Any

import pytest

from aseloader import Data, Input, Integer, Output, String, Wrapper
from aseloader.codec import Codec, error_output
from schemas.model.errors import AseError
from schemas.wire import LoaderInput, MetaDesc, Payload


class CodecWrapper(Wrapper):
    service = "made"
    count = Integer(0, 9, required=True)
    name = String(default="x")
    text = Input("text")
    said = Output("text")
    facts = Output("text", format="json")


CODEC = Codec(CodecWrapper)
EXPECTED = {"said": MetaDesc(name="said", attribute={"a": "b"}), "facts": MetaDesc(name="facts")}


def test_parameters_are_read_with_their_defaults() -> None:
    assert CODEC.decode_params(LoaderInput(params={"count": "3"})) == {"count": 3, "name": "x"}
    for params, message in (({}, "'count' is missing"), ({"count": "x"}, "'count' cannot be read")):
        with pytest.raises(AseError, match=message):
            CODEC.decode_params(LoaderInput(params=params))


def test_only_declared_inputs_are_decoded() -> None:
    meta = MetaDesc(name="text", attribute={"seq": "1"})
    assert CODEC.decode_inputs(LoaderInput(pl=[Payload(meta=meta, data=b"hi")])) == {
        "text": Data(b"hi", {"seq": "1"})
    }
    with pytest.raises(AseError, match="'other' is not declared"):
        CODEC.decode_inputs(LoaderInput(pl=[Payload(meta=MetaDesc(name="other"))]))
    with pytest.raises(AseError, match="'text' is missing"):
        CODEC.check_required_inputs({})


def test_outputs_carry_seq_status_and_expected_attributes() -> None:
    (text_payload,) = CODEC.encode_outputs({"said": "é"}, EXPECTED, 4, 1)
    assert text_payload.data == "é".encode()
    assert dict(text_payload.meta.attribute) == {"a": "b", "seq": "4", "status": "1"}
    (json_payload,) = CODEC.encode_outputs({"facts": {"a": 1}}, EXPECTED, 1, 3)
    assert json_payload.data == b'{"a":1}'
    assert json_payload.meta.attribute["format"] == "json"


@pytest.mark.parametrize("outputs", [{"other": b""}, {"said": 3}, {"said": None}])
def test_invalid_output_is_rejected(outputs: dict[str, Any]) -> None:
    with pytest.raises(AseError, match="output"):
        CODEC.encode_outputs(outputs, EXPECTED, 1, 1)
    with pytest.raises(AseError, match="not declared"):
        CODEC.encode_outputs({"said": b""}, {}, 1, 1)


def test_error_output_replaces_unencodable_text() -> None:
    output = error_output("made", 10107, "half \ud800 a character")
    assert (output.code, output.serviceId, output.status) == (10107, "made", output.END)
    assert output.err == "half ? a character"
