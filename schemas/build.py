"""Compile `schemas/proto` to `ase.desc` and write `wire.pyi` (`make proto`). Needs grpcio-tools."""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from schemas import stubs

HERE = Path(__file__).parent


def compile_protos() -> bytes:
    """Return the serialized FileDescriptorSet of every `.proto` file below `schemas/proto`.

    Raises RuntimeError if protoc rejects a file; protoc writes its own message to stderr.
    """
    from grpc_tools import protoc

    root = HERE / "proto"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "ase.desc"
        sources = sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
        arguments = [
            "protoc",
            f"--proto_path={root}",
            f"--proto_path={files('grpc_tools') / '_proto'}",
            "--include_imports",
            f"--descriptor_set_out={out}",
            *sources,
        ]
        if protoc.main(arguments) != 0:
            raise RuntimeError("protoc refused the files above")
        return out.read_bytes()


def render_wire_stub() -> str:
    """Return the text of `wire.pyi` for the message classes that `wire.py` defines."""
    from schemas import wire

    classes: dict[str, Any] = {
        name: value.DESCRIPTOR
        for name, value in vars(wire).items()
        if isinstance(value, type) and issubclass(value, Message) and hasattr(value, "DESCRIPTOR")
    }
    del classes["FileDescriptorSet"], classes["Message"]
    return stubs.render_stub(classes)


def main() -> int:
    """Write `ase.desc` and `wire.pyi` next to this module and return exit status 0."""
    (HERE / "ase.desc").write_bytes(compile_protos())
    (HERE / "wire.pyi").write_text(render_wire_stub(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
