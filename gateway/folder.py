"""The operator's schema files: all of a folder, read anew at each start and each reload."""

from collections.abc import Mapping
from pathlib import Path

from config.options import ServiceOptions
from config.source import ConfigError, Fault
from gateway import files
from gateway.contracts import Contract, build
from schemas.document import DocumentError


class FolderError(Exception):
    """Schema files that cannot be served; `str()` names each file and each problem in it."""


def load(folder: Path, services: Mapping[str, ServiceOptions], default: float) -> list[Contract]:
    """Return the contract of every schema file in a folder.

    Raises FolderError when the folder is not there, a file is not a schema, or two files declare
    the same service.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder (option schemas)")
    contracts: dict[str, tuple[Path, Contract]] = {}
    wrong: list[str] = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in files.SUFFIXES):
        try:
            contract = read(path, services, default)
        except (ConfigError, OSError) as error:
            wrong.append(str(error))
            continue
        other = contracts.get(contract.service.id)
        if other is not None:
            words = f"service {contract.service.id!r} is in {other[0]} too"
            wrong.append(str(ConfigError(str(path), [], [Fault(words)])))
        contracts[contract.service.id] = (path, contract)
    if wrong:
        raise FolderError("\n".join(wrong))
    return [contract for _, contract in contracts.values()]


def read(path: Path, services: Mapping[str, ServiceOptions], default: float) -> Contract:
    """Return the contract of one file. Raises OSError, or ConfigError with every fault."""
    text = files.read(path)
    try:
        return build(text, "file", services, default)
    except DocumentError as error:
        raise files.refused(path, error) from None
