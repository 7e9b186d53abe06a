"""The product as installed in production: a compiled wheel of this checkout.

`python -m bench.product` builds it if necessary and prints the folder.
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
_FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.py")
_PACKAGES = ("aseloader", "asectl", "atom", "config", "deploy", "gateway", "lb", "rpc", "schemas")


def ensure_installed() -> Path:
    """Return the folder with the compiled product, to be put first on PYTHONPATH.

    The folder is named by a digest of the sources. If it is missing, the product is built there;
    this takes two minutes, needs a C compiler and deletes the earlier builds. Raises
    CalledProcessError if the build fails; the output of pip goes to stderr.
    """
    folder = ROOT / "build" / "compiled" / _digest()
    with (ROOT / "setup.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a concurrent caller waits for this build
        _build_if_missing(folder)
    return folder


def _build_if_missing(folder: Path) -> None:
    if folder.exists():
        return
    print("compiling the product; this takes two minutes, once", file=sys.stderr)
    shutil.rmtree(ROOT / "build" / "compiled", ignore_errors=True)
    part = folder.with_name("part")
    with tempfile.TemporaryDirectory() as source:  # nothing else builds in it at the same time
        _copy_sources(Path(source))
        args = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", str(part), source]
        env = {**os.environ, "ASE_COMPILE": "1"}
        subprocess.run([sys.executable, *args], env=env, check=True, stdout=sys.stderr)
    part.rename(folder)


def _copy_sources(target: Path) -> None:
    for name in _FILES:
        shutil.copy(ROOT / name, target)
    for package in _PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, target / package, ignore=ignored)


def import_environment(folder: Path) -> dict[str, str]:
    """Return environment variables that make Python import the product from `folder`.

    PYTHONSAFEPATH keeps the current directory, which is the checkout, out of `sys.path`.
    """
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


def _digest() -> str:
    sha256 = hashlib.sha256()
    files = [ROOT / "setup.py", ROOT / "pyproject.toml"]
    files += [file for package in _PACKAGES for file in (ROOT / package).rglob("*.py")]
    for file in sorted(files):
        sha256.update(f"{file.relative_to(ROOT)} {file.stat().st_size}\n".encode())
        sha256.update(file.read_bytes())
    return sha256.hexdigest()[:16]


if __name__ == "__main__":
    print(ensure_installed())
