"""The product as installed in production: an sdist of this checkout, and its compiled wheel.

`python -m bench.product` builds them if necessary and prints the folder of the installed wheel.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
_FILES = ("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py")
_FOLDERS = (
    "aseloader", "asectl", "atom", "config", "deploy", "examples", "gateway", "lb", "registry",
    "rpc", "schemas",
)  # fmt: skip


def ensure_installed() -> Path:
    """Return the folder with the compiled product, to be put first on PYTHONPATH.

    If it is missing, the product is built as `ensure_built` does.
    """
    return ensure_built() / "site"


def ensure_built() -> Path:
    """Return a folder: `dist` has the sdist and the compiled wheel, `site` the wheel's files.

    The folder is named by a digest of the sources. If it is missing, the product is built there;
    this takes two to three minutes, needs a C compiler and deletes the earlier builds. The wheel is
    built of the sdist, so that neither lacks a file. Raises CalledProcessError if the build fails;
    its output goes to stderr.
    """
    folder = ROOT / "build" / "compiled" / _digest()
    with (ROOT / "setup.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a concurrent caller waits for this build
        _build_if_missing(folder)
    return folder


def _build_if_missing(folder: Path) -> None:
    if folder.exists():
        return
    print("compiling the product; this takes two to three minutes, once", file=sys.stderr)
    shutil.rmtree(ROOT / "build" / "compiled", ignore_errors=True)
    part = folder.with_name("part")
    with tempfile.TemporaryDirectory() as source:  # nothing else builds in it at the same time
        _copy_sources(Path(source))
        _run_module("build", "--outdir", str(part / "dist"), source)
    wheel = str(next(part.glob("dist/*.whl")))
    _run_module("pip", "install", "--quiet", "--no-deps", "--target", str(part / "site"), wheel)
    part.rename(folder)


def _run_module(module: str, *args: str) -> None:
    env = {**os.environ, "ASE_COMPILE": "1"}
    subprocess.run([sys.executable, "-m", module, *args], env=env, check=True, stdout=sys.stderr)


def _copy_sources(target: Path) -> None:
    for name in _FILES:
        shutil.copy(ROOT / name, target)
    for name in _FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, target / name, ignore=ignored)


def import_environment(folder: Path) -> dict[str, str]:
    """Return environment variables that make Python import the product from `folder`.

    PYTHONSAFEPATH keeps the current directory, which is the checkout, out of `sys.path`.
    """
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _digest() -> str:
    sha256 = hashlib.sha256()
    files = [ROOT / name for name in _FILES]
    files += [file for name in _FOLDERS for file in (ROOT / name).rglob("*") if file.is_file()]
    for file in sorted(file for file in files if "__pycache__" not in file.parts):
        sha256.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
        sha256.update(file.read_bytes())
    return sha256.hexdigest()[:16]


if __name__ == "__main__":
    print(ensure_installed())
