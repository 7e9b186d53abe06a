"""`asectl setup`: keep where the registry is, our key, and our project, group and region."""

import argparse
import os
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

from asectl.main import EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from asectl.releases.profile import VARIABLE_PREFIX, RegistryProfile, profile_path
from asectl.table import align
from registry.names import InvalidNameError, check_part

_HELP = {
    "url": "the HTTP API of the registry",
    "deployer": "the URL of the deployer",
    "ca": "certificates (PEM) to trust for https",
    "project": "our project",
    "group": "our group",
    "version": "the version that commands mean if they name none",
    "region": "our region",
}
_NAMES = ("project", "group", "version", "region")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    for name, text in _HELP.items():
        parser.add_argument(f"--{name}", help=text)
    parser.add_argument("--key-file", metavar="FILE", help="a file with our key; - for stdin")
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write the settings that are given, and print them all. Raises Failure."""
    # What is kept is what is in the file, without what the environment says above it.
    names = {f"{VARIABLE_PREFIX}{field.name.upper()}" for field in fields(RegistryProfile)}
    environ = {name: text for name, text in os.environ.items() if name not in names}
    profile = RegistryProfile.load(environ)
    changes = {name: getattr(args, name) for name in _HELP if getattr(args, name) is not None}
    if args.key_file is not None:
        changes["key"] = _read_key(args.key_file)
    _check(changes)
    if changes:
        profile = replace(profile, **changes)
        path = profile.save(os.environ)
        print(f"written to {path}, which only you can read", file=sys.stderr)
    shown = {**asdict(profile), "key": "********" if profile.key else ""}
    shown["file"] = str(profile_path(os.environ))
    print_output(args.output, shown, align([[name, value] for name, value in shown.items()]))
    return 0


def _check(changes: dict[str, str]) -> None:
    for name in ("url", "deployer"):
        url = changes.get(name)
        if url is not None and not url.startswith(("http://", "https://")):
            raise Failure(f"--{name} {url}: must begin with http:// or https://", EXIT_USAGE)
    for name in _NAMES:
        try:
            if changes.get(name):
                check_part(changes[name], name)
        except InvalidNameError as error:
            raise Failure(f"--{name}: {error}", EXIT_USAGE) from None


def _read_key(file: str) -> str:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"--key-file: {error}", EXIT_USAGE) from None
    key = text.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise Failure("--key-file: it has characters that no key has", EXIT_USAGE)
    return key
