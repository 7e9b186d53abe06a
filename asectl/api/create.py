"""`asectl api create`: write `schemas/schema_<id>.json` from a declaration in YAML or Python."""

import argparse
import json
from pathlib import Path

from asectl.api import sources
from asectl.main import EXIT_FAILED, Failure
from asectl.releases.api import RegistryApiClient, add_registry_arguments
from asectl.releases.push import push_schema, schema_version, wants_push


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "-f", "--file", required=True, help="ai_api.yml (kind: ApiSchema), or a Python file"
    )
    parser.add_argument("-o", "--output", default="schemas", help="the folder (%(default)s)")
    parser.add_argument(
        "--push",
        action=argparse.BooleanOptionalAction,
        help="put it into the registry, as a draft; else you are asked at a terminal",
    )
    add_registry_arguments(parser)
    parser.add_argument("--force", action="store_true", help="write over a file that differs")


def run(args: argparse.Namespace) -> int:
    """Write the schema document and print its path.

    The file is replaced atomically. Raises Failure if it exists with other content and `--force`
    is not set.
    """
    if not Path(args.file).is_file():
        raise Failure(f"{args.file}: no such file", EXIT_FAILED)
    contract = sources.load_contract(args.file)
    service = contract.service.id
    path = Path(args.output) / f"schema_{service}.json"
    text = json.dumps(json.loads(contract.schema_document), ensure_ascii=False, indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        print(f"{path} is as it should be")
        return _offer_push(args, path, service)
    if path.exists() and not args.force:
        message = f"{path} is there and differs: `asectl api diff {path} {args.file}` shows how"
        raise Failure(f"{message}; --force writes over it")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary_path = path.with_suffix(".json.new")
    temporary_path.write_text(text, encoding="utf-8")
    temporary_path.replace(path)
    print(f"{path}: service {service}, digest {contract.digest[:12]}")
    print(f"next: `schemas: {args.output}` in ase.yaml, and `asectl api example {service}`")
    return _offer_push(args, path, service)


def _offer_push(args: argparse.Namespace, path: Path, service: str) -> int:
    """Put the document into the registry if that is wanted. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = schema_version(client, Path(args.file), service)
    if wants_push(args, name, client.url):
        push_schema(client, name, path)
    return 0
