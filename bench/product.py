"""The product as it is installed where it has to be fast: a wheel of this checkout, compiled.

`python -m bench.product` builds it where it is not built yet, and prints the folder.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PACKAGES = ("aseloader", "asectl", "atom", "config", "deploy", "gateway", "lb", "rpc", "schemas")


def ensure_installed() -> Path:
    """Return the folder to put first on PYTHONPATH; building takes a minute, and a C compiler.

    A folder is kept for each state of the sources. Raises CalledProcessError with what was said.
    """
    folder = ROOT / "build" / "compiled" / _digest()
    with (ROOT / "setup.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits for the first
        _build_if_missing(folder)
    return folder


def _build_if_missing(folder: Path) -> None:
    if not folder.exists():
        print("compiling the product; this takes a minute, once", file=sys.stderr)
        # A wheel would take in what is left there.
        shutil.rmtree(ROOT / "build", ignore_errors=True)
        partial_folder = folder.with_name("part")
        args = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(partial_folder),
            str(ROOT),
        ]
        env = {**os.environ, "ASE_COMPILE": "1"}
        subprocess.run([sys.executable, *args], env=env, check=True, stdout=sys.stderr)
        partial_folder.rename(folder)


def import_environment(folder: Path) -> dict[str, str]:
    """Return what makes Python import from a folder, and not from the checkout it runs in."""
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
