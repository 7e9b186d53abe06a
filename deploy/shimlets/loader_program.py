"""How a wrapper of this host is started: its command, its environment, and what it needs."""

import sys
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Final

from deploy.shimlets.interface import TOKEN_VARIABLE, Workload
from deploy.shimlets.usage import Usage
from deploy.workloads.quantities import memory_text
from lb.credentials import HubCredentials

# Variables of the deployer that are none of a model's business: its keys among them.
_OWN_PREFIX: Final = "ASE_"


def find_wrapper_problem(workload: Workload, shimlet: str, models: Path) -> str:
    """Return why a wrapper can never run from the folder `models`, "" if it can."""
    file = workload.wrapper.partition(":")[0]
    if not workload.wrapper:
        return f"the shimlet {shimlet} needs `wrapper`: FILE or FILE:Class (it starts no images)"
    path = (models / file).resolve()
    if not path.is_relative_to(models.resolve()):
        return f"wrapper {file}: is not below {models}, the folder of deployer.models"
    if not path.is_file():
        return f"wrapper {file}: there is no such file below {models}"
    return ""


def loader_command(
    workload: Workload, host: str, port: str, credentials: HubCredentials
) -> list[str]:
    """Return the command of a replica that listens at `host` and `port`."""
    settings = [f"--set={key}={value}" for key, value in workload.config.items()]
    files = (("ca", credentials.ca), ("cert", credentials.cert), ("key", credentials.key))
    settings += [f"--lb-{name}={path}" for name, path in files if path]
    return [
        sys.executable, "-P", "-m", "asectl", "loader", "run", workload.wrapper,
        "--host", host, "--port", port, "--lb", workload.hubs, *settings,
    ]  # fmt: skip


def loader_environment(
    workload: Workload, own: Mapping[str, str], credentials: HubCredentials
) -> dict[str, str]:
    """Return the environment of a replica; `own` is that of the deployer."""
    env = {name: value for name, value in own.items() if not name.startswith(_OWN_PREFIX)}
    if credentials.token:
        env[TOKEN_VARIABLE] = credentials.token
    if workload.resources.cpu:
        # No limit of the kernel's: how many threads the libraries of models start.
        threads = str(max(ceil(workload.resources.cpu), 1))
        env |= {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    return env | dict(workload.env)


def describe_excess(usage: Usage, memory_limit: int) -> str:
    """Return why a replica has to end that uses more memory than its limit, "" if it need not."""
    if not memory_limit or usage.memory <= memory_limit:
        return ""
    return (
        f"used {memory_text(usage.memory // 2**20 * 2**20)} of memory, and "
        f"{memory_text(memory_limit)} are allowed (resourceRequirements.memory)"
    )
