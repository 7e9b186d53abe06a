"""The operator's schema files: all of one folder, read at each start and each reload."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from config.options import ServiceOptions
from config.source import ConfigError, Diagnostic
from gateway.services import schema_file
from gateway.services.catalog import Contract, build_contract
from schemas.model.document import DocumentError


class SchemaFolderError(Exception):
    """Invalid schema files; `str()` names each file and each of its errors."""


def schema_files(folder: Path) -> list[Path]:
    """Return the schema files (JSON, YAML) of a folder, ordered by name. Raises OSError.

    Hidden files are none: editors and macOS (`._x.yaml`) leave them beside those they copy.
    """
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in schema_file.SUFFIXES and not path.name.startswith(".")
    )


def load_folder(
    folder: Path,
    services: Mapping[str, ServiceOptions],
    default_deadline: float,
    reusable: Iterable[Contract] = (),
) -> list[Contract]:
    """Return the contract of every schema file in a folder.

    `reusable` are contracts that were built with the same options; one of them is used for a file
    with the same document. Raises SchemaFolderError if the folder does not exist, a file is not a
    valid schema, or two files declare the same service; it lists all of these errors. Raises
    OSError if the folder cannot be read.
    """
    if not folder.is_dir():
        raise SchemaFolderError(f"{folder}: no such folder (option schemas)")
    by_document = {
        contract.schema_document: contract for contract in reusable if contract.source == "file"
    }
    contracts_by_service: dict[str, tuple[Path, Contract]] = {}
    errors: list[str] = []
    for path in schema_files(folder):
        try:
            contract = load_file(path, services, default_deadline, by_document)
        except (ConfigError, OSError) as error:
            errors.append(str(error))
            continue
        earlier = contracts_by_service.get(contract.service.id)
        if earlier is not None:
            message = f"service {contract.service.id!r} is in {earlier[0]} too"
            errors.append(str(ConfigError(str(path), [], [Diagnostic(message)])))
        contracts_by_service[contract.service.id] = (path, contract)
    if errors:
        raise SchemaFolderError("\n".join(errors))
    return [contract for _, contract in contracts_by_service.values()]


def load_file(
    path: Path,
    services: Mapping[str, ServiceOptions],
    default_deadline: float,
    reusable: Mapping[bytes, Contract] | None = None,
) -> Contract:
    """Return the contract of one file, from `reusable` if its document is there.

    `reusable` maps canonical documents to contracts. Raises OSError, or ConfigError with all errors
    of the file.
    """
    schema_document = schema_file.read_schema(path)
    if reusable and schema_document in reusable:
        return reusable[schema_document]
    try:
        return build_contract(schema_document, "file", services, default_deadline)
    except DocumentError as error:
        raise schema_file.to_config_error(path, error) from None
