"""Which contract serves a request, and what the record then says."""

import json
from typing import Any

import pytest

from aseloader import declare
from gateway.request.record import RequestRecord
from gateway.request.resolve import find_contract, resolve_contract
from gateway.services.catalog import Catalog, build_contract
from schemas.model.errors import NO_SERVICE, NO_SUB_SERVICE, AseError
from tests.wrappers.probe import Probe

PROBE = build_contract(declare.schema(Probe), "file", {}, 5.0)


def build_category_contract(sub_service: str) -> Any:
    rules = {"$.parameter.any.ent": "x"}
    meta = {
        "serviceId": "any",
        "service": [],
        "routeKey": ["ent"],
        "subRoute": [{"subServiceId": sub_service, "priority": 1, "rules": rules}],
    }
    text = json.dumps({"meta": meta, "schemainput": {"type": "object"}}).encode()
    return build_contract(text, "file", {}, 5.0)


def new_record() -> RequestRecord:
    return RequestRecord("s" * 32, 0.0, "POST", "/v1/private/any", "9.9.9.9")


def test_service_is_found_by_id_and_recorded() -> None:
    record = new_record()
    assert find_contract(Catalog([PROBE], {}, 5.0), "probe", record) is PROBE
    assert record.service == "probe"
    with pytest.raises(AseError) as raised:
        find_contract(Catalog([PROBE], {}, 5.0), "nobody", new_record())
    assert raised.value.spec is NO_SERVICE


def test_a_service_without_sub_services_serves_itself() -> None:
    contract, headers = resolve_contract(PROBE, {}, new_record(), Catalog([PROBE], {}, 5.0))
    assert contract is PROBE
    assert headers == {
        "sid": "s" * 32,
        "client_ip": "9.9.9.9",
        "service_id": "probe",
        "route": "/v1/private/any",
    }


def test_a_category_is_served_by_the_sub_service_that_the_envelope_selects() -> None:
    envelope, record = {"parameter": {"any": {"ent": "x"}}}, new_record()
    any_probe = build_category_contract("probe")
    catalog = Catalog([PROBE, any_probe], {}, 5.0)
    contract, headers = resolve_contract(any_probe, envelope, record, catalog)
    assert contract is PROBE
    assert (record.service, headers["service_id"]) == ("probe", "probe")
    assert (headers["route_param"], headers["routekey"]) == ("x", "x")


@pytest.mark.parametrize(
    ("sub_service", "value", "message"),
    [
        ("probe", "y", "no category route fits"),
        ("away", "x", "sub service not found: away"),
    ],
)
def test_no_sub_service(sub_service: str, value: str, message: str) -> None:
    any_probe = build_category_contract(sub_service)
    catalog = Catalog([PROBE, any_probe], {}, 5.0)
    with pytest.raises(AseError) as raised:
        resolve_contract(any_probe, {"parameter": {"any": {"ent": value}}}, new_record(), catalog)
    assert raised.value.spec is NO_SUB_SERVICE
    assert str(raised.value) == message
