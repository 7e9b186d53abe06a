"""A model that is switched under open-loop load, by a real deployer: what is lost, and how late.

Phases in which the deployer replaces all replicas again and again alternate with phases without.
"""

import asyncio
import contextlib
import itertools
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

from bench import arms, product
from bench.arms import Arm, BenchContext
from bench.latency import http_connector, open_loop
from bench.machine import pin
from bench.reload import aggregate_rounds, format_phases, measure_load
from bench.workload import RequestSpec

_WRAPPER: Final = '''\
from aseloader import service


@service("rollout", total=64)
async def echo(text: str) -> str:
    """Return the text."""
    return text
'''
_ID: Final = "rollout"
_TIMEOUT_S: Final = 60.0


def run(rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"rate", "rollouts", "still": {...}, "switching": {...}}, as `bench reload`.

    `rollouts` is the number of revisions that replaced another one. Raises RuntimeError if the
    gateway or the deployer does not start, or a rollout fails.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        arm, deployer = _start(context)
        pin(arms.LOAD_CORE)
        return {"rate": rate, **uvloop.run(_run_rounds(arm, deployer, rate, rounds, seconds))}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per phase."""
    title = f"{result['rate']} requests/s, open-loop; {result['rollouts']} rollouts"
    return format_phases(title, result, ("still", "switching"))


class _Deployer:
    """A client of the deployer that was started. Every method raises RuntimeError."""

    def __init__(self, api: str) -> None:
        self._api = f"{api}/api/v1/modserv"
        self._versions = itertools.count(1)
        self.rollouts = 0

    async def switch(self) -> None:
        """Have the next version of the model in the place of this one."""
        version = next(self._versions)
        spec = {
            "serviceId": _ID,
            "wrapper": "wrapper.py:echo",
            "replicaCount": 2,
            "config": {"version": str(version)},
        }
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client:
            if version == 1:
                response = await client.post(f"{self._api}/deploy", json=spec)
            else:
                response = await client.put(f"{self._api}/{_ID}", json=spec)
                self.rollouts += 1
            if not response.is_success:
                raise RuntimeError(response.text)
            await self._wait_status(client, "running")

    async def delete(self) -> None:
        """End the deployment, and its loaders with it."""
        async with httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S) as client:
            await client.delete(f"{self._api}/{_ID}")
            await self._wait_status(client, "terminated")

    async def _wait_status(self, client: httpx.AsyncClient, wanted: str) -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                shown = (await client.get(f"{self._api}/{_ID}")).json()["data"]
                if shown["isObserved"] and shown["status"] == wanted:
                    return
                if shown["isObserved"] and shown["status"] == "failed":
                    raise RuntimeError(f"the rollout has failed: {shown['reason']}")
                await asyncio.sleep(0.1)


def _start(context: BenchContext) -> tuple[Arm, _Deployer]:
    """Start a gateway, and a deployer of loaders that report to it."""
    folder = context.folder
    (folder / "wrapper.py").write_text(_WRAPPER, encoding="utf-8")
    env = product.import_environment(product.ensure_installed())
    args = ["gateway", "--gateway-port", "0", "--lb-port", "0", "--gateway-admin-port", "0"]
    args += ["--lb-accept-schemas", "true"]
    log = folder / "gateway.log"
    process = arms.start_asectl(context, arms.ARM_CORE, args, log, env)
    endpoints = arms.wait_for_log_record(log, "listening")
    config = folder / "ase.yaml"
    config.write_text("deployer: {resync: 2}\n", encoding="utf-8")
    args = ["deployer", "--config", str(config), "--port", "0"]
    args += ["--deployer-hubs", endpoints["lb"], "--deployer-gateway", endpoints["gateway"]]
    log = folder / "deployer.log"
    arms.start_asectl(context, arms.LOAD_CORE, args, log, env)
    api = arms.wait_for_log_record(log, "listening")["api"]
    return Arm("ours", process.pid, endpoints["gateway"], _request()), _Deployer(api)


def _request() -> RequestSpec:
    body = json.dumps({"text": "hello"}).encode()
    return RequestSpec(f"/v1/{_ID}", body, "application/json", b"hello")


async def _run_rounds(
    arm: Arm, deployer: _Deployer, rate: int, rounds: int, seconds: int
) -> dict[str, Any]:
    await deployer.switch()
    try:
        send, lost_count = await http_connector(arm)(), [0]

        async def send_counting_losses() -> None:
            try:
                await send()
            except RuntimeError:
                lost_count[0] += 1

        by_phase: dict[str, list[dict[str, float]]] = {"still": [], "switching": []}
        await open_loop(send_counting_losses, rate, 2)  # warm-up
        for _ in range(rounds):
            figures = await measure_load(send_counting_losses, lost_count, rate, seconds)
            by_phase["still"].append(figures)
            switching = asyncio.ensure_future(_switch_always(deployer))
            figures = await measure_load(send_counting_losses, lost_count, rate, seconds)
            by_phase["switching"].append(figures)
            switching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await switching
        result = {name: aggregate_rounds(figures) for name, figures in by_phase.items()}
        return {"rollouts": deployer.rollouts, **result}
    finally:
        await deployer.delete()


async def _switch_always(deployer: _Deployer) -> None:
    while True:
        await deployer.switch()
