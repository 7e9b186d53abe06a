"""Which service a path asks for, where it is not the canonical one: as the original finds it. Pure.

Source: reference "ase-wire" 1.2. The first that fits: the query's `serviceId`, the last segment of
the path, a service's route at its host, a service's route at any host.
"""

from collections.abc import Iterable, Mapping

from schemas.service import Service


class Routes:
    """The routes of some services."""

    def __init__(self, services: Iterable[Service]) -> None:
        self._ids: set[str] = set()
        self._paths: dict[tuple[str, str], str] = {}
        for service in services:
            self._ids.add(service.id)
            for path in service.routes:
                for host in service.hosts or ("",):
                    self._paths.setdefault((host, path), service.id)

    def find(self, path: str, query: bytes, headers: Mapping[bytes, bytes]) -> str:
        """Return the id of the service that is asked for; "" for none.

        `headers` have lower-case names. A proxy before us tells the host that its client named.
        """
        parts = query.decode("latin-1").split("&")
        named = next((p.partition("=")[2] for p in parts if p.startswith("serviceId=")), "")
        for service in (named, path.rpartition("/")[2]):
            if service in self._ids:
                return service
        host = headers.get(b"x-forwarded-host") or headers.get(b"host", b"")
        name = host.decode("latin-1").partition(",")[0].strip().lower()
        name = name if name.endswith("]") else name.rpartition(":")[0] or name
        return self._paths.get((name, path)) or self._paths.get(("", path), "")
