"""Stubs are text made from descriptors: each kind of field, once."""

from schemas import stubs, wire


def test_each_field_kind_is_typed() -> None:
    text = stubs.render_stub(
        {"Frame": wire.Frame.DESCRIPTOR, "LoadReport": wire.LoadReport.DESCRIPTOR}
    )
    assert "class Frame(Message):" in text
    assert "    version: int\n" in text
    assert "    snapshot: bool\n" in text
    assert "    def loads(self) -> RepeatedCompositeFieldContainer[Message]: ..." in text
    assert "    service_ms: float\n" in text
    assert "    def acc(self) -> MutableMapping[str, int]: ..." in text
    assert "        acc: Mapping[str, int] | None = ...,\n" in text
    assert "    orca: bytes\n" in text
    assert "    addr: str\n" in text


def test_enum_values_are_attributes_and_known_messages_are_named() -> None:
    classes = {"Out": wire.LoaderOutput.DESCRIPTOR, "Payload": wire.Payload.DESCRIPTOR}
    text = stubs.render_stub(classes)
    assert "    BEGIN: int\n" in text
    assert "RepeatedCompositeFieldContainer[Payload]" in text


def test_repeated_scalars() -> None:
    text = stubs.render_stub({"PickRequest": wire.PickRequest.DESCRIPTOR})
    assert "def exclude(self)" not in text
    assert "    exclude: RepeatedScalarFieldContainer[str]\n" in text
