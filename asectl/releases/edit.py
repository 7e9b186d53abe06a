"""`asectl config edit`: change a file of a version in an editor, and keep it as a draft."""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from difflib import unified_diff
from pathlib import Path, PurePosixPath

from asectl.main import EXIT_FAILED, Failure
from asectl.releases.api import (
    RegistryApiClient,
    add_name_argument,
    add_registry_arguments,
    file_path,
    version_path,
)
from asectl.table import printable
from registry.names import ServiceVersion


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_name_argument(parser)
    parser.add_argument("file", metavar="FILE", help="the file in the registry")
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Open the file in $VISUAL or $EDITOR, show what changed, and put it into the draft.

    What the registry refuses is kept in a file, which the error names. Raises Failure.
    """
    client = RegistryApiClient.from_args(args)
    name = client.version(args.name)
    before, digest = _read(client, name, args.file)
    suffix = PurePosixPath(args.file).suffix
    with tempfile.NamedTemporaryFile("wb", suffix=suffix, prefix="asectl-", delete=False) as copy:
        copy.write(before)
    path = Path(copy.name)
    _open_editor(path)
    after = path.read_bytes()
    if after == before:
        path.unlink()
        print("nothing changed")
        return 0
    _print_diff(args.file, before, after)
    # Only if nobody else has changed it since.
    headers = {"if-match": f'"{digest}"'} if digest else {"if-none-match": "*"}
    try:
        client.request("PUT", file_path(name, args.file), content=after, headers=headers)
    except Failure as failure:
        message = f"{failure}\nyour text is in {path}; asectl config upload takes it from there"
        raise Failure(message, failure.code) from None
    path.unlink()
    print(f"in the draft of {name}; asectl config publish {name} releases it")
    return 0


def _read(client: RegistryApiClient, name: ServiceVersion, file: str) -> tuple[bytes, str]:
    """Return a file of the draft and its digest; nothing for one that does not exist."""
    versions = client.get("/v1/versions")["versions"]
    if str(name) not in {version["name"] for version in versions}:
        return b"", ""
    if file not in client.get(version_path(name))["files"]:
        return b"", ""
    response = client.request("GET", file_path(name, file))
    return response.content, response.headers["etag"].strip('"')


def _open_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode  # noqa: S603
    except OSError as error:
        message = f"{editor}: {error.strerror}; set EDITOR"
        raise Failure(message, EXIT_FAILED) from None
    if code:
        raise Failure(f"{editor} ended with {code}; your text is in {path}", EXIT_FAILED)


def _print_diff(file: str, before: bytes, after: bytes) -> None:
    old, new = (text.decode("utf-8", "replace").splitlines() for text in (before, after))
    lines = unified_diff(old, new, f"a/{file}", f"b/{file}", n=3, lineterm="")
    print(printable("\n".join(lines)), file=sys.stderr)
