"""Watches a rollout: a table of the instances until all have answered."""

import sys
import time
from typing import Any

from asectl.keys.store import time_text
from asectl.live_lines import LiveLines
from asectl.main import EXIT_FAILED
from asectl.releases.api import RegistryApiClient, version_path
from asectl.table import align, printable
from registry.names import ServiceVersion

EXIT_PARTIAL = 5
_STEP_S = 0.5  # seconds; the registry answers earlier when all have taken the release


def follow_rollout(client: RegistryApiClient, name: ServiceVersion, wait_s: float) -> int:
    """Show who has taken a release as they answer; return 0 when all have, within `wait_s`.

    1 if an instance has refused it or failed, 5 if one has not answered in time. A terminal shows
    the table in place, those that have not answered first.
    """
    live_lines = LiveLines(sys.stderr)
    deadline = time.monotonic() + wait_s
    status = _status(client, name, 0.0)
    while not status["complete"] and (remaining := deadline - time.monotonic()) > 0:
        live_lines.show(status_lines(status, waiting_first=True))
        status = _status(client, name, min(_STEP_S, remaining))
    live_lines.erase()
    print("\n".join(map(printable, status_lines(status))))
    outcomes = {instance["outcome"] for instance in status["instances"]}
    if outcomes & {"refused", "failed"}:
        return EXIT_FAILED
    return 0 if status["complete"] else EXIT_PARTIAL


def status_lines(status: dict[str, Any], *, waiting_first: bool = False) -> list[str]:
    """Return the table of a status, and a line that sums it up."""
    instances = status["instances"]
    if waiting_first:
        instances = sorted(instances, key=lambda instance: instance["outcome"] == "applied")
    if not instances:
        return ["no instance follows it"]
    rows = [["INSTANCE", "LABELS", "WANTED", "RUNS", "STATE", "SINCE", "REASON"]]
    rows += [
        [
            instance["instance"],
            ",".join(f"{k}={v}" for k, v in sorted(instance["labels"].items())) or "-",
            f"{instance['wanted'] or '-'}{' (gray)' if instance['is_gray'] else ''}",
            str(instance["running"] or "-"),
            instance["outcome"],
            time_text(instance["since"]),
            instance["reason"].replace("\n", " / ")[:200],
        ]
        for instance in instances
    ]
    return [*align(rows), _sum(instances)]


def _sum(instances: list[dict[str, Any]]) -> str:
    counts = {
        outcome: sum(instance["outcome"] == outcome for instance in instances)
        for outcome in ("applied", "waiting", "refused", "failed")
    }
    parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
    return f"{len(instances)} instances: {', '.join(parts)}"


def _status(client: RegistryApiClient, name: ServiceVersion, wait_s: float) -> dict[str, Any]:
    status: dict[str, Any] = client.get(version_path(name, "status"), wait=f"{wait_s:g}")
    return status
