"""`asectl api create`: a declaration in YAML or Python becomes `schemas/schema_<id>.json`."""

import argparse
import json
from pathlib import Path

from asectl.api import sources
from asectl.main import EXIT_FAILED, Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "-f", "--file", required=True, help="ai_api.yml (kind: ApiSchema), or a Python file"
    )
    parser.add_argument("-o", "--output", default="schemas", help="the folder (%(default)s)")
    parser.add_argument("--force", action="store_true", help="write over a file that differs")


def run(told: argparse.Namespace) -> int:
    """Write the document; say where."""
    if not Path(told.file).is_file():
        raise Failure(f"{told.file}: no such file", EXIT_FAILED)
    contract = sources.contract(told.file)
    service = contract.service.id
    path = Path(told.output) / f"schema_{service}.json"
    text = json.dumps(json.loads(contract.schema_document), ensure_ascii=False, indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        print(f"{path} is as it should be")
        return 0
    if path.exists() and not told.force:
        words = f"{path} is there and differs: `asectl api diff {path} {told.file}` tells how"
        raise Failure(f"{words}; --force writes over it")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".json.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
    print(f"{path}: service {service}, digest {contract.digest[:12]}")
    print(f"next: `schemas: {told.output}` in ase.yaml, and `asectl api example {service}`")
    return 0
