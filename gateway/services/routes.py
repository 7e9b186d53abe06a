"""Select the service of a request, by its canonical path or by the rules of the original. Pure.

For a path that is not canonical, the first match counts: `serviceId` of the query, the last segment
of the path, a route of a service at the host, a route of a service at any host (docs/wire.md).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from schemas.model.service import Service

SERVICE_PATH_PREFIX: Final = "/v1/private/"
PLAIN_PATH_PREFIX: Final = "/v1/"
RESERVED_IDS: Final = frozenset({"apis", "private"})  # they have paths of their own below /v1/


def requested_service(method: bytes, path: str) -> str:
    """Return the id of the service whose canonical path is requested; "" for any other request.

    That is its path for envelopes or the one for plain requests (`is_plain_path`).
    """
    if method != b"POST" or not path.startswith(PLAIN_PATH_PREFIX):
        return ""
    is_private = path.startswith(SERVICE_PATH_PREFIX)
    service_id = path[len(SERVICE_PATH_PREFIX) if is_private else len(PLAIN_PATH_PREFIX) :]
    return (
        "" if "/" in service_id or (not is_private and service_id in RESERVED_IDS) else service_id
    )


def is_plain_request(path: str, query: str, is_service: bool) -> bool:
    """Return whether a request at `/v1/ID` is plain: by its path, unless ID is no service.

    Then, or if its query names the service, the rules of the original select a service for an
    envelope.
    """
    return is_plain_path(path) and is_service and "serviceId=" not in query


def is_plain_path(path: str) -> bool:
    """Return whether the canonical path of a service is the one for plain requests."""
    return not path.startswith(SERVICE_PATH_PREFIX)


def is_canonical_plain_path(path: str) -> bool:
    """Return whether a path is the one for plain requests of some service, known or not."""
    return bool(requested_service(b"POST", path)) and is_plain_path(path)


class Routes:
    """The routes of a set of services.

    `_service_by_route` maps (host, path) to a service id; the host "" stands for any host. If
    several services declare the same host and path, the first of `services` gets it.
    """

    def __init__(self, services: Iterable[Service]) -> None:
        self._service_ids: set[str] = set()
        self._service_by_route: dict[tuple[str, str], str] = {}
        for service in services:
            self._service_ids.add(service.id)
            for path in service.routes:
                for host in service.hosts or ("",):
                    self._service_by_route.setdefault((host, path), service.id)

    def find(self, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> str:
        """Return the id of the service that a request selects; "" if there is none.

        `headers` have lower-case names. `X-Forwarded-Host`, set by a proxy in front of the gateway,
        takes precedence over `Host`; the first host of a list counts, and its port is ignored.
        `serviceId` is not percent-decoded. If it is the id of no service, the next rule applies.
        """
        query_params = query.decode("latin-1").split("&")
        query_service = next(
            (p.partition("=")[2] for p in query_params if p.startswith("serviceId=")), ""
        )
        for service_id in (query_service, path.rpartition("/")[2]):
            if service_id in self._service_ids:
                return service_id
        host = headers.get(b"x-forwarded-host") or headers.get(b"host", b"")
        hostname = host.decode("latin-1").partition(",")[0].strip().lower()
        hostname = hostname if hostname.endswith("]") else hostname.rpartition(":")[0] or hostname
        return self._service_by_route.get((hostname, path)) or self._service_by_route.get(
            ("", path), ""
        )
