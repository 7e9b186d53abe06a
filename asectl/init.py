"""`asectl init`: write the files to begin with, for a machine, Compose, Helm or systemd."""

import argparse
from importlib import resources
from pathlib import Path

from asectl.main import EXIT_USAGE, Failure
from deploy.file_sets import FILE_SETS, list_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("folder", nargs="?", default=".", metavar="DIR", help="where (.)")
    sets = parser.add_mutually_exclusive_group()
    for name, description in (
        ("starter", "ase.yaml and a Wrapper to change (the default)"),
        ("compose", "a compose.yaml: gateway, loaders, and by profiles Kong, Prometheus, Grafana"),
        ("helm", "a Helm chart"),
        ("systemd", "units of gateway, hub and loaders"),
    ):
        sets.add_argument(
            f"--{name}", dest="set", action="store_const", const=name, help=description
        )
    parser.set_defaults(set="starter")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their names.

    Raises Failure (exit code 2) if one of them exists; then nothing is written. Raises OSError.
    """
    folder = Path(args.folder)
    file_set = FILE_SETS[args.set]
    files = list_files(file_set, resources.files("deploy"))
    existing = [name for name in sorted(files) if (folder / name).exists()]
    if existing:
        verb = "exists" if len(existing) == 1 else "exist"
        raise Failure(
            f"{', '.join(existing)} {verb} in {folder}, and nothing was written: name another "
            "folder, or move them away",
            EXIT_USAGE,
        )
    for name, content in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
        print(path)
    print(f"\nNext{'' if args.folder == '.' else f', in {folder}'}:")
    for step in file_set.next_steps:
        print(f"  {step}")
    return 0
