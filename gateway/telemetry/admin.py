"""The admin application, on its own port: metrics, and why each instance gets requests or not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import ip_address
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.request.origin import check_origin
from gateway.request.response import HttpError
from gateway.telemetry.console import console_routes, is_open_path
from gateway.telemetry.explanations import Explanations
from gateway.telemetry.exposition import metrics_response
from gateway.telemetry.operations import Operations
from gateway.telemetry.recorder import Recorder
from lb.endpoints.endpoint import Endpoint
from lb.endpoints.report import ReportMode
from lb.endpoints.table import EndpointTable


@dataclass(frozen=True, slots=True)
class AdminAccess:
    """Who may use an admin API: by which host names, and with which token; "" asks for none.

    `section` is that of the options `admin_hosts` and `admin_token` in the config.
    """

    section: str
    host_names: tuple[str, ...]
    token: str


@dataclass(frozen=True, slots=True)
class Debugging:
    """What a gateway tells of its requests and picks, and what records them.

    `preview` returns the instances of a service that its next requests would get, as JSON objects;
    None for an unknown service.
    """

    explanations: Explanations
    preview: Callable[[str], list[dict[str, Any]] | None]
    recorder: Recorder

    def routes(self) -> list[Route]:
        """Return the routes below `/debug`."""
        return [
            Route("/debug/requests", self._latest),
            Route("/debug/requests/{sid}", self._request),
            Route("/debug/picks/{service}", self._picks),
            *self.recorder.routes(),
        ]

    async def _latest(self, _: Request) -> Response:
        explanations = self.explanations
        return JSONResponse(
            {
                "requests": explanations.latest(),
                "kept": explanations.size,
                "skipped": explanations.skipped,
            }
        )

    async def _request(self, request: Request) -> Response:
        explanation = self.explanations.find(request.path_params["sid"])
        return NO_EXPLANATION if explanation is None else JSONResponse(explanation)

    async def _picks(self, request: Request) -> Response:
        service_id = request.path_params["service"]
        candidates = self.preview(service_id)
        if candidates is None:
            return JSONResponse({"error": f"no service {service_id!r}"}, 404)
        return JSONResponse({"service": service_id, "candidates": candidates})


NO_EXPLANATION = JSONResponse(
    {
        "error": "no such request is explained",
        "cure": "the latest are that failed by no fault of the caller, or took gateway.slow "
        "seconds; gateway.explained says how many",
    },
    404,
)


class AdminGuard:
    """ASGI middleware that rejects who must not use the admin API.

    A web page in a browser can send requests to a local address by a name that the page's author
    controls (DNS rebinding). Such requests have that name as Host. Accepted are localhost, IP
    addresses, the names of `access` in any case of letters, and requests without Host. A page of
    another origin is rejected too. `/livez` and the console's own files need no token.
    """

    def __init__(self, app: ASGIApp, access: AdminAccess) -> None:
        self._app = app
        self._access = access
        self._host_names = frozenset({"localhost", *(name.lower() for name in access.host_names)})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request, or answer it with an error."""
        rejection = self._rejection(scope["path"], dict(scope["headers"]))
        await (rejection or self._app)(scope, receive, send)

    def _rejection(self, path: str, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return the error for a request, None if it is accepted.

        421: RFC 9110, 15.5.20; 401: RFC 6750, 3.
        """
        section = self._access.section
        if not self._is_allowed_host(headers.get(b"host", b"127.0.0.1").decode("latin-1")):
            cure = f"add this name to {section}.admin_hosts, or ask by an IP address"
            return JSONResponse({"error": "not a host of the admin API", "cure": cure}, 421)
        try:
            check_origin(headers, [])
        except HttpError:
            return JSONResponse({"error": "not for pages of other origins"}, 403)
        if not is_open_path(path) and not self._has_token(headers.get(b"authorization", b"")):
            cure = f"send {section}.admin_token: Authorization: Bearer TOKEN"
            return JSONResponse(
                {"error": "token missing or wrong", "cure": cure},
                401,
                {"www-authenticate": 'Bearer realm="ase-admin"'},
            )
        return None

    def _has_token(self, authorization: bytes) -> bool:
        scheme, _, value = authorization.partition(b" ")
        is_equal = compare_digest(value.strip(), self._access.token.encode())
        return not self._access.token or (scheme.lower() == b"bearer" and is_equal)

    def _is_allowed_host(self, host: str) -> bool:
        hostname = host.rpartition(":")[0] if re.search(r":\d*\Z", host) else host
        if hostname.lower() in self._host_names:
            return True
        try:
            ip_address(hostname.strip("[]"))
        except ValueError:
            return False
        return True


def build_app(
    registry: CollectorRegistry,
    table: EndpointTable,
    clock: Callable[[], float],
    get_active_digests: Callable[[], dict[str, str]] | None,
    describe_process: Callable[[], dict[str, Any]],
    debugging: Debugging | None = None,
    operations: Operations | None = None,
) -> Starlette:
    """Return the admin application: metrics, state of the instances, liveness, process, console.

    With `debugging` it has requests and picks below `/debug` too, with `operations` what an
    operator may do. `describe_process` returns the answer of `/debug/process`.
    `clock` returns the seconds that `table` uses. `get_active_digests` returns the digest of the
    active contract by service id; it is None at a hub in a process of its own, which has no
    contracts.
    """

    async def metrics(request: Request) -> Response:
        return metrics_response(registry, request)

    async def state(_: Request) -> Response:
        now, active_digests = clock(), get_active_digests() if get_active_digests else None
        return JSONResponse(
            {"instances": [_endpoint_state(endpoint, active_digests, now) for endpoint in table]}
        )

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def process(_: Request) -> Response:
        return JSONResponse(describe_process())

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/debug/process", process),
            Route("/lb/state", state),
            Route("/livez", livez),
            *console_routes(),
            *(debugging.routes() if debugging is not None else ()),
            *(operations.routes() if operations is not None else ()),
        ]
    )


def _endpoint_state(
    endpoint: Endpoint, active_digests: dict[str, str] | None, now: float
) -> dict[str, Any]:
    """Return the row of an endpoint in `/lb/state`; `now` is the time of the table's clock.

    `schema_active` is None if the contracts are not known. An instance without a digest has the
    active schema of its service, if there is one.
    """
    instance, load = endpoint.instance, endpoint.load
    is_active_schema = None
    if active_digests is not None:
        is_active_schema = instance.service in active_digests and instance.digest in (
            "",
            active_digests[instance.service],
        )
    return {
        "service": instance.service,
        "instance": instance.addr,
        "protocol": instance.protocol,
        "state": endpoint.state.value,
        "reason": endpoint.reason.value
        if instance.report_mode is not ReportMode.NONE
        else "static",
        "for_s": round(now - endpoint.state_since, 3),
        "report_age_s": round(now - endpoint.last_report_at, 3)
        if instance.report_mode is not ReportMode.NONE
        else None,
        "version": instance.version,
        "schema": instance.digest,
        "schema_active": is_active_schema,
        "total": instance.total,
        "running": load.running,
        "queued": load.queued,
        "service_ms": round(load.service_ms, 3),
        "doubt": round(endpoint.slowdown_factor, 3),
        "inflight": endpoint.inflight,
        "foreign": endpoint.remote_load,
        "ghosts": endpoint.abandoned,
        "slots": endpoint.usable_slots,
        "expected_ms": round(endpoint.expected_ms(), 3),
        "health": endpoint.outlier_detector.state.value,
        "health_reason": endpoint.outlier_detector.cause.value,
        "health_for_s": round(now - endpoint.outlier_detector.since, 3)
        if endpoint.outlier_detector.since
        else None,
        "served": load.served,
        "errors": load.errors,
        "rejected": load.rejected,
    }
