"""Which contract is active: the operator's, else what most instances have; one at a time."""

from typing import Any

import pytest

from config.options import ServiceOptions
from gateway.services.catalog import MAX_SERVICES, Catalog, SchemaUse, build_contract
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, PayloadStream


def schema_text(service: str = "ocr", version: str = "v1", **options: Any) -> bytes:
    declaration = Declaration(
        service, version, outputs=(PayloadStream("out", DataType.TEXT),), **options
    )
    return document.canonical(declare.declaration_to_document(declaration))


OLD_SCHEMA, NEW_SCHEMA = schema_text(version="v1"), schema_text(version="v2")
OLD_DIGEST, NEW_DIGEST = document.digest(OLD_SCHEMA), document.digest(NEW_SCHEMA)
DOCUMENTS = {OLD_DIGEST: OLD_SCHEMA, NEW_DIGEST: NEW_SCHEMA}


def active_version(catalog: Catalog) -> str:
    contract = catalog.find("ocr")
    return contract.service.version if contract else "none"


def reconcile(
    catalog: Catalog, old: int, new: int, *, new_answering: int | None = None
) -> list[tuple[str, str]]:
    answering = new if new_answering is None else new_answering
    uses = [SchemaUse("ocr", OLD_DIGEST, old, old), SchemaUse("ocr", NEW_DIGEST, new, answering)]
    switches = catalog.reconcile([use for use in uses if use.instances], DOCUMENTS)
    return [(s.old_digest, s.new_digest) for s in switches]


def test_a_rolling_upgrade() -> None:
    catalog = Catalog([], {}, 5.0)
    assert reconcile(catalog, 4, 0) == [("", OLD_DIGEST)]
    assert reconcile(catalog, 4, 4) == [], "between equals the active one stays"
    assert active_version(catalog) == "v1"
    assert reconcile(catalog, 3, 4) == [(OLD_DIGEST, NEW_DIGEST)]
    assert reconcile(catalog, 4, 4) == []
    assert active_version(catalog) == "v2"
    assert reconcile(catalog, 4, 3) == [(NEW_DIGEST, OLD_DIGEST)], (
        "and back, when it is rolled back"
    )


def test_instances_that_do_not_answer_switch_nothing() -> None:
    catalog = Catalog([], {}, 5.0)
    assert reconcile(catalog, 0, 1, new_answering=0) == [("", NEW_DIGEST)], "there is no other"
    assert reconcile(catalog, 2, 1, new_answering=0) == [(NEW_DIGEST, OLD_DIGEST)]
    assert reconcile(catalog, 2, 99, new_answering=2) == []
    assert reconcile(catalog, 2, 99, new_answering=3) == [(OLD_DIGEST, NEW_DIGEST)]
    assert reconcile(catalog, 4, 4, new_answering=0) == [], "the active one needs no proof"


def test_contract_survives_without_live_instances() -> None:
    catalog = Catalog([], {}, 5.0)
    reconcile(catalog, 1, 0)
    assert reconcile(catalog, 0, 0) == []
    assert active_version(catalog) == "v1"


def test_schema_file_overrides_instances() -> None:
    catalog = Catalog([build_contract(OLD_SCHEMA, "file", {}, 5.0)], {}, 5.0)
    assert reconcile(catalog, 0, 99) == []
    assert active_version(catalog) == "v1"


def test_digest_without_document_is_ignored() -> None:
    catalog = Catalog([], {}, 5.0)
    assert catalog.reconcile([SchemaUse("ocr", "f" * 64, 9, 9)], {}) == []


@pytest.mark.parametrize(
    ("operator_deadlines", "schema_deadline", "expected"),
    [({}, None, 5.0), ({}, 9.0, 9.0), ({"ocr": 2.0}, 9.0, 2.0)],
)
def test_deadline_of_operator_over_schema_over_default(
    operator_deadlines: dict[str, float], schema_deadline: float | None, expected: float
) -> None:
    services = {name: ServiceOptions(deadline=limit) for name, limit in operator_deadlines.items()}
    assert (
        build_contract(schema_text(deadline=schema_deadline), "file", services, 5.0).deadline
        == expected
    )


def test_invalid_document_is_rejected() -> None:
    bad = OLD_SCHEMA.replace(b'"minLength"', b'"minLenght"').replace(b'"enum"', b'"enumm"')
    with pytest.raises(DocumentError):
        build_contract(bad, "file", {}, 5.0)


def test_number_of_services_is_limited() -> None:
    catalog = Catalog([], {}, 5.0)
    schemas = [schema_text(f"s{number}") for number in range(3)]
    documents = {document.digest(schema): schema for schema in schemas}
    known = SchemaUse("s0", document.digest(schemas[0]), 1, 1)
    catalog.reconcile([known], documents)
    catalog._active |= {f"x{n}": catalog._active["s0"] for n in range(MAX_SERVICES)}
    new = [SchemaUse(f"s{n}", document.digest(schemas[n]), 1, 1) for n in (1, 2)]
    assert catalog.reconcile(new, documents) == []


def test_old_contracts_are_dropped() -> None:
    catalog = Catalog([], {}, 5.0)
    for number in range(50):
        schema = schema_text(version=f"v{number}")
        catalog.reconcile(
            [SchemaUse("ocr", document.digest(schema), 1, 1)], {document.digest(schema): schema}
        )
    assert len(catalog._by_digest) <= 3
