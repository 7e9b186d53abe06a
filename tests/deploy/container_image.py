"""An image with this interpreter, the loader SDK and a wrapper, without a registry of images."""

import io
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from tests.harness import ROOT

_PACKAGES = ("aseloader", "asectl", "atom", "config", "lb", "registry", "rpc", "schemas")
_LEFT_OUT = re.compile(
    r"/(?:__pycache__|test|tests|idlelib|tkinter|ensurepip|site-packages|lib2to3|config-3[^/]*)(?:/|$)"
)


def build_image(podman: list[str], env: dict[str, str], tag: str, wrapper: str) -> None:
    """Make an image whose container serves `wrapper` (the text of wrapper.py) as a loader."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _fill(tar, wrapper)
    entry = [
        sys.executable, "-m", "asectl", "loader", "run", "/app/wrapper.py:shout",
        "--host", "0.0.0.0", "--port", "8240", "--metrics-port", "9240",
    ]  # fmt: skip
    words = ", ".join(f'"{word}"' for word in entry)
    changes = [f"ENTRYPOINT [{words}]", "ENV PYTHONPATH=/app:/packages", "WORKDIR /app"]
    flags = [word for change in changes for word in ("--change", change)]
    result = subprocess.run(
        [*podman, "import", "--quiet", *flags, "-", tag], input=buffer.getvalue(), check=False,
        capture_output=True, env=env,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr.decode()


def _fill(tar: tarfile.TarFile, wrapper: str) -> None:
    interpreter = Path(sys.executable)
    standard = Path(sys.base_prefix) / f"lib/python3.{sys.version_info.minor}"
    files = {path: str(path) for path in _walk(standard)}
    for package in _PACKAGES:
        for path in _walk(ROOT / package):
            files[path] = f"/app/{path.relative_to(ROOT)}"
    for dist in _closure("athena-serving"):
        for file in dist.files or []:
            path = Path(str(dist.locate_file(file)))
            if path.is_file() and ".." not in file.parts and path.suffix != ".pyc":
                files[path] = f"/packages/{file}"
    for name, value in (("wrapper.py", wrapper), ("tmp/.keep", "")):
        member = tarfile.TarInfo(f"app/{name}")
        member.size = len(value)
        tar.addfile(member, io.BytesIO(value.encode()))
    files[interpreter.resolve()] = str(interpreter)
    for library in _libraries([interpreter.resolve(), *(p for p in files if ".so" in p.name)]):
        files[library.resolve()] = str(library)
    for path, name in files.items():
        tar.add(path, name, recursive=False)


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not _LEFT_OUT.search(str(path.relative_to(folder.parent))):
            yield path


def _closure(name: str) -> list[Distribution]:
    """Return the packages that a package needs, without itself and without extras."""
    wanted, seen = [name], dict[str, Distribution]()
    while wanted:
        current = wanted.pop()
        if current in seen:
            continue
        try:
            seen[current] = distribution(current)
        except ModuleNotFoundError:
            continue
        required = seen[current].requires or []
        wanted += [re.split(r"[^A-Za-z0-9_.-]", r)[0] for r in required if "extra ==" not in r]
    return [dist for key, dist in seen.items() if key != name]


def _libraries(binaries: list[Path]) -> set[Path]:
    result = subprocess.run(
        ["ldd", *map(str, binaries)], capture_output=True, text=True, check=False
    )
    return {Path(match) for match in re.findall(r"(/\S+) \(0x", result.stdout)}
