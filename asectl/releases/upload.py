"""`asectl config upload`: put files into the draft of a version."""

import argparse
from pathlib import Path

from asectl.main import EXIT_USAGE, Failure
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    file_path,
)
from registry.records import MAX_FILE_BYTES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help="files, or folders of them")
    parser.add_argument("--as", dest="file_name", metavar="NAME", help="its name in the registry")
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Upload the files; they are no release before `asectl config publish`. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    files = [pair for path in map(Path, args.files) for pair in _named_files(path)]
    if args.file_name and len(files) != 1:
        raise Failure(f"--as names one file, not {len(files)}", EXIT_USAGE)
    for file, path in files:
        target = args.file_name or file
        answer = client.request("PUT", file_path(name, target), content=_read(path)).json()
        print(f"{target}: {answer['kind']}, {answer['size']} bytes, in the draft of {name}")
    print(f"asectl config diff {name} shows what changed; asectl config publish {name} releases it")
    return 0


def _named_files(path: Path) -> list[tuple[str, Path]]:
    """Return the files of a path with their names: relative to a folder, else the last part."""
    if not path.is_dir():
        return [(path.name, path)]
    return [
        (file.relative_to(path).as_posix(), file)
        for file in sorted(path.rglob("*"))
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
