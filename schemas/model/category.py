"""Category services: selection of a sub service by the values in a request body. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.model.service import Service


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The selected sub service, and the routing key built from the values that matched."""

    service_id: str
    route_key: str


def choose_sub_service(service: Service, body: Mapping[str, Any]) -> RouteMatch | None:
    """Return the match of the first sub route whose rules all hold; None if there is none.

    Sub routes are tried by descending priority. Values are compared as strings (`docs/wire.md`,
    subRoute and routeKey); a value that is not a string is compared by its JSON text.
    """
    for route in service.sub_routes:
        value_by_path = {path: _lookup(body, path) for path, _ in route.rules}
        if all(value_by_path[path] in values for path, values in route.rules):
            key_parts = [
                value_by_path[path] or ""
                for suffix in service.route_key
                for path in value_by_path
                if ".".join(path).endswith(suffix)
            ]
            return RouteMatch(route.service_id, "_".join(key_parts))
    return None


def _lookup(body: Mapping[str, Any], path: Sequence[str]) -> str | None:
    value: Any = body
    for member in path:
        if not isinstance(value, Mapping) or member not in value:
            return None
        value = value[member]
    return value if isinstance(value, str) else json.dumps(value)
