"""The sets of files that `asectl init` writes. Pure.

The files are in the folders of this package. The sets for Kubernetes and Compose also have the
alerts and the dashboard of `observability`.
"""

from dataclasses import dataclass
from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class FileSet:
    """Some files, and what to do with them.

    `sources` has pairs of a file or folder in this package, and its path in the folder that is
    written. `next_steps` are the commands to try there.
    """

    sources: tuple[tuple[str, str], ...]
    next_steps: tuple[str, ...]


FILE_SETS = {
    "starter": FileSet(
        (("starter", ""),),
        (
            "asectl up wrapper.py                 a gateway and two loaders of wrapper.py",
            "asectl call words text='to be or not to be'",
        ),
    ),
    "compose": FileSet(
        (
            ("compose", ""),
            ("observability/alerts.yaml", "observability/alerts.yaml"),
            ("observability/grafana.json", "observability/grafana.json"),
        ),
        (
            "docker compose up -d                 a gateway and four loaders of the demo",
            "docker compose --profile kong --profile observability up -d",
        ),
    ),
    "helm": FileSet(
        (
            ("helm/athena-serving", "athena-serving"),
            ("observability/alerts.yaml", "athena-serving/files/alerts.yaml"),
            ("observability/grafana.json", "athena-serving/files/grafana.json"),
        ),
        ("helm install demo ./athena-serving   two gateways, two hubs and four loaders",),
    ),
    "systemd": FileSet(
        (("systemd", ""),),
        ("less README.md                       where the files belong",),
    ),
}


def list_files(file_set: FileSet, package: Traversable) -> dict[str, bytes]:
    """Return the content of each file of a set by its path in the folder that is written.

    `package` is the folder of this package.
    """
    files: dict[str, bytes] = {}
    for source, target in file_set.sources:
        files |= _read(package.joinpath(*source.split("/")), target)
    return files


def _read(source: Traversable, target: str) -> dict[str, bytes]:
    if source.is_file():
        return {target: source.read_bytes()}
    files: dict[str, bytes] = {}
    for child in source.iterdir():
        if child.name != "__pycache__":
            files |= _read(child, f"{target}/{child.name}" if target else child.name)
    return files
