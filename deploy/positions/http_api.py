"""The HTTP API of projects, applications, models and positions, below `/api/v1`.

Answers are those of the deployer's other paths: `{code, message, data}`. Roles are by project.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from deploy.engine.commands import DeploymentNotFoundError
from deploy.engine.events import EventBus
from deploy.engine.load_view import LoadView
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
from deploy.models.feed import ModelFeed
from deploy.openapi import PREFIX
from deploy.positions.catalog import PositionCatalog
from deploy.positions.phases import position_phase
from deploy.positions.records import (
    SWITCHED_MEMBERS,
    Application,
    Model,
    Position,
    Project,
    model_key,
)
from deploy.shimlets.interface import ReplicaStatus, Shimlet
from deploy.workloads.phases import DeploymentPhase
from registry.access import Actor, Authorizer, Role
from registry.errors import RegistryError
from registry.names import ANY
from registry.store.interfaces import Store, StoreError

_SETTLED: Final = (DeploymentPhase.RUNNING, DeploymentPhase.FAILED)


class PositionApi:
    """The handlers. A position's usage is what its shimlet measures and its loaders report.

    `store` has the records that subscribers follow, until `stopping` is set.
    """

    def __init__(
        self,
        catalog: PositionCatalog,
        repository: DeploymentRepository,
        shimlets: Mapping[str, Shimlet],
        load_view: LoadView,
        bus: EventBus,
        authorizer: Authorizer,
        store: Store,
        stopping: asyncio.Event,
    ) -> None:
        self._store = store
        self._stopping = stopping
        self._catalog = catalog
        self._repository = repository
        self._shimlets = shimlets
        self._load_view = load_view
        self._bus = bus
        self._authorizer = authorizer

    def routes(self) -> list[Route]:
        """Return the routes."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/projects", self._list_projects),
            ("POST", "/projects", self._add_project),
            ("DELETE", "/projects/{name}", self._delete_project),
            ("GET", "/applications", self._list_applications),
            ("POST", "/applications", self._add_application),
            ("DELETE", "/applications/{name}", self._delete_application),
            ("GET", "/applications/{name}/models", self._list_models),
            ("POST", "/models", self._add_model),
            ("DELETE", "/applications/{name}/models/{model}", self._delete_model),
            ("GET", "/subscriptions/events", self._follow_models),
            ("GET", "/positions", self._list_positions),
            ("POST", "/positions", self._create_position),
            ("GET", "/positions/{name}", self._show_position),
            ("DELETE", "/positions/{name}", self._delete_position),
            ("POST", "/positions/{name}/switch", self._switch),
            ("POST", "/positions/{name}/scale", self._scale),
            ("GET", "/positions/{name}/usage", self._show_usage),
        ]
        return [
            Route(PREFIX + path, guarded(handler), methods=[method])
            for method, path, handler in table
        ]

    # Projects and applications

    async def _list_projects(self, request: Request) -> Response:
        actor = self._identify(request)
        projects: list[Project] = await self._catalog.records(Project.kind)
        return answer([_describe(each) for each in projects if actor.may_read(each.name)])

    async def _add_project(self, request: Request) -> Response:
        actor = self._identify(request)
        project = Project.read(await read_json(request), self._catalog.now())
        actor.require(Role.ADMIN, project.name)
        await self._catalog.add(project)
        return answer({"name": project.name}, "project created")

    async def _delete_project(self, request: Request) -> Response:
        name = request.path_params["name"]
        self._identify(request).require(Role.ADMIN, name)
        await self._catalog.remove(f"{Project.kind}/{name}")
        return answer({"name": name}, "project deleted")

    async def _list_applications(self, request: Request) -> Response:
        actor = self._identify(request)
        applications: list[Application] = await self._catalog.records(Application.kind)
        return answer([_describe(each) for each in applications if actor.may_read(each.project)])

    async def _add_application(self, request: Request) -> Response:
        actor = self._identify(request)
        application = Application.read(await read_json(request), self._catalog.now())
        actor.require(Role.EDITOR, application.project)
        await self._catalog.add(application)
        return answer({"name": application.name}, "application created")

    async def _delete_application(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._require(request, Role.EDITOR, name)
        await self._catalog.remove(f"{Application.kind}/{name}")
        return answer({"name": name}, "application deleted")

    # Models

    async def _list_models(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._require(request, Role.READER, name)
        return answer([_describe(model) for model in await self._catalog.models_of(name)])

    async def _add_model(self, request: Request) -> Response:
        model = Model.read(await read_json(request), self._catalog.now())
        await self._require(request, Role.EDITOR, model.application)
        await self._catalog.add(model)
        self._bus.publish("model.added", model.id, application=model.application)
        return answer({"id": model.id}, "model added")

    async def _delete_model(self, request: Request) -> Response:
        name, model = request.path_params["name"], request.path_params["model"]
        await self._require(request, Role.EDITOR, name)
        await self._catalog.remove(model_key(name, model))
        self._bus.publish("model.deleted", model, application=name)
        return answer({"id": model}, "model deleted")

    async def _follow_models(self, request: Request) -> Response:
        """Send applications and models as they come and go, with the tokens of their files."""
        self._identify(request)
        last = request.headers.get("last-event-id", request.query_params.get("after", "0"))
        after = whole_number(last, "last-event-id", 2**62)
        names = [*filter(None, request.query_params.get("application", "").split(","))]

        def wants(application: str, project: str) -> bool:
            return (not names or application in names) and self._may_read(request, project)

        async def events() -> AsyncIterator[StreamedEvent]:
            with contextlib.suppress(StoreError):  # a reader connects again, and goes on
                async for event in ModelFeed(self._store, wants).follow(after):
                    yield event

        lines = event_lines(events(), self._stopping, lambda: self._may_read(request, ""))
        return StreamingResponse(lines, media_type="text/event-stream")

    # Positions

    async def _list_positions(self, request: Request) -> Response:
        actor = self._identify(request)
        applications: list[Application] = await self._catalog.records(Application.kind)
        projects = {each.name: each.project for each in applications}
        positions: list[Position] = await self._catalog.records(Position.kind)
        shown = [each for each in positions if actor.may_read(projects.get(each.application, ANY))]
        return answer([self._describe_position(position) for position in shown])

    async def _create_position(self, request: Request) -> Response:
        body = await read_json(request)
        position = Position.read(body, self._catalog.now())
        actor = await self._require(request, Role.PUBLISHER, position.application)
        # The requests of a service go to all of its loaders: a name must not catch those of others.
        address = self._load_view.address_of(position.name)
        if address and self._repository.get(position.name).wanted is None:
            message = f"name: the loader at {address} serves {position.name!r}; choose another one"
            raise ApiError(409, message)
        for deployment_id in self._repository.ids():
            entry = self._repository.get(deployment_id)
            services = (entry.wanted.spec.service, entry.status.service) if entry.wanted else ()
            if deployment_id != position.name and position.name in services:
                message = f"name: a deployment serves {position.name!r}; choose another one"
                raise ApiError(409, message)
        created = await self._catalog.create_position(position, actor.name)
        self._bus.publish("position.created", created.name, model=created.model)
        return answer(self._describe_position(created), "position created")

    async def _show_position(self, request: Request) -> Response:
        position = await self._position(request, Role.READER)
        data = self._describe_position(position)
        data["replicas"] = [
            {"name": r.name, "state": r.state.value, "revision": r.revision}
            for r in await self._replicas(position.name)
        ]
        return answer(data)

    async def _delete_position(self, request: Request) -> Response:
        position = await self._position(request, Role.PUBLISHER)
        await self._catalog.delete_position(position.name, self._identify(request).name)
        self._bus.publish("position.deleted", position.name)
        return answer({"name": position.name}, "position ends")

    async def _switch(self, request: Request) -> Response:
        position = await self._position(request, Role.PUBLISHER)
        body = await read_json(request)
        if not isinstance(body, Mapping) or not isinstance(body.get("model"), str):
            raise ApiError(400, "model: must be NAME:VERSION, or best")
        unknown = body.keys() - {"model", *SWITCHED_MEMBERS}
        if unknown:
            raise ApiError(400, f"{min(map(str, unknown))}: unknown member")
        members = {name: body[name] for name in SWITCHED_MEMBERS if name in body}
        author = self._identify(request).name
        switched = await self._catalog.switch(position.name, body["model"], members, author)
        self._bus.publish(
            "position.switched", switched.name, model=switched.model, before=position.model
        )
        return answer(self._describe_position(switched), "the model is switched")

    async def _scale(self, request: Request) -> Response:
        position = await self._position(request, Role.PUBLISHER)
        body = await read_json(request)
        replicas = body.get("replicaCount") if isinstance(body, Mapping) else None
        if not isinstance(replicas, int) or isinstance(replicas, bool):
            raise ApiError(400, "replicaCount: must be a whole number")
        author = self._identify(request).name
        scaled = await self._catalog.scale(position.name, replicas, author)
        self._bus.publish("position.scaled", scaled.name, replicas=replicas)
        return answer(self._describe_position(scaled), "the position is scaled")

    async def _show_usage(self, request: Request) -> Response:
        """Show what a position uses, and how much of what it may use.

        Members are -1 where the runtime does not measure, shares None without a limit.
        """
        position = await self._position(request, Role.READER)
        replicas = await self._replicas(position.name)
        wanted = self._repository.get(position.name).wanted
        resources = wanted.spec.resources if wanted is not None else None
        running, queued, slots = self._load_view.load_of(replicas)
        rows = [
            {
                "name": replica.name,
                "cpu": round(replica.cpu, 3),
                "cpuShare": _share(replica.cpu, resources.cpu if resources else 0.0),
                "memory": replica.memory,
                "memoryShare": _share(replica.memory, resources.memory if resources else 0),
            }
            for replica in replicas
        ]
        usage = {
            "name": position.name,
            "cpu": round(sum(max(r.cpu, 0.0) for r in replicas), 3),
            "memory": sum(max(r.memory, 0) for r in replicas),
            "requests": {"running": running, "queued": queued, "slots": slots},
            "replicas": rows,
        }
        return answer(usage)

    def _describe_position(self, position: Position) -> dict[str, Any]:
        entry = self._repository.get(position.name)
        phase, reason = position_phase(entry)
        return {
            **_describe(position),
            "phase": phase.value,
            "reason": reason,
            "endpoint": entry.status.endpoint,
            "replicaCount": entry.wanted.spec.replicas if entry.wanted is not None else 0,
            "isObserved": entry.wanted is None
            or entry.wanted.generation == entry.status.generation,
            "isSettled": entry.wanted is None or entry.status.phase in _SETTLED,
        }

    async def _position(self, request: Request, role: Role) -> Position:
        """Return the position of a request. Raises what the catalog and roles raise."""
        name, actor = request.path_params["name"], self._identify(request)
        position, _ = await self._catalog.get(f"{Position.kind}/{name}")
        if not actor.may_read(await self._catalog.project_of(position.application)):
            raise DeploymentNotFoundError(f"there is no {Position.kind} {name!r}")
        await self._require(request, role, position.application)
        return position  # type: ignore[no-any-return]

    async def _replicas(self, name: str) -> list[ReplicaStatus]:
        wanted = self._repository.get(name).wanted
        shimlet = self._shimlets.get(wanted.spec.shimlet) if wanted is not None else None
        return await shimlet.status(name) if shimlet is not None else []

    def _identify(self, request: Request) -> Actor:
        authorization = request.headers.get("authorization", "")
        return self._authorizer.identify(authorization, request.headers.get("x-ase-author", ""))

    def _may_read(self, request: Request, project: str) -> bool:
        """Return whether the caller may read a project; with "" whether it is known at all."""
        try:
            actor = self._identify(request)
        except RegistryError:
            return False
        return not project or actor.may_read(project)

    async def _require(self, request: Request, role: Role, application: str) -> Actor:
        """Return who asks. Raises RegistryError without the role in the application's project."""
        actor = self._identify(request)
        try:
            project = await self._catalog.project_of(application)
        except DeploymentNotFoundError:
            actor.require(role, ANY)  # what there is, is for those who may see it
            raise
        actor.require(role, project)
        return actor


def _describe(record: Project | Application | Model | Position) -> dict[str, Any]:
    """Return a record as JSON: times as text, members beside the others, no token."""
    tree = asdict(record)
    tree.pop("access_token", None)
    members = dict(tree.pop("members", {}))
    created_at = time_text(tree.pop("created_at"))
    updated_at = time_text(tree.pop("updated_at", 0.0))
    described = {**members, **tree, "createTime": created_at}
    if updated_at:
        described["updateTime"] = updated_at
    if isinstance(record, Model):
        described["id"] = record.id
    return described


def _share(value: float, limit: float) -> float | None:
    return round(value / limit, 4) if limit and value >= 0 else None
