"""The HTTP API of the deployer: that of Astron xmod-shim, field for field, and what it lacked.

Answers are `{code, message, data}`; code 0 is success. Errors have the status that HTTP has for
them, in the same form.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from deploy.engine import commands
from deploy.engine.commands import DeploymentNotFoundError
from deploy.engine.engine import EngineSettings
from deploy.engine.events import EventBus
from deploy.engine.load_view import LoadView
from deploy.engine.pipeline import Pipeline
from deploy.engine.repository import DeploymentRepository
from deploy.event_stream import StreamedEvent, event_lines
from deploy.http_answers import (
    ApiError,
    Handler,
    answer,
    guarded,
    read_json,
    time_text,
    whole_number,
)
from deploy.openapi import BASE_PATH, build_openapi
from deploy.pipelines.catalog import CANARY_STEP
from deploy.plan import plan_lines
from deploy.shimlets.interface import ReplicaStatus, Shimlet
from deploy.workloads.activation import may_sleep
from deploy.workloads.phases import DeploymentPhase
from deploy.workloads.records import WANTED, Deployment, DeploymentEntry
from deploy.workloads.spec import DeploymentSpec, read_spec
from registry.access import Actor, Authorizer, Role
from registry.errors import RegistryError
from registry.names import ANY
from registry.store.interfaces import ConflictError, Transaction

_MAX_LINES: Final = 10_000
_ATTEMPTS: Final = 20
_CONFLICT_DELAY_S: Final = 0.05
_METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Decide = Callable[[DeploymentEntry], Transaction | None]


class DeployApi:
    """The handlers. `now` returns the Unix time; `stopping` is set to end streams of events."""

    def __init__(
        self,
        repository: DeploymentRepository,
        shimlets: Mapping[str, Shimlet],
        pipelines: Mapping[str, Pipeline],
        load_view: LoadView,
        bus: EventBus,
        authorizer: Authorizer,
        settings: EngineSettings,
        metrics: CollectorRegistry,
        now: Callable[[], float],
        stopping: asyncio.Event,
    ) -> None:
        self._repository = repository
        self._shimlets = shimlets
        self._pipelines = pipelines
        self._load_view = load_view
        self._bus = bus
        self._authorizer = authorizer
        self._settings = settings
        self._metrics = metrics
        self._now = now
        self._stopping = stopping

    def application(self, version: str, routes: list[Route]) -> Starlette:
        """Return the application, with other routes beside the API."""
        document = build_openapi(version)

        async def openapi(_: Request) -> Response:
            return JSONResponse(document)

        one = f"{BASE_PATH}/{{id}}"
        table: list[tuple[str, str, Handler]] = [
            ("POST", f"{BASE_PATH}/deploy", self._deploy),
            ("POST", f"{BASE_PATH}/plan", self._plan),
            ("GET", f"{BASE_PATH}/list", self._list),
            ("GET", f"{BASE_PATH}/metrics", self._show_metrics),
            ("GET", f"{BASE_PATH}/plugins", self._plugins),
            ("GET", one, self._show),
            ("PUT", one, self._update),
            ("DELETE", one, self._delete),
            ("POST", f"{one}/scale", self._scale),
            ("POST", f"{one}/rollback", self._roll_back),
            ("POST", f"{one}/promote", self._promote),
            ("GET", f"{one}/pipeline", self._show_pipeline),
            ("GET", f"{one}/logs", self._show_logs),
            ("GET", f"{one}/events", self._watch_one),
            ("GET", "/api/v1/events", self._watch_all),
        ]
        own = [Route(path, guarded(call), methods=[method]) for method, path, call in table]
        document_route = Route("/openapi.json", openapi, methods=["GET"])
        return Starlette(routes=[*own, document_route, *routes])

    # Changing

    async def _deploy(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        spec = self.complete(read_spec(await read_json(request), secrets.token_hex(4)))
        return await self._change(
            "deploy", spec.id, lambda entry: commands.create(entry, spec, author, self._now())
        )

    async def _update(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        deployment_id = request.path_params["id"]
        spec = read_spec(await read_json(request), deployment_id)
        if spec.id != deployment_id:
            raise ApiError(400, f"serviceId: is {spec.id!r}, and the path says {deployment_id!r}")
        spec = self.complete(spec)
        return await self._change(
            "update", spec.id, lambda entry: commands.update(entry, spec, author, self._now())
        )

    async def _delete(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        name = request.path_params["id"]
        return await self._change(
            "delete", name, lambda entry: commands.delete(entry, name, author, self._now())
        )

    async def _scale(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        name, tree = request.path_params["id"], await read_json(request)
        replicas = tree.get("replicaCount") if isinstance(tree, Mapping) else None
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise ApiError(400, "replicaCount: must be a whole number")
        return await self._change(
            "scale", name, lambda entry: commands.scale(entry, name, replicas, author, self._now())
        )

    async def _roll_back(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        name = request.path_params["id"]
        return await self._change(
            "rollback", name, lambda entry: commands.roll_back(entry, name, author, self._now())
        )

    async def _promote(self, request: Request) -> Response:
        author = self._require(request, Role.PUBLISHER).name
        name = request.path_params["id"]
        return await self._change(
            "promote", name, lambda entry: commands.promote(entry, name, author, self._now())
        )

    async def _plan(self, request: Request) -> Response:
        self._require(request, Role.READER)
        spec = self.complete(read_spec(await read_json(request)))
        entry = self._repository.get(spec.id)
        excess = self._settings.quota.find_excess(spec, self._others(spec.id))
        lines = plan_lines(entry.wanted.spec if entry.wanted else None, spec)
        return answer({"serviceId": spec.id, "changes": lines, "problem": excess})

    def complete(self, spec: DeploymentSpec) -> DeploymentSpec:
        """Return a specification with its shimlet: the one that the deployment has, or the default.

        The default may change; what runs stays where it is. Raises ApiError for a shimlet or
        pipeline that there is none of.
        """
        for kind, name, available in (
            ("shimlet", spec.shimlet, self._shimlets),
            ("pipeline", spec.pipeline, self._pipelines),
        ):
            if name and name not in available:
                names = ", ".join(available)
                raise ApiError(400, f"{kind}: unknown {kind} {name!r}; there are {names}")
        pipeline = self._pipelines[spec.pipeline or self._settings.pipeline]
        if spec.canary is not None and all(step.name != CANARY_STEP for step in pipeline.steps):
            raise ApiError(400, f"canary: pipeline {pipeline.name!r} has no step {CANARY_STEP!r}")
        wanted = self._repository.get(spec.id).wanted
        present = wanted.spec.shimlet if wanted is not None else ""
        return replace(spec, shimlet=spec.shimlet or present or self._settings.shimlet)

    def check_quota(self, transaction: Transaction) -> None:
        """Raise ApiError if a deployment would ask for more than all may use together.

        One that asks for no more than before is let be.
        """
        for key, value in transaction.puts.items():
            if not key.startswith(WANTED):
                continue
            spec = Deployment.from_bytes(value).spec
            wanted = self._repository.get(spec.id).wanted
            before = wanted.spec if wanted is not None else None
            is_more = (
                before is None
                or spec.replicas > before.replicas
                or spec.resources != before.resources
            )
            excess = self._settings.quota.find_excess(spec, self._others(spec.id))
            if is_more and excess:
                raise ApiError(409, f"{spec.id}: {excess}")

    def _others(self, deployment_id: str) -> list[DeploymentSpec]:
        entries = map(self._repository.get, self._repository.ids())
        specs = [entry.wanted.spec for entry in entries if entry.wanted is not None]
        return [spec for spec in specs if spec.id != deployment_id]

    async def _change(self, verb: str, deployment_id: str, decide: Decide) -> Response:
        """Make a change; decide again from what is there if somebody else was faster.

        `decide` returns None if there is nothing to change. Raises what it raises, ApiError if
        others are always faster, and StoreError.
        """
        for _ in range(_ATTEMPTS):
            transaction = decide(self._repository.get(deployment_id))
            try:
                if transaction is not None:
                    self.check_quota(transaction)
                    await self._repository.commit(transaction)
            except ConflictError:
                await asyncio.sleep(_CONFLICT_DELAY_S)
                continue
            return answer({"serviceId": deployment_id}, f"{verb} submit success")
        raise ApiError(409, f"{deployment_id}: others change it all the time; try again")

    # Reading

    async def _show(self, request: Request) -> Response:
        self._require(request, Role.READER)
        deployment_id, entry = self._existing(request)
        replicas = await self._replicas(deployment_id, entry)
        data = _describe(deployment_id, entry)
        data["replicas"] = [_describe_replica(replica) for replica in replicas]
        running, queued, slots = self._load_view.load_of(replicas)
        data["load"] = {"running": running, "queued": queued, "slots": slots}
        data["spec"] = entry.wanted.spec.to_json() if entry.wanted is not None else None
        return answer(data)

    async def _list(self, request: Request) -> Response:
        self._require(request, Role.READER)
        ids = self._repository.ids()
        return answer([_describe(each, self._repository.get(each)) for each in ids])

    async def _show_pipeline(self, request: Request) -> Response:
        self._require(request, Role.READER)
        deployment_id, entry = self._existing(request)
        spec = entry.wanted.spec if entry.wanted is not None else None
        name = (spec.pipeline if spec is not None else "") or self._settings.pipeline
        pipeline = self._pipelines.get(name)
        steps = [
            {"name": result.name, "state": result.state, "message": result.message,
             "startedAt": time_text(result.started_at), "attempts": result.attempts}
            for result in (
                [entry.status.step(step.name) for step in pipeline.steps]
                if pipeline is not None
                else entry.status.steps
            )
        ]  # fmt: skip
        return answer({"serviceId": deployment_id, "pipeline": name, "steps": steps})

    async def _show_logs(self, request: Request) -> Response:
        self._require(request, Role.EDITOR)
        deployment_id, entry = self._existing(request)
        lines = whole_number(request.query_params.get("lines", "100"), "lines", _MAX_LINES)
        shimlet = self._shimlet_of(entry)
        replica = request.query_params.get("replica", "")
        if not replica:
            replicas = await self._replicas(deployment_id, entry)
            if not replicas:
                raise ApiError(404, f"{deployment_id}: there is no replica")
            replica = max(replicas, key=lambda r: r.started_at).name
        text = await shimlet.logs(deployment_id, replica, lines)
        return PlainTextResponse(text, headers={"x-replica": replica})

    async def _plugins(self, request: Request) -> Response:
        self._require(request, Role.READER)
        settings = self._settings
        return answer(
            {
                "shimlets": [
                    {"id": name, "description": s.description, "default": name == settings.shimlet}
                    for name, s in self._shimlets.items()
                ],
                "pipelines": [
                    {"id": name, "steps": [step.name for step in p.steps],
                     "default": name == settings.pipeline}
                    for name, p in self._pipelines.items()
                ],
            }
        )  # fmt: skip

    async def _show_metrics(self, request: Request) -> Response:
        self._require(request, Role.READER)
        return Response(generate_latest(self._metrics), media_type=_METRICS_TYPE)

    async def _watch_one(self, request: Request) -> Response:
        self._require(request, Role.READER)
        deployment_id, _ = self._existing(request)
        return self._watch(request, deployment_id)

    async def _watch_all(self, request: Request) -> Response:
        return self._watch(request, "")

    def _watch(self, request: Request, subject: str) -> Response:
        self._require(request, Role.READER)
        last = request.headers.get("last-event-id", request.query_params.get("after", "0"))
        after = whole_number(last, "last-event-id", 2**62)
        events = (
            StreamedEvent(event.number, event.topic, event.to_json())
            async for event in self._bus.watch(after, subject)
        )
        lines = event_lines(events, self._stopping, lambda: self._may_read(request))
        return StreamingResponse(lines, media_type="text/event-stream")

    def _existing(self, request: Request) -> tuple[str, DeploymentEntry]:
        deployment_id: str = request.path_params["id"]
        entry = self._repository.get(deployment_id)
        if entry.wanted is None and entry.status.phase is DeploymentPhase.UNKNOWN:
            raise DeploymentNotFoundError(f"there is no deployment {deployment_id!r}")
        return deployment_id, entry

    def _shimlet_of(self, entry: DeploymentEntry) -> Shimlet:
        name = (entry.wanted.spec.shimlet if entry.wanted else "") or self._settings.shimlet
        shimlet = self._shimlets.get(name)
        if shimlet is None:
            raise ApiError(409, f"unknown shimlet {name!r}")
        return shimlet

    async def _replicas(self, deployment_id: str, entry: DeploymentEntry) -> list[ReplicaStatus]:
        return await self._shimlet_of(entry).status(deployment_id)

    def _require(self, request: Request, role: Role) -> Actor:
        authorization = request.headers.get("authorization", "")
        actor = self._authorizer.identify(authorization, request.headers.get("x-ase-author", ""))
        actor.require(role, ANY)
        return actor

    def _may_read(self, request: Request) -> bool:
        try:
            self._require(request, Role.READER)
        except RegistryError:
            return False
        return True


def _describe(deployment_id: str, entry: DeploymentEntry) -> dict[str, Any]:
    status, wanted = entry.status, entry.wanted
    spec = wanted.spec if wanted is not None else None
    is_news = wanted is not None and (
        wanted.generation != status.generation
        or (wanted.is_deleting and status.phase is not DeploymentPhase.TERMINATING)
    )
    return {
        "serviceId": deployment_id,
        "modelName": spec.model_name if spec is not None else "",
        "modelPath": spec.model_file if spec is not None else "",
        "status": (
            DeploymentPhase.PENDING if status.phase is DeploymentPhase.UNKNOWN else status.phase
        ).value,
        "reason": status.reason or _describe_sleep(entry),
        "isObserved": not is_news,
        "endpoint": status.endpoint,
        "service": status.service,
        "replicaCount": spec.replicas if spec is not None else 0,
        "revision": spec.revision if spec is not None else "",
        "serving": status.serving,
        "share": status.share,
        "author": wanted.author if wanted is not None else "",
        "updateTime": time_text(status.updated_at),
    }


def _describe_sleep(entry: DeploymentEntry) -> str:
    """Return what to say of a deployment without replicas that the next request will wake."""
    is_asleep = may_sleep(entry) and entry.wanted is not None and not entry.wanted.spec.replicas
    return "sleeps; a request starts a replica" if is_asleep else ""


def _describe_replica(replica: ReplicaStatus) -> dict[str, Any]:
    return {
        "name": replica.name,
        "revision": replica.revision,
        "state": replica.state.value,
        "address": replica.address,
        "crashes": replica.crashes,
        "reason": replica.reason,
        "startedAt": time_text(replica.started_at),
        "cpu": round(replica.cpu, 3),
        "memory": replica.memory,
    }
