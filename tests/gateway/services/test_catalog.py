"""Which contract is active: the operator's, else what most live capacity speaks; one at a time."""

from typing import Any

import pytest

from config.options import ServiceOptions
from gateway.services.catalog import MAX_SERVICES, Capacity, Catalog, build_contract
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, PayloadStream


def text(service: str = "ocr", version: str = "v1", **more: Any) -> bytes:
    api = Declaration(service, version, outputs=(PayloadStream("out", DataType.TEXT),), **more)
    return document.canonical(declare.declaration_to_document(api))


OLD, NEW = text(version="v1"), text(version="v2")
D_OLD, D_NEW = document.digest(OLD), document.digest(NEW)
DOCUMENTS = {D_OLD: OLD, D_NEW: NEW}


def version(catalog: Catalog) -> str:
    contract = catalog.find("ocr")
    return contract.service.version if contract else "none"


def settle(catalog: Catalog, old: int, new: int) -> list[tuple[str, str]]:
    capacities = [Capacity("ocr", D_OLD, old), Capacity("ocr", D_NEW, new)]
    switches = catalog.reconcile([c for c in capacities if c.total], DOCUMENTS)
    return [(s.old_digest, s.new_digest) for s in switches]


def test_a_rolling_upgrade() -> None:
    catalog = Catalog([], {}, 5.0)
    assert settle(catalog, 4, 0) == [("", D_OLD)]
    assert settle(catalog, 4, 4) == [], "between equals the active one stays"
    assert version(catalog) == "v1"
    assert settle(catalog, 3, 4) == [(D_OLD, D_NEW)]
    assert settle(catalog, 4, 4) == []
    assert version(catalog) == "v2"
    assert settle(catalog, 4, 3) == [(D_NEW, D_OLD)], "and back, when it is rolled back"


def test_everybody_left_is_not_the_end_of_a_contract() -> None:
    catalog = Catalog([], {}, 5.0)
    settle(catalog, 1, 0)
    assert settle(catalog, 0, 0) == []
    assert version(catalog) == "v1"


def test_the_operator_s_file_stands() -> None:
    catalog = Catalog([build_contract(OLD, "file", {}, 5.0)], {}, 5.0)
    assert settle(catalog, 0, 99) == []
    assert version(catalog) == "v1"


def test_a_digest_without_its_document_is_nobody() -> None:
    catalog = Catalog([], {}, 5.0)
    assert catalog.reconcile([Capacity("ocr", "f" * 64, 9)], {}) == []


@pytest.mark.parametrize(
    ("ours", "told", "seconds"), [({}, None, 5.0), ({}, 9.0, 9.0), ({"ocr": 2.0}, 9.0, 2.0)]
)
def test_deadline_of_operator_over_schema_over_default(
    ours: dict[str, float], told: float | None, seconds: float
) -> None:
    services = {name: ServiceOptions(deadline=limit) for name, limit in ours.items()}
    assert build_contract(text(deadline=told), "file", services, 5.0).deadline == seconds


def test_a_bad_document_is_not_built() -> None:
    bad = OLD.replace(b'"minLength"', b'"minLenght"').replace(b'"enum"', b'"enumm"')
    with pytest.raises(DocumentError):
        build_contract(bad, "file", {}, 5.0)


def test_services_are_capped() -> None:
    catalog = Catalog([], {}, 5.0)
    texts = [text(f"s{number}") for number in range(3)]
    documents = {document.digest(t): t for t in texts}
    known = Capacity("s0", document.digest(texts[0]), 1)
    catalog.reconcile([known], documents)
    catalog._active |= {f"x{n}": catalog._active["s0"] for n in range(MAX_SERVICES)}
    rest = [Capacity(f"s{n}", document.digest(texts[n]), 1) for n in (1, 2)]
    assert catalog.reconcile(rest, documents) == []


def test_old_contracts_are_not_kept_for_ever() -> None:
    catalog = Catalog([], {}, 5.0)
    for number in range(50):
        told = text(version=f"v{number}")
        catalog.reconcile(
            [Capacity("ocr", document.digest(told), 1)], {document.digest(told): told}
        )
    assert len(catalog._by_digest) <= 3
