"""The operator's schema documents: every `*.json` of a folder, read once at the start."""

from collections.abc import Mapping
from pathlib import Path

from config.options import ServiceOptions
from gateway.contracts import Contract, build
from schemas import document
from schemas.document import DocumentError


class FolderError(Exception):
    """Schema files that cannot be served; `str()` names each file and each problem in it."""


def load(folder: Path, services: Mapping[str, ServiceOptions], default: float) -> list[Contract]:
    """Return the contract of every schema document in a folder.

    Raises FolderError when the folder is not there, a file is not a schema document, or two files
    declare the same service.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder (option schemas)")
    contracts: dict[str, tuple[Path, Contract]] = {}
    wrong: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            text = document.canonical(document.parse(path.read_bytes()))
            contract = build(text, "file", services, default)
        except (DocumentError, OSError) as error:
            problems = getattr(error, "problems", (error,))
            wrong += [f"{path}: error: {problem}" for problem in problems]
            continue
        other = contracts.get(contract.service.id)
        if other is not None:
            wrong.append(f"{path}: error: service {contract.service.id!r} is in {other[0]} too")
        contracts[contract.service.id] = (path, contract)
    if wrong:
        raise FolderError("\n".join(wrong))
    return [contract for _, contract in contracts.values()]
