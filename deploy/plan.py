"""What a new specification would change, in lines for people. Pure."""

from collections.abc import Mapping
from typing import Any

from deploy.workloads.spec import DeploymentSpec


def plan_lines(before: DeploymentSpec | None, after: DeploymentSpec) -> list[str]:
    """Return what would be done, and the members that change."""
    if before is None:
        lines = [f"create {after.id} with {_count(after.replicas)}"]
        return lines + [f"  + {name}: {value}" for name, value in _members(after)]
    if before == after:
        return [f"{after.id}: nothing changes"]
    old, new = dict(_members(before)), dict(_members(after))
    changes = [
        f"  {_sign(name, old, new)} {name}: {_change(name, old, new)}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if before.revision != after.revision:
        title = f"replace the replicas of {after.id} ({before.revision} -> {after.revision})"
    elif before.replicas != after.replicas:
        title = f"scale {after.id} from {before.replicas} to {_count(after.replicas)}"
    else:
        title = f"change {after.id}; its replicas run on"
    return [title, *changes]


def _members(spec: DeploymentSpec) -> list[tuple[str, str]]:
    """Return the members of a specification by their path, with texts for values."""
    rows: list[tuple[str, str]] = []
    for name, value in spec.to_json().items():
        if name == "serviceId":
            continue
        if name == "env":
            rows += [(f"env.{row['key']}", row["value"]) for row in value]
        elif isinstance(value, Mapping):
            rows += [(f"{name}.{key}", str(text)) for key, text in value.items()]
        else:
            rows.append((name, _text(value)))
    return rows


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sign(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return "~" if name in old and name in new else "+" if name in new else "-"


def _change(name: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    if name in old and name in new:
        return f"{old[name]} -> {new[name]}"
    return new.get(name, old.get(name, ""))


def _count(replicas: int) -> str:
    return f"{replicas} replica{'' if replicas == 1 else 's'}"
