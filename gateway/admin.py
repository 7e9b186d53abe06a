"""The admin application, on a port of its own: metrics, and why each instance is in or out."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lb.entry import Entry
from lb.report import Feed
from lb.table import Table


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
