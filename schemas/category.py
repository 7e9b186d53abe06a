"""Category services: which sub service a request goes to, by the values in its body. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.service import Service


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request goes: the sub service, and the routing key made of the values that led."""

    service_id: str
    route_key: str


def choose(service: Service, body: Mapping[str, Any]) -> Way | None:
    """Return the first way whose rules all hold, in order of priority; None when none does.

    Values are compared as strings (reference "ase-wire" 2.1, subRoute and routeKey).
    """
    for route in service.sub_routes:
        found = {path: _look(body, path) for path, _ in route.rules}
        if all(found[path] in values for path, values in route.rules):
            chosen = [
                found[path] or ""
                for suffix in service.route_key
                for path in found
                if ".".join(path).endswith(suffix)
            ]
            return Way(route.service_id, "_".join(chosen))
    return None


def _look(body: Mapping[str, Any], path: Sequence[str]) -> str | None:
    value: Any = body
    for member in path:
        if not isinstance(value, Mapping) or member not in value:
            return None
        value = value[member]
    return value if isinstance(value, str) else json.dumps(value)
