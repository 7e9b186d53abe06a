"""The admin application, on a port of its own: metrics, and why each instance is in or out."""

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lb.entry import Entry
from lb.report import Feed
from lb.table import Table


class HostGuard:
    """Answers only requests that name the admin API by an address or a name that is its own.

    A page that a browser shows can ask a local address by a name that it controls (DNS rebinding);
    its requests carry that name as Host. `names` are allowed besides localhost and IP addresses.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset({"localhost", *(name.lower() for name in names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 421 (RFC 9110, 15.5.20)."""
        host = dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
        if self._allows(host):
            await self._app(scope, receive, send)
            return
        cure = "add this name to gateway.admin_hosts, or ask by an IP address"
        await JSONResponse({"error": "not a host of the admin API", "cure": cure}, 421)(
            scope, receive, send
        )

    def _allows(self, host: str) -> bool:
        name = host.rpartition(":")[0] if re.search(r":\d*\Z", host) else host
        if name.lower() in self._names:
            return True
        try:
            ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True


def build(
    registry: CollectorRegistry,
    table: Table,
    clock: Callable[[], float],
    contracts: Callable[[], dict[str, str]] | None,
) -> Starlette:
    """Return the admin application.

    `contracts` gives the active digest of each service; None where nobody knows, as at a hub.
    """

    async def metrics(_: Request) -> Response:
        return Response(
            generate_latest(registry), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4}
        )

    async def state(_: Request) -> Response:
        now, active = clock(), contracts() if contracts else None
        return JSONResponse({"instances": [_line(entry, active, now) for entry in table]})

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/lb/state", state),
            Route("/livez", livez),
        ]
    )


def _line(entry: Entry, active: dict[str, str] | None, now: float) -> dict[str, Any]:
    instance, load = entry.instance, entry.load
    fits = None
    if active is not None:
        fits = instance.service in active and instance.digest in ("", active[instance.service])
    return {
        "service": instance.service,
        "instance": instance.addr,
        "protocol": instance.protocol,
        "state": entry.state.value,
        "reason": entry.reason.value if instance.feed is not Feed.NONE else "static",
        "for_s": round(now - entry.since, 3),
        "report_age_s": round(now - entry.seen, 3) if instance.feed is not Feed.NONE else None,
        "schema": instance.digest,
        "schema_active": fits,
        "total": instance.total,
        "running": load.running,
        "queued": load.queued,
        "service_ms": round(load.service_ms, 3),
        "doubt": round(entry.doubt, 3),
        "inflight": entry.inflight,
        "foreign": entry.foreign,
        "ghosts": entry.ghosts,
        "slots": entry.slots,
        "expected_ms": round(entry.expected_ms(), 3),
        "health": entry.health.standing.value,
        "health_reason": entry.health.reason.value,
        "health_for_s": round(now - entry.health.since, 3) if entry.health.since else None,
        "served": load.served,
        "errors": load.errors,
        "rejected": load.rejected,
    }
