"""The folder of schema files: all of its errors at once, and nothing built twice."""

from pathlib import Path

import pytest

from aseloader import declare
from config.options import ServiceOptions
from gateway.services.schema_folder import SchemaFolderError, load_folder, schema_files
from tests.harness import ROOT
from tests.wrappers.probe import Probe
from tests.wrappers.talker import Talker

pytestmark = pytest.mark.sources_only  # it tests parts that are not compiled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b.json").write_bytes(declare.schema(Probe))
    (tmp_path / "a.json").write_bytes(declare.schema(Talker))
    (tmp_path / "README.md").write_text("no schema")
    return tmp_path


def test_schema_files_are_ordered_and_other_files_ignored(folder: Path) -> None:
    assert [path.name for path in schema_files(folder)] == ["a.json", "b.json"]


def test_hidden_files_are_ignored_and_a_byte_order_mark_too(folder: Path) -> None:
    (folder / "._b.json").write_bytes(b"\0\5\x16\7 the other half of a file of macOS")
    (folder / ".a.json.swp.yaml").write_text("{")
    (folder / "b.json").write_bytes(b"\xef\xbb\xbf" + declare.schema(Probe))
    yaml_text = (ROOT / "tests/golden/schemas/seed.yml").read_text(encoding="utf-8")
    (folder / "c.yml").write_text(yaml_text, encoding="utf-8-sig")
    services = {contract.service.id for contract in load_folder(folder, {}, 5.0)}
    assert services == {"talker", "probe", "image-detect"}


def test_contracts_have_the_options_of_their_service(folder: Path) -> None:
    options = {"probe": ServiceOptions(deadline=9.0)}
    contracts = load_folder(folder, options, 5.0)
    assert [(c.service.id, c.deadline, c.source) for c in contracts] == [
        ("talker", 5.0, "file"),
        ("probe", 9.0, "file"),
    ]


def test_unchanged_documents_are_not_built_again(folder: Path) -> None:
    first = load_folder(folder, {}, 5.0)
    (folder / "c.json").write_bytes((folder / "b.json").read_bytes())
    (folder / "b.json").unlink()
    again = load_folder(folder, {}, 5.0, first)
    assert [id(contract) for contract in again] == [id(contract) for contract in first]


def test_every_error_is_listed(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    (folder / "twin.json").write_bytes(declare.schema(Probe))
    (folder / "wrong.yaml").write_text("meta: {}\n")
    with pytest.raises(SchemaFolderError) as raised:
        load_folder(folder, {}, 5.0)
    message = str(raised.value)
    for part in ("broken.json", "wrong.yaml", "twin.json", f"'probe' is in {folder / 'b.json'}"):
        assert part in message


def test_missing_folder_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(SchemaFolderError, match=r"no such folder \(option schemas\)"):
        load_folder(tmp_path / "nowhere", {}, 5.0)
