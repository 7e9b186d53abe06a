"""What an operator may tell a gateway at its admin port: to take an instance, or itself, out."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.services.reload_requests import ReloadOutcome
from lb.balancer.balancer import Balancer
from lb.endpoints.endpoint import Endpoint

_logger = logging.getLogger("ase.gateway")

MAX_EJECTION_S = 7 * 86400
_MAX_BODY = 4096


class Operations:
    """Ejects instances that `picker` picks or ends their ejection, drains and reloads the gateway.

    `endpoints` are those that the gateway knows. `set_drained` makes it unready, or ready again;
    `reload` reads config, schemas and certificate again.
    """

    def __init__(
        self,
        picker: Balancer,
        endpoints: Iterable[Endpoint],
        set_drained: Callable[[bool], None],
        reload: Callable[[], Awaitable[ReloadOutcome]],
    ) -> None:
        self._picker = picker
        self._endpoints = endpoints
        self._set_drained = set_drained
        self._reload = reload

    def routes(self) -> list[Route]:
        """Return the routes, which take JSON objects.

        They have "instance", "service" and "seconds"; "on" for a drain.
        """
        return [
            Route("/lb/eject", self._eject, methods=["POST"]),
            Route("/lb/uneject", self._uneject, methods=["POST"]),
            Route("/drain", self._drain, methods=["POST"]),
            Route("/reload", self._reload_config, methods=["POST"]),
        ]

    async def _reload_config(self, _: Request) -> Response:
        return JSONResponse((await self._reload()).to_json())

    async def _drain(self, request: Request) -> Response:
        is_on = (await _read_object(request)).get("on")
        if not isinstance(is_on, bool):
            return JSONResponse({"error": "on is missing", "cure": "true, or false to end it"}, 400)
        self._set_drained(is_on)
        _logger.warning("drained by an operator" if is_on else "taken back by an operator")
        return JSONResponse({"drained": is_on})

    async def _eject(self, request: Request) -> Response:
        members = await _read_object(request)
        seconds = members.get("seconds")
        if (
            not isinstance(seconds, int | float)
            or isinstance(seconds, bool)
            or not 0 < seconds <= MAX_EJECTION_S
        ):
            cure = f"more than 0, at most {MAX_EJECTION_S} (7 days)"
            return JSONResponse({"error": "seconds is not a time", "cure": cure}, 400)
        duration = float(seconds)

        def eject(endpoint: Endpoint) -> bool:
            self._picker.eject(endpoint, duration)
            return True

        return self._apply(members, eject)

    async def _uneject(self, request: Request) -> Response:
        return self._apply(await _read_object(request), self._picker.uneject)

    def _apply(self, members: dict[str, Any], change: Callable[[Endpoint], bool]) -> Response:
        """Change the endpoints that an object names, and answer with those that were changed."""
        addr, service = members.get("instance"), members.get("service") or ""
        if not isinstance(addr, str) or not addr:
            return JSONResponse({"error": "instance is missing", "cure": "host:port of one"}, 400)
        named = [
            endpoint
            for endpoint in self._endpoints
            if endpoint.instance.addr == addr and service in ("", endpoint.instance.service)
        ]
        if not named:
            cure = "asectl lb state lists them"
            return JSONResponse({"error": f"no instance {addr!r} is known", "cure": cure}, 404)
        changed = [
            {"service": endpoint.instance.service, "instance": addr}
            for endpoint in named
            if change(endpoint)
        ]
        return JSONResponse({"changed": changed})


async def _read_object(request: Request) -> dict[str, Any]:
    """Return the JSON object of a body, {} if it is none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            return {}
    try:
        content = json.loads(body)
        json.dumps(content, ensure_ascii=False).encode()  # half of a surrogate pair cannot be sent
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
