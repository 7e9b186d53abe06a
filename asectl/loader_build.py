"""`asectl loader build`: the folder of an image of a Wrapper, and the image where that is possible.

The folder has the Wrapper's files, the Dockerfile, the versions of its packages, and the SDK as a
wheel if this is a checkout; so the image is built without this machine.
"""

import argparse
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from asectl.containers import BUILDERS, find_builder
from asectl.loader_dockerfile import DEFAULT_BASE, render_dockerfile
from asectl.main import EXIT_FAILED, EXIT_USAGE, Failure

_IGNORED = shutil.ignore_patterns(
    "__pycache__", "*.pyc", ".*", "dist", "build", "*.egg-info", "image"
)
# What a lock leaves out: the tools that install, and ourselves.
_NOT_LOCKED = frozenset({"pip", "setuptools", "wheel", "athena-serving"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrapper", metavar="FILE:Class", help="the Wrapper to serve")
    parser.add_argument("-o", "--output", default="image", help="the folder (image)")
    parser.add_argument("-t", "--tag", default="", help="the image's name (that of the file)")
    parser.add_argument("--base", default=DEFAULT_BASE, help=f"the base image ({DEFAULT_BASE})")
    parser.add_argument("--no-image", action="store_true", help="write the folder alone")
    parser.add_argument("--builder", choices=BUILDERS, help="(the first that works here)")
    parser.add_argument("--force", action="store_true", help="write over the folder")


def run(args: argparse.Namespace) -> int:
    """Write the folder and build the image. Raises Failure."""
    file, separator, class_name = args.wrapper.partition(":")
    path, folder = Path(file), Path(args.output)
    if not path.is_file():
        raise Failure(f"{file}: no such file; give FILE:Class", EXIT_USAGE)
    locked = _locked(path.parent)
    if folder.exists():
        if not args.force:
            raise Failure(f"{folder}: exists; --force writes over it")
        shutil.rmtree(folder)
    shutil.copytree(path.parent, folder, ignore=_IGNORED)
    wheel = _build_sdk_wheel(folder)
    lock = folder / "requirements.lock"
    lock.write_text("".join(f"{line}\n" for line in locked), encoding="utf-8")
    wrapper = f"{path.name}{separator}{class_name}"
    dockerfile = render_dockerfile(wrapper, wheel, lock.name, args.base)
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    print(f"{folder}: {', '.join(sorted(entry.name for entry in folder.iterdir()))}")
    tag = args.tag or path.stem.replace("_", "-").lower()
    builder = "" if args.no_image else args.builder or find_builder()
    if not builder:
        why = "" if args.no_image else "neither docker nor podman works here; "
        print(f"{why}build it: docker build -t {tag} {folder}")
        return 0
    # Podman's own format has no HEALTHCHECK.
    image_format = ["--format", "docker"] if builder == "podman" else []
    command = [builder, "build", *image_format, "-t", tag, str(folder)]
    if subprocess.run(command, check=False).returncode:  # noqa: S603 (its own command line)
        raise Failure(f"{' '.join(command)}: failed", EXIT_FAILED)
    print(f"image {tag}: {builder} run {tag} --lb GATEWAY:8220 --advertise NAME:8240")
    return 0


def _build_sdk_wheel(folder: Path) -> str:
    """Put the SDK of a checkout into the folder as a wheel; return its name.

    "" for an SDK that was installed: the image installs the same version. Raises Failure.
    """
    checkout = Path(__file__).parent.parent
    if not (checkout / "pyproject.toml").is_file():
        return ""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    result = subprocess.run(  # noqa: S603 (our own sources)
        [*command, str(checkout)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise Failure(f"the SDK of {checkout} could not be built:\n{result.stderr.strip()}")
    return next(folder.glob("athena_serving-*.whl")).name


def _locked(folder: Path) -> list[str]:
    """Return the versions of the packages that the Wrapper's requirements.txt names, as here."""
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        return []
    installed = {d.metadata["Name"].lower().replace("_", "-"): d for d in distributions()}
    names = [_package_name(line) for line in requirements.read_text("utf-8").splitlines()]
    wanted = [name.lower().replace("_", "-") for name in names if name]
    for name in wanted:
        if name not in installed:
            raise Failure(
                f"{requirements}: {name} is not installed here, so its version is not known: "
                f"pip install -r {requirements}"
            )
    locked: dict[str, str] = {}
    while wanted:
        name = wanted.pop()
        # A package that is not here is one that this platform does not need.
        if name in locked or name in _NOT_LOCKED or name not in installed:
            continue
        locked[name] = f"{name}=={installed[name].version}"
        required = installed[name].requires or []
        needed = [_package_name(text) for text in required if "extra ==" not in text]
        wanted += [name.lower().replace("_", "-") for name in needed]
    return sorted(locked.values())


def _package_name(line: str) -> str:
    text = line.partition("#")[0].strip()
    for index, character in enumerate(text):
        if not (character.isalnum() or character in "-_."):
            return text[:index]
    return text
