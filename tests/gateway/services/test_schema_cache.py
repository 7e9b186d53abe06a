"""Schemas of loaders on disk: what was stored is known again, and no file stops a start."""

import logging
from pathlib import Path

import pytest

from gateway.services.catalog import Catalog
from gateway.services.schema_cache import SchemaCache
from schemas.model.errors import NO_INSTANCE, NO_SERVICE, AseError
from tests.gateway.services.test_catalog import NEW_SCHEMA, OLD_SCHEMA, schema_text


def loaded_versions(cache: SchemaCache) -> dict[str, str]:
    contracts = cache.load({}, 5.0)
    assert {contract.source for contract in contracts} <= {"report"}
    return {contract.service.id: contract.service.version for contract in contracts}


def test_the_last_schema_of_each_service_is_kept(tmp_path: Path) -> None:
    cache = SchemaCache(tmp_path / "state" / "schemas")
    assert loaded_versions(cache) == {}
    cache.store("ocr", OLD_SCHEMA)
    cache.store("asr", schema_text("asr"))
    cache.store("ocr", NEW_SCHEMA)
    assert loaded_versions(cache) == {"asr": "v1", "ocr": "v2"}
    assert len(list((tmp_path / "state" / "schemas").iterdir())) == 2


def test_files_that_are_not_valid_are_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = SchemaCache(tmp_path)
    cache.store("ocr", OLD_SCHEMA)
    (tmp_path / "cut.json").write_bytes(OLD_SCHEMA[:-9])
    (tmp_path / "folder.json").mkdir()
    with caplog.at_level(logging.WARNING):
        assert loaded_versions(cache) == {"ocr": "v1"}
    assert [record.message for record in caplog.records] == ["stored schema ignored"] * 2


def test_a_folder_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    SchemaCache(tmp_path / "state").store("ocr", OLD_SCHEMA)
    assert [record.message for record in caplog.records] == ["schema not stored"]


def test_schema_files_override_remembered_schemas(tmp_path: Path) -> None:
    cache = SchemaCache(tmp_path)
    cache.store("ocr", OLD_SCHEMA)
    remembered = cache.load({}, 5.0)
    cache.store("ocr", NEW_SCHEMA)
    files = cache.load({}, 5.0)
    assert Catalog(files, {}, 5.0, remembered).require("ocr").service.version == "v2"
    assert Catalog([], {}, 5.0, remembered).require("ocr").service.version == "v1"


@pytest.mark.parametrize(("is_complete", "spec"), [(True, NO_SERVICE), (False, NO_INSTANCE)])
def test_an_unknown_service_may_exist_until_a_hub_is_reached(
    is_complete: bool, spec: object
) -> None:
    catalog = Catalog([], {}, 5.0)
    catalog.set_completeness(lambda: is_complete)
    with pytest.raises(AseError) as error_info:
        catalog.require("ocr")
    assert error_info.value.spec is spec
