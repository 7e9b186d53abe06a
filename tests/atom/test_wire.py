"""Wire bytes written and read by hand are what protobuf itself makes of them."""

from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from atom import wire
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@given(st.dictionaries(TEXT, TEXT, max_size=5))
def test_entries_of_a_map(members: dict[str, str]) -> None:
    written = b"".join(
        wire.map_entry(wire.tag(4), name.encode(), value.encode())
        for name, value in members.items()
    )
    assert dict(LoaderInput.FromString(written).headers) == members


@given(st.integers(0, 2**40))
def test_numbers(number: int) -> None:
    assert LoaderInput.FromString(b"\x40" + wire.varint(number % 2**31)).sync_id == number % 2**31


def output(payloads: list[tuple[str, dict[str, str], bytes]], status: int, ident: str) -> bytes:
    return LoaderOutput(
        serviceId=ident,
        status=status,
        pl=[
            Payload(meta=MetaDesc(name=name, attribute=told), data=data)
            for name, told, data in payloads
        ],
    ).SerializeToString(deterministic=True)


@given(
    st.lists(st.tuples(TEXT, st.dictionaries(TEXT, TEXT, max_size=3), st.binary(max_size=20_000))),
    st.integers(0, 3),
    TEXT,
)
def test_payloads_of_a_plain_output(
    payloads: list[tuple[str, dict[str, str], bytes]], status: int, ident: str
) -> None:
    told = wire.read_payloads(output(payloads, status, ident))
    if told is None:  # an empty meta, or no data: the library reads that
        assert any(not data or not (name or attributes) for name, attributes, data in payloads)
        return
    read = [(MetaDesc.FromString(meta), data) for meta, data in told]
    assert [(m.name, dict(m.attribute), data) for m, data in read] == payloads


@given(st.binary(max_size=60))
def test_any_bytes_are_read_as_protobuf_reads_them_or_left_to_it(frame: bytes) -> None:
    told = wire.read_payloads(frame)
    if told is None:
        return
    try:
        output = LoaderOutput.FromString(frame)
        metas = [MetaDesc.FromString(meta) for meta, _ in told]
    except Exception:  # noqa: BLE001 (not UTF-8 somewhere: read later, and refused there)
        return
    assert output.code == 0
    shown = [json_format.MessageToDict(payload.meta) for payload in output.pl]
    assert [json_format.MessageToDict(meta) for meta in metas] == shown
    assert [payload.data for payload in output.pl] == [data for _, data in told]


@given(st.binary(max_size=200), st.integers(0, 250))
def test_a_cut_output_is_left_to_protobuf(data: bytes, at: int) -> None:
    whole = output([("name", {"a": "b"}, data + b"!")], 3, "x")
    if at < len(whole):
        cut = whole[:at]
        told = wire.read_payloads(cut)
        assert told is None or told == []
