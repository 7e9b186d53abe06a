"""An environment of packages for each server of the bench, made once, with the newest versions."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / ".bench-servers"
# What each server's documentation tells users to install.
PACKAGES = {
    "ours": ("scikit-learn",),
    "fastapi": ("fastapi", "uvicorn[standard]", "scikit-learn"),
    "litserve": ("litserve", "scikit-learn"),
    "bentoml": ("bentoml", "scikit-learn"),
    "mlserver": ("mlserver", "scikit-learn"),
    "ray": ("ray[serve]", "scikit-learn"),
}
_INSTALL_TIMEOUT_S = 900


class InstallError(Exception):
    """An environment that cannot be made. `str()` has the last line of pip."""


def ensure_environment(name: str) -> Path:
    """Return the folder of a server's virtual environment, made if it is missing or outdated.

    Raises InstallError if pip fails.
    """
    folder = FOLDER / name
    digest_file = folder / "digest"
    digest = hashlib.sha256(repr((PACKAGES[name], sys.version)).encode()).hexdigest()
    if digest_file.exists() and digest_file.read_text(encoding="utf-8") == digest:
        return folder
    print(f"installing {', '.join(PACKAGES[name])}; once", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES[name]]
    result = subprocess.run(
        pip, capture_output=True, text=True, check=False, timeout=_INSTALL_TIMEOUT_S
    )
    if result.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        raise InstallError(result.stderr.strip().rpartition("\n")[2])
    digest_file.write_text(digest, encoding="utf-8")
    return folder


def installed_versions(folder: Path) -> dict[str, str]:
    """Return the versions of the packages in an environment, by name in lower case."""
    pip = [str(folder / "bin" / "python"), "-m", "pip", "list", "--format", "json"]
    text = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    return {package["name"].lower(): package["version"] for package in json.loads(text)}
