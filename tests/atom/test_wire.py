"""Wire bytes written and read by hand are what protobuf itself makes of them."""

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from atom import wire
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.dictionaries(TEXT, TEXT, max_size=5))
def test_map_entries(members: dict[str, str]) -> None:
    encoded = b"".join(
        wire.map_entry(wire.tag(4), name.encode(), value.encode())
        for name, value in members.items()
    )
    assert dict(LoaderInput.FromString(encoded).headers) == members


@given(st.integers(0, 2**40))
def test_varints(number: int) -> None:
    assert LoaderInput.FromString(b"\x40" + wire.varint(number % 2**31)).sync_id == number % 2**31


def encode_output(
    payloads: list[tuple[str, dict[str, str], bytes]], status: int, service_id: str
) -> bytes:
    return LoaderOutput(
        serviceId=service_id,
        status=status,
        pl=[
            Payload(meta=MetaDesc(name=name, attribute=attributes), data=data)
            for name, attributes, data in payloads
        ],
    ).SerializeToString(deterministic=True)


@given(
    st.lists(st.tuples(TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.binary(max_size=20_000))),
    st.integers(0, 3),
    TEXT,
)
def test_read_payloads_matches_protobuf(
    payloads: list[tuple[str, dict[str, str], bytes]], status: int, service_id: str
) -> None:
    raw_payloads = wire.read_payloads(encode_output(payloads, status, service_id))
    if raw_payloads is None:  # an empty meta, or no data: the library reads that
        assert any(not data or not (name or attributes) for name, attributes, data in payloads)
        return
    decoded = [(MetaDesc.FromString(meta), data) for meta, data in raw_payloads]
    assert [(desc.name, dict(desc.attribute), data) for desc, data in decoded] == payloads


@given(st.binary(max_size=60))
def test_arbitrary_bytes_match_protobuf_or_return_none(frame: bytes) -> None:
    raw_payloads = wire.read_payloads(frame)
    if raw_payloads is None:
        return
    try:
        output = LoaderOutput.FromString(frame)
        metas = [MetaDesc.FromString(meta) for meta, _ in raw_payloads]
    except Exception:  # noqa: BLE001 (not UTF-8 somewhere: read later, and refused there)
        return
    assert output.code == 0
    expected_metas = [json_format.MessageToDict(payload.meta) for payload in output.pl]
    assert [json_format.MessageToDict(meta) for meta in metas] == expected_metas
    assert [payload.data for payload in output.pl] == [data for _, data in raw_payloads]


@given(st.binary(max_size=200), st.integers(0, 250))
def test_truncated_output_yields_no_payloads(data: bytes, length: int) -> None:
    encoded = encode_output([("name", {"a": "b"}, data + b"!")], 3, "x")
    if length < len(encoded):
        truncated = encoded[:length]
        raw_payloads = wire.read_payloads(truncated)
        assert raw_payloads is None or raw_payloads == []


def test_units_of_a_frame() -> None:
    payload = Payload(meta=MetaDesc(name="out"), data=b"\x7a\x04\x0a\x00\x10\x07")
    output = LoaderOutput(serviceId="ocr", status=LoaderOutput.ONCE, pl=[payload])
    assert wire.read_units(output.SerializeToString()) == {}, "what looks alike in the data is none"
    plain = wire.read_payloads(output.SerializeToString())
    output.units["tokens"] = 17
    output.units["images"] = 2**40
    frame = output.SerializeToString()
    assert wire.read_units(frame) == {"tokens": 17, "images": 2**40}
    assert wire.read_payloads(frame) == plain
    assert wire.read_status(frame) == LoaderOutput.ONCE


@pytest.mark.parametrize(
    "frame", [b"", b"\x7a", b"\x7a\xff\xff\xff\xff\x0f", b"\x7a\x02\x0a\x09", b"\xff"]
)
def test_malformed_frame_has_no_units(frame: bytes) -> None:
    assert wire.read_units(frame) == {}


@given(st.binary(max_size=40))
def test_units_of_any_bytes_raise_nothing(data: bytes) -> None:
    wire.read_units(data)
