"""The operator's schema files: all of a folder, read anew at each start and each reload."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from config.options import ServiceOptions
from config.source import ConfigError, Diagnostic
from gateway import files
from gateway.contracts import Contract, build
from schemas.document import DocumentError


class FolderError(Exception):
    """Schema files that cannot be served; `str()` names each file and each problem in it."""


def files_of(folder: Path) -> list[Path]:
    """Return the schema files of a folder, by name. Raises OSError."""
    return sorted(path for path in folder.iterdir() if path.suffix in files.SUFFIXES)


def load(
    folder: Path,
    services: Mapping[str, ServiceOptions],
    default: float,
    known: Iterable[Contract] = (),
) -> list[Contract]:
    """Return the contract of every schema file in a folder.

    One of `known`, made by the same options, stands for a file that says the same. Raises
    FolderError when the folder is not there, a file is no schema, or two declare the same service.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder (option schemas)")
    made = {contract.text: contract for contract in known if contract.source == "file"}
    contracts: dict[str, tuple[Path, Contract]] = {}
    wrong: list[str] = []
    for path in files_of(folder):
        try:
            contract = read(path, services, default, made)
        except (ConfigError, OSError) as error:
            wrong.append(str(error))
            continue
        other = contracts.get(contract.service.id)
        if other is not None:
            words = f"service {contract.service.id!r} is in {other[0]} too"
            wrong.append(str(ConfigError(str(path), [], [Diagnostic(words)])))
        contracts[contract.service.id] = (path, contract)
    if wrong:
        raise FolderError("\n".join(wrong))
    return [contract for _, contract in contracts.values()]


def read(
    path: Path,
    services: Mapping[str, ServiceOptions],
    default: float,
    known: Mapping[bytes, Contract] | None = None,
) -> Contract:
    """Return the contract of one file, one of `known` where that has the same document.

    Raises OSError, or ConfigError with every fault.
    """
    text = files.read(path)
    if known and text in known:
        return known[text]
    try:
        return build(text, "file", services, default)
    except DocumentError as error:
        raise files.refused(path, error) from None
