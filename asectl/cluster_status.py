"""`asectl cluster status`: every component that is registered, and whether it answers."""

import argparse
import asyncio
from typing import Any

import httpx

from asectl.output import add_output_argument, print_output
from asectl.progress import progress
from asectl.releases.api import RegistryApiClient, add_registry_arguments
from asectl.table import align
from atom.grpc_health import check_health

_EXIT_PARTIAL = 5
_TIMEOUT_S = 2.0
_COMPONENTS = {
    "http": "gateway",
    "https": "gateway",
    "ase-hub": "lb",
    "ase-inner-hub": "lb in a gateway",
    "ase": "loader",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    add_registry_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table; return 0 if all answer, 5 if one does not. Raises Failure."""
    client = RegistryApiClient.from_args(args)
    registry = _describe_registry(client)
    providers = client.get("/v1/providers")["providers"]
    consumers = client.get("/v1/consumers")["consumers"]
    with progress(lambda: "waiting for the components"):
        answers = asyncio.run(_ask_all(providers))
    outcomes = {c["subscription"]["address"]: c["outcome"] for c in consumers}
    rows = [registry]
    for provider, answer in zip(providers, answers, strict=True):
        component = _COMPONENTS.get(provider["protocol"], provider["protocol"])
        rows.append(
            {
                "component": component,
                "version": provider["name"],
                "address": provider["address"],
                "state": provider["state"],
                "answers": answer,
                "config": outcomes.get(provider["address"], "-"),
            }
        )
    lines = align([[*map(str.upper, registry)], *([*map(str, row.values())] for row in rows)])
    print_output(args.output, rows, lines)
    return 0 if all(row["answers"] == "yes" for row in rows) else _EXIT_PARTIAL


def _describe_registry(client: RegistryApiClient) -> dict[str, Any]:
    """Return the row of the registry; the store may be away while it answers."""
    problem = client.readiness()
    return {
        "component": "registry",
        "version": "-",
        "address": client.url,
        "state": "online",
        "answers": problem or "yes",
        "config": "-",
    }


async def _ask_all(providers: list[dict[str, Any]]) -> list[str]:
    return await asyncio.gather(*(_ask(provider) for provider in providers))


async def _ask(provider: dict[str, Any]) -> str:
    """Return "yes" if a component serves, else why not."""
    address, protocol = provider["address"], provider["protocol"]
    if protocol in ("http", "https"):
        return await _ask_http(f"{protocol}://{address}")
    if protocol == "ase":
        return await check_health(address, _TIMEOUT_S) or "yes"
    return await _connect(address)


async def _ask_http(url: str) -> str:
    # Its certificate may name another host than the address that is registered.
    try:
        async with httpx.AsyncClient(
            timeout=_TIMEOUT_S,
            trust_env=False,
            verify=False,  # noqa: S501 (nothing is sent, and the answer is only shown)
        ) as client:
            response = await client.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    return "yes" if response.status_code == 200 else f"not ready ({response.status_code})"


async def _connect(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as error:
        return str(error) or "no answer"
    writer.close()
    return "yes"
