"""Watches a position until it is in service, or says why it is not."""

import time
from typing import Any, Final

from asectl.deployments.api import DeployerClient
from asectl.deployments.progress import EXIT_WAITING
from asectl.main import EXIT_FAILED
from asectl.table import printable

_INTERVAL_S: Final = 0.3


def follow(client: DeployerClient, name: str, wait_s: float) -> int:
    """Wait until a position is in service with its model; return 0 then. Raises Failure.

    1 if it is not, for a reason; 5 if it is not settled within `wait_s`.
    """
    deadline = time.monotonic() + wait_s
    while True:
        shown = client.get(f"/positions/{name}")
        remaining = deadline - time.monotonic()
        if is_settled(shown) or remaining <= 0:
            break
        time.sleep(min(_INTERVAL_S, remaining))
    print("\n".join(map(printable, position_lines(shown))))
    if not is_settled(shown):
        return EXIT_WAITING
    return 0 if shown["phase"] == "InService" and not shown["reason"] else EXIT_FAILED


def is_settled(shown: dict[str, Any]) -> bool:
    """Return whether a position is where it will stay."""
    return bool(shown["isObserved"] and shown["isSettled"])


def position_lines(shown: dict[str, Any]) -> list[str]:
    """Return what there is to say of a position."""
    lines = [f"{shown['name']}: {shown['phase']}, model {shown['model']}"]
    lines += [f"  {line}" for line in shown["reason"].splitlines()]
    if shown["endpoint"]:
        lines.append(f"  called at {shown['endpoint']}")
    lines += [f"  {r['name']}: {r['state']}" for r in shown.get("replicas", ())]
    return lines
