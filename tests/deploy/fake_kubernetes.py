"""A Kubernetes API server in memory, as far as the shimlet needs one, with a controller of pods.

Server-side apply, lists by label selectors, deletion, logs and watches of pods; `refusals` are
answered before anything else: (status, message).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import kubernetes_validate
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

VERSION = "1.34"
TOKEN = "the-token"  # noqa: S105 (of no cluster)


class FakeKubernetes:
    """The objects of a cluster by kind and name, and their changes."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            "deployments": {}, "services": {}, "pods": {},
        }  # fmt: skip
        self.refusals: list[tuple[int, str]] = []
        self.image_problem = ""
        self._watchers: set[asyncio.Queue[dict[str, Any]]] = set()
        self._addresses = iter(range(1, 250))

    def application(self) -> Starlette:
        """Return the API."""
        core, apps = "/api/v1/namespaces/models", "/apis/apps/v1/namespaces/models"
        routes = [Route(f"{core}/pods/{{name}}/log", self._logs)]
        for base, kind in ((core, "pods"), (core, "services"), (apps, "deployments")):
            methods = ["GET", "PATCH", "DELETE"]
            routes.append(Route(f"{base}/{kind}", self._handle, methods=["GET"]))
            routes.append(Route(f"{base}/{kind}/{{name}}", self._handle, methods=methods))
        return Starlette(routes=routes)

    def crash(self, name: str, code: int = 137, reason: str = "Error") -> None:
        """Have the container of a pod end; it is started again when `restart` is called."""
        container = self.objects["pods"][name]["status"]["containerStatuses"][0]
        container["restartCount"] += 1
        ended = {"exitCode": code, "reason": reason}
        container["lastState"] = {"terminated": ended}
        container["state"] = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
        self._notify("MODIFIED", self.objects["pods"][name])

    def restart(self, name: str) -> None:
        """Start the container of a pod again."""
        pod = self.objects["pods"][name]
        pod["status"]["containerStatuses"][0]["state"] = _running()
        self._notify("MODIFIED", pod)

    async def _handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _refuse(401, "Unauthorized")
        if self.refusals:
            return _refuse(*self.refusals.pop(0))
        kind = request.url.path.split("/namespaces/models/")[1].split("/")[0]
        name = request.path_params.get("name", "")
        if request.method == "PATCH":
            return await self._apply(request, kind, name)
        if not name:
            return self._list(request, kind)
        if name not in self.objects[kind]:
            return _refuse(404, f'{kind} "{name}" not found')
        if request.method == "DELETE":
            self._delete(kind, name)
            return JSONResponse({"kind": "Status", "status": "Success"})
        return JSONResponse(self.objects[kind][name])

    async def _apply(self, request: Request, kind: str, name: str) -> Response:
        assert request.headers["content-type"] == "application/apply-patch+yaml"
        assert request.query_params["fieldManager"] == "ase-deployer"
        tree = json.loads(await request.body())
        assert tree["metadata"]["name"] == name
        try:
            kubernetes_validate.validate(tree, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            return _refuse(422, str(error))
        self.objects[kind][name] = tree
        if kind == "deployments":
            self._control(tree)
        return JSONResponse(tree)

    def _control(self, deployment: dict[str, Any]) -> None:
        """Have as many pods as a Deployment says, as its controller would."""
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        pods = self.objects["pods"]
        mine = [pod for pod in pods if pods[pod]["owner"] == name]
        for number in range(len(mine), spec["replicas"]):
            pod_name = f"{name}-{number}"
            image = {"reason": "ErrImagePull", "message": self.image_problem}
            state = {"waiting": image} if self.image_problem else _running()
            pods[pod_name] = {
                "owner": name,
                "metadata": {"name": pod_name, "labels": spec["template"]["metadata"]["labels"]},
                "status": {
                    "phase": "Running",
                    "podIP": f"10.0.0.{next(self._addresses)}",
                    "containerStatuses": [{"restartCount": 0, "state": state}],
                },
            }
            self._notify("ADDED", pods[pod_name])
        for pod_name in mine[spec["replicas"] :]:
            self._notify("DELETED", pods.pop(pod_name))

    def _delete(self, kind: str, name: str) -> None:
        del self.objects[kind][name]
        for pod in [p for p, tree in self.objects["pods"].items() if tree["owner"] == name]:
            self._notify("DELETED", self.objects["pods"].pop(pod))

    def _list(self, request: Request, kind: str) -> Response:
        selector = dict(
            term.split("=", 1) for term in request.query_params["labelSelector"].split(",")
        )
        if request.query_params.get("watch") == "true":
            return StreamingResponse(self._watch(), media_type="application/json")
        items = [
            tree
            for tree in self.objects[kind].values()
            if selector.items() <= tree["metadata"]["labels"].items()
        ]
        return JSONResponse({"kind": "List", "items": items})

    async def _logs(self, request: Request) -> Response:
        run = "the run before" if request.query_params["previous"] == "true" else "this run"
        return PlainTextResponse(f"log of {request.path_params['name']}, {run}")

    async def _watch(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while True:
                yield json.dumps(await queue.get()) + "\n"
        finally:
            self._watchers.discard(queue)

    def _notify(self, kind: str, pod: dict[str, Any]) -> None:
        for queue in self._watchers:
            queue.put_nowait({"type": kind, "object": pod})


def _running() -> dict[str, Any]:
    return {"running": {"startedAt": datetime.now(UTC).isoformat().replace("+00:00", "Z")}}


def _refuse(status: int, message: str) -> Response:
    return JSONResponse({"kind": "Status", "code": status, "message": message}, status)


@contextlib.asynccontextmanager
async def running_kubernetes() -> AsyncIterator[tuple[FakeKubernetes, str]]:
    """Run the server on a socket; yield it and its URL."""
    fake = FakeKubernetes()
    config = uvicorn.Config(
        fake.application(), port=0, log_level="error", lifespan="off", timeout_graceful_shutdown=0
    )
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server.serve())
    while not server.started:  # noqa: ASYNC110 (a state, not an event)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield fake, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await task
