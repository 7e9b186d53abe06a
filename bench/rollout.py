"""A model that is switched under open-loop load, by a real deployer: what is lost, and how late.

Phases in which the deployer replaces all replicas again and again alternate with phases without.
"""

import asyncio
import contextlib
import itertools
import tempfile
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import arms, deployer
from bench.arms import Arm, BenchContext
from bench.deployer import BenchDeployer
from bench.latency import http_connector, open_loop
from bench.machine import pin
from bench.reload import aggregate_rounds, format_phases, measure_load

_WRAPPER: Final = '''\
from aseloader import service


@service("rollout", total=64)
async def echo(text: str) -> str:
    """Return the text."""
    return text
'''
_ID: Final = "rollout"


def run(rate: int, rounds: int, seconds: int) -> dict[str, Any]:
    """Return {"rate", "rollouts", "still": {...}, "switching": {...}}, as `bench reload`.

    `rollouts` is the number of revisions that replaced another one. Raises RuntimeError if the
    gateway or the deployer does not start, or a rollout fails.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        context = BenchContext(folder, 0, stack)
        arm, model_deployer = deployer.start(context, _WRAPPER, _ID)
        switcher = _Switcher(model_deployer)
        pin(arms.LOAD_CORE)
        return {"rate": rate, **uvloop.run(_run_rounds(arm, switcher, rate, rounds, seconds))}


def format_table(result: dict[str, Any]) -> str:
    """Return the figures as text, one line per phase."""
    title = f"{result['rate']} requests/s, open-loop; {result['rollouts']} rollouts"
    return format_phases(title, result, ("still", "switching"))


class _Switcher:
    """Replaces the model by another version of it. Every method raises RuntimeError."""

    def __init__(self, model_deployer: BenchDeployer) -> None:
        self._deployer = model_deployer
        self._versions = itertools.count(0)
        self.rollouts = 0

    async def switch(self) -> None:
        """Have the next version of the model in the place of this one."""
        self.rollouts = next(self._versions)
        spec = {
            "serviceId": _ID,
            "wrapper": f"{deployer.WRAPPER_FILE}:echo",
            "replicaCount": 2,
            "config": {"version": str(self.rollouts)},
        }
        await self._deployer.deploy(spec)

    async def delete(self) -> None:
        """End the deployment, and its loaders with it."""
        await self._deployer.delete(_ID)


async def _run_rounds(
    arm: Arm, switcher: _Switcher, rate: int, rounds: int, seconds: int
) -> dict[str, Any]:
    await switcher.switch()
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
            switching = asyncio.ensure_future(_switch_always(switcher))
            figures = await measure_load(send_counting_losses, lost_count, rate, seconds)
            by_phase["switching"].append(figures)
            switching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await switching
        result = {name: aggregate_rounds(figures) for name, figures in by_phase.items()}
        return {"rollouts": switcher.rollouts, **result}
    finally:
        await switcher.delete()


async def _switch_always(switcher: _Switcher) -> None:
    while True:
        await switcher.switch()
