"""`asectl loader dockerfile`: print a Dockerfile for a Wrapper."""

import argparse
from importlib.metadata import version
from pathlib import Path

from asectl.main import EXIT_USAGE, Failure

DEFAULT_BASE = "python:3.12-slim"
_TEMPLATE = """\
# A loader of {wrapper}. Build it in the folder of {file}: docker build -t {name} .
# Run it in the network of a gateway: docker run {name} --lb GATEWAY:8220 --advertise NAME:8240
FROM {base}
RUN useradd --system --uid 10001 --create-home ase
WORKDIR /app
{install}{requirements}COPY . .
USER 10001
ENV PYTHONUNBUFFERED=1
EXPOSE 8240 9240
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s \\
    CMD ["asectl", "healthcheck", "--loader", "127.0.0.1:8240"]
ENTRYPOINT ["asectl", "loader", "run", "{wrapper}", "--host", "0.0.0.0", "--port", "8240", \\
    "--metrics-port", "9240"]
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrapper", metavar="FILE:Class", help="the Wrapper to serve")


def run(args: argparse.Namespace) -> int:
    """Print the file. Raises Failure (exit code 2) if the Wrapper's file does not exist.

    Packages of a `requirements.txt` beside it are installed first, so that a change of the source
    does not install them again.
    """
    file, separator, class_name = args.wrapper.partition(":")
    path = Path(file)
    if not path.is_file():
        raise Failure(f"{file}: no such file; give FILE:Class", EXIT_USAGE)
    has_requirements = (path.parent / "requirements.txt").is_file()
    requirements = "requirements.txt" if has_requirements else ""
    print(render_dockerfile(f"{path.name}{separator}{class_name}", "", requirements), end="")
    return 0


def render_dockerfile(wrapper: str, wheel: str, requirements: str, base: str = DEFAULT_BASE) -> str:
    """Return the text of a Dockerfile for a Wrapper (FILE:Class) in the folder of the file.

    `wheel` is a file there with the SDK, "" to install its version from the package index.
    `requirements` is a file there with packages, or "".
    """
    file = wrapper.partition(":")[0]
    copy = f"COPY {wheel} .\n" if wheel else ""
    source = f"./{wheel}" if wheel else f"'athena-serving=={version('athena-serving')}'"
    packages = ""
    if requirements:
        packages = f"COPY {requirements} .\nRUN pip install --no-cache-dir -r {requirements}\n"
    return _TEMPLATE.format(
        base=base,
        wrapper=wrapper,
        file=file,
        name=Path(file).stem.replace("_", "-").lower(),
        install=f"{copy}RUN pip install --no-cache-dir {source}\n",
        requirements=packages,
    )
