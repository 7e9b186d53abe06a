"""What `asectl setup` keeps: where the registry is, our key, and the names that are left out."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Self

from asectl.main import EXIT_CONFIG, Failure

_FILE: Final = "asectl/settings.json"
VARIABLE_PREFIX: Final = "ASECTL_"


@dataclass(frozen=True, slots=True)
class RegistryProfile:
    """Settings of one user; each may be set by a variable such as ASECTL_URL too.

    `url` is the HTTP API of a registry, `key` what it asks for, `ca` a file of its CA. `deployer`
    is the URL of a deployer, which takes the same key. `region` is
    the label of gray releases that `--region` stands for.
    """

    url: str = "http://127.0.0.1:8231"
    key: str = ""
    ca: str = ""
    deployer: str = "http://127.0.0.1:8250"
    project: str = "default"
    group: str = "default"
    version: str = "1.0.0"
    region: str = ""

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings of the file, and of the environment above it. Raises Failure."""
        path = profile_path(environ)
        values: dict[str, str] = {}
        if path.is_file():
            try:
                tree = json.loads(path.read_text("utf-8"))
                names = {field.name for field in fields(cls)}
                values = {k: str(v) for k, v in tree.items() if k in names}
            except (OSError, ValueError, AttributeError) as error:
                raise Failure(f"{path}: {error}; asectl setup writes it", EXIT_CONFIG) from None
        for field in fields(cls):
            text = environ.get(VARIABLE_PREFIX + field.name.upper())
            if text:
                values[field.name] = text
        return cls(**values)

    def save(self, environ: Mapping[str, str]) -> Path:
        """Write the file, which only its owner may read, and return its path. Raises Failure."""
        path = profile_path(environ)
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=2)
            part.replace(path)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        return path


def profile_path(environ: Mapping[str, str]) -> Path:
    """Return the file of the settings (XDG Base Directory Specification)."""
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")) / ".config")
    return Path(home).expanduser() / _FILE
