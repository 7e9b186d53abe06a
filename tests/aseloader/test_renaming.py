"""Wrappers under another service id: classes, functions, and those with a document of their own."""

import json

from aseloader import declare
from aseloader.functions import wrapper_class_of
from aseloader.renaming import as_service
from aseloader.wrapper import Wrapper
from tests.wrappers.probe import Probe


def service_of(wrapper_class: type[Wrapper]) -> str:
    return str(json.loads(declare.schema(wrapper_class))["meta"]["serviceId"])


def test_class_serves_under_another_id_and_is_not_changed() -> None:
    renamed = as_service(Probe, "north")
    assert issubclass(renamed, Probe)
    assert (renamed.service, service_of(renamed)) == ("north", "north")
    assert (Probe.service, service_of(Probe)) == ("probe", "probe")
    document, own = (json.loads(declare.schema(each)) for each in (renamed, Probe))
    payload = document["schemainput"]["properties"]["payload"]
    assert payload == own["schemainput"]["properties"]["payload"]
    assert "north" in document["schemainput"]["properties"]["parameter"]["properties"]


def test_no_other_id_is_the_class_itself() -> None:
    assert as_service(Probe, "") is as_service(Probe, "probe") is Probe


def test_document_of_a_wrapper_is_renamed_too() -> None:
    class Documented(Probe):
        __ase_schema__ = declare.schema(Probe)

    renamed = as_service(Documented, "north")
    assert service_of(renamed) == "north"
    assert service_of(Documented) == "probe"


def test_function_serves_under_another_id() -> None:
    from tests.aseloader import test_functions

    found = [
        wrapper
        for value in vars(test_functions).values()
        if (wrapper := wrapper_class_of(value)) is not None
    ]
    assert found
    for wrapper_class in found:
        assert service_of(as_service(wrapper_class, "north")) == "north"
