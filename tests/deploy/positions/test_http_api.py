"""The API of positions over a real store and engine: create, switch, scale, usage, roles."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lb.endpoints.report import Instance
from registry.access import Actor
from registry.errors import Refusal, RegistryError
from registry.store.interfaces import ConflictError, Transaction
from tests.deploy.running import TIMEOUT_S, RunningDeployer, running_deployer

MODEL = {
    "name": "lstm",
    "version": "1",
    "application": "battery",
    "wrapper": "w.py:W",
    "accuracy": 0.8,
}


class Office:
    """A deployer with an application `battery` of a project `drones`."""

    def __init__(self, deployer: RunningDeployer) -> None:
        self.deployer = deployer

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        response = await self.deployer.client.request(
            method, f"/api/v1{path}", json=body, headers=headers
        )
        return response.status_code, response.json()

    async def data(self, method: str, path: str, body: Any = None) -> Any:
        status, tree = await self.send(method, path, body)
        assert status == 200, tree
        return tree["data"]

    async def set_up(self) -> None:
        await self.data("POST", "/projects", {"name": "drones"})
        await self.data("POST", "/applications", {"name": "battery", "project": "drones"})
        await self.data("POST", "/models", MODEL)

    async def wait(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                shown: dict[str, Any] = await self.data("GET", "/positions/north")
                if shown["isObserved"] and shown["isSettled"] and condition(shown):
                    return shown
                await asyncio.sleep(0.01)


def run(folder: Path, scenario: Callable[[Office], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with running_deployer(folder, **options) as deployer:
            await scenario(Office(deployer))

    asyncio.run(main())


def in_service(shown: dict[str, Any]) -> bool:
    return bool(shown["phase"] == "InService" and not shown["reason"])


def test_position_is_created_switched_scaled_and_deleted(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        body = {"name": "north", "application": "battery", "model": "lstm:1", "replicaCount": 2}
        created = await office.data("POST", "/positions", body)
        assert (created["model"], created["phase"]) == ("lstm:1", "Deploying")
        shown = await office.wait(in_service)
        assert len(shown["replicas"]) == 2
        usage = await office.data("GET", "/positions/north/usage")
        assert (usage["cpu"], usage["memory"], len(usage["replicas"])) == (1.0, 2000, 2)
        assert usage["requests"]["running"] == 2
        assert usage["replicas"][0]["memoryShare"] is None
        await office.data("POST", "/positions/north/scale", {"replicaCount": 3})
        await office.wait(lambda shown: in_service(shown) and len(shown["replicas"]) == 3)
        better = {**MODEL, "version": "2", "accuracy": 0.9, "source": "lstm:1", "wrapper": "v.py"}
        await office.data("POST", "/models", better)
        switched = await office.data("POST", "/positions/north/switch", {"model": "best"})
        assert switched["model"] == "lstm:2"
        await office.wait(lambda shown: in_service(shown) and shown["replicaCount"] == 3)
        workloads = office.deployer.shimlet.workloads.values()
        assert [w.wrapper for w in workloads if w.id == "north"][-1] == "v.py"
        assert {w.env["ASE_LOADER_SERVICE"] for w in workloads} == {"north"}
        (row,) = await office.data("GET", "/positions")
        assert (row["application"], row["model"]) == ("battery", "lstm:2")
        await office.data("DELETE", "/positions/north")
        assert await office.data("GET", "/positions") == []
        await office.deployer.wait("north", "terminated")
        counts = office.deployer.bus.counts
        topics = ("created", "scaled", "switched", "deleted")
        assert [counts[f"position.{topic}"] for topic in topics] == [1, 1, 1, 1]

    run(tmp_path, scenario)


def test_model_that_fails_leaves_the_position_in_service(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        office.deployer.shimlet.broken = {"bad.py"}
        bad = {**MODEL, "version": "bad", "wrapper": "bad.py", "accuracy": None}
        await office.data("POST", "/models", bad)
        body = {"name": "north", "application": "battery", "model": "best"}
        await office.data("POST", "/positions", body)
        await office.wait(in_service)
        await office.data("POST", "/positions/north/switch", {"model": "lstm:bad"})
        shown = await office.wait(lambda shown: bool(shown["reason"]))
        assert shown["phase"] == "InService"
        assert "has ended 3 times" in shown["reason"]
        await office.data("POST", "/positions/north/switch", {"model": "lstm:1"})
        await office.wait(in_service)

    run(tmp_path, scenario)


def test_what_is_needed_is_not_deleted(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        body = {"name": "north", "application": "battery", "model": "lstm:1"}
        await office.data("POST", "/positions", body)
        for path, user in (
            ("/projects/drones", "application battery needs it"),
            ("/applications/battery", "position north needs it"),
            ("/applications/battery/models/lstm:1", "position north needs it"),
        ):
            status, tree = await office.send("DELETE", path)
            assert (status, user in tree["message"]) == (409, True), tree
        await office.data("DELETE", "/positions/north")
        for path in ("/applications/battery/models/lstm:1", "/applications/battery"):
            await office.data("DELETE", path)
        await office.data("DELETE", "/projects/drones")
        assert await office.data("GET", "/projects") == []

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/projects", {"name": "drones"}, 409, "project drones is there already"),
        ("POST", "/applications", {"name": "a", "project": "x"}, 404, "no project 'x'"),
        ("POST", "/models", {**MODEL, "application": "x"}, 404, "no application 'x'"),
        ("POST", "/models", MODEL, 409, "model lstm:1 is there already"),
        ("POST", "/models", [], 400, "must be an object"),
        ("POST", "/models", {**MODEL, "version": "2", "source": "y:1"},
         404, "source: there is no model 'y:1'"),
        ("POST", "/positions", {"name": "n", "application": "battery", "model": "x:1"},
         404, "no model 'x:1'"),
        ("POST", "/positions", {"name": "n", "application": "battery", "model": "lstm:1",
                                "shimlet": "ray"}, 400, "unknown shimlet 'ray'"),
        ("POST", "/positions", {"name": "n", "application": "battery", "model": "lstm:1",
                                "replicaCount": -1}, 400, "replicaCount: must be"),
        ("GET", "/positions/n", None, 404, "no position 'n'"),
        ("POST", "/positions/n/switch", {"model": "best"}, 404, "no position 'n'"),
        ("DELETE", "/positions/n", None, 404, "no position 'n'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, method: str, path: str, body: Any, status: int, message: str
) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        answered, tree = await office.send(method, path, body)
        assert (answered, message in tree["message"]) == (status, True), tree

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("switch", {"model": 5}, "model: must be NAME:VERSION, or best"),
        ("switch", {"model": "lstm:1", "wrapper": "w"}, "wrapper: unknown member"),
        ("switch", {"model": "lstm:1", "canary": {"share": 9}}, "canary.share: must be"),
        ("scale", {"replicaCount": "3"}, "replicaCount: must be a whole number"),
        ("scale", {"replicaCount": 5000}, "replicaCount: must be 0 to 1000"),
    ],
)
def test_invalid_change_of_a_position_is_refused(
    tmp_path: Path, path: str, body: Any, message: str
) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        position = {"name": "north", "application": "battery", "model": "lstm:1"}
        await office.data("POST", "/positions", position)
        status, tree = await office.send("POST", f"/positions/north/{path}", body)
        assert (status in (400, 409), message in tree["message"]) == (True, True), tree

    run(tmp_path, scenario)


def test_position_does_not_catch_the_requests_of_a_service_of_others(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        instance = Instance("ase", "north", "10.0.0.7:5000", 7)
        office.deployer.loaders.table.add_static(instance, 0.0)
        body = {"name": "north", "application": "battery", "model": "lstm:1"}
        status, tree = await office.send("POST", "/positions", body)
        assert status == 409
        assert "the loader at 10.0.0.7:5000 serves 'north'" in tree["message"]

    run(tmp_path, scenario)


def test_no_accuracy_no_best_model(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        await office.data("DELETE", "/applications/battery/models/lstm:1")
        body = {"name": "north", "application": "battery", "model": "best"}
        status, tree = await office.send("POST", "/positions", body)
        assert (status, tree["message"]) == (409, "no model of battery declares an accuracy")

    run(tmp_path, scenario)


class GrantedAuthorizer:
    """Identifies by the grants that a header lists."""

    def identify(self, authorization: str, author: str) -> Actor:
        if not authorization:
            raise RegistryError(Refusal.UNAUTHENTICATED, "no key")
        return Actor.from_grants("ann", authorization.split(","))


def test_roles_are_those_of_the_project(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        async def status(method: str, path: str, body: Any, grants: str) -> int:
            headers = {"authorization": grants} if grants else {}
            return (await office.send(method, path, body, **headers))[0]  # type: ignore[no-any-return]

        project = {"name": "drones"}
        application = {"name": "battery", "project": "drones"}
        position = {"name": "north", "application": "battery", "model": "lstm:1"}
        assert await status("POST", "/projects", project, "") == 401
        assert await status("POST", "/projects", project, "editor") == 403
        assert await status("POST", "/projects", project, "admin@drones") == 200
        assert await status("POST", "/applications", application, "editor@other") == 403
        assert await status("POST", "/applications", application, "editor@drones") == 200
        models = "/models"
        assert await status("POST", models, MODEL, "reader@drones") == 403
        assert await status("POST", models, MODEL, "editor@drones") == 200
        assert await status("POST", "/positions", position, "editor@drones") == 403
        assert await status("POST", "/positions", position, "publisher@drones") == 200
        for path in ("/projects", "/applications", "/positions"):
            _, seen = await office.send("GET", path, authorization="reader@other")
            assert seen["data"] == []
            _, seen = await office.send("GET", path, authorization="reader@drones")
            assert len(seen["data"]) == 1
        # What somebody may not see is not there.
        hidden = await office.send("GET", "/positions/north", authorization="reader@other")
        missing = await office.send("GET", "/positions/none", authorization="reader@other")
        assert hidden[0] == missing[0] == 404
        assert hidden[1]["message"] == "there is no position 'north'"
        assert await status("GET", "/positions/none", None, "") == 401
        assert await status("DELETE", "/positions/north", None, "reader@drones") == 403
        assert await status("GET", "/applications/none/models", None, "reader@other") == 403

    run(tmp_path, scenario, authorizer=GrantedAuthorizer)


def test_what_asks_for_more_than_the_quota_is_refused(tmp_path: Path) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        body = {"name": "north", "application": "battery", "model": "lstm:1", "replicaCount": 11}
        status, tree = await office.send("POST", "/positions", body)
        assert (status, "quota exceeded: replicas 11 of 10" in tree["message"]) == (409, True)
        await office.data("POST", "/positions", {**body, "replicaCount": 6})
        await office.wait(in_service)
        status, _ = await office.send("POST", "/positions/north/scale", {"replicaCount": 11})
        assert status == 409
        other = {"serviceId": "other", "wrapper": "o.py", "replicaCount": 5}
        assert (await office.send("POST", "/modserv/deploy", other))[0] == 409
        assert (await office.send("POST", "/positions/north/scale", {"replicaCount": 5}))[0] == 200
        assert (await office.send("POST", "/modserv/deploy", other))[0] == 200

    run(tmp_path, scenario)


def test_position_takes_no_service_of_a_deployment_that_does_not_report_yet(
    tmp_path: Path,
) -> None:
    async def scenario(office: Office) -> None:
        await office.set_up()
        other = {"serviceId": "other", "wrapper": "o.py", "service": "north", "replicaCount": 1}
        assert (await office.send("POST", "/modserv/deploy", other))[0] == 200
        body = {"name": "north", "application": "battery", "model": "lstm:1"}
        status, tree = await office.send("POST", "/positions", body)
        assert (status, "serves 'north'" in tree["message"]) == (409, True)

    run(tmp_path, scenario)


def test_what_gets_a_child_at_this_moment_is_not_removed(tmp_path: Path) -> None:
    """Who removes a record expects it as it was when nothing needed it."""

    async def scenario(office: Office) -> None:
        store = office.deployer.store

        async def revisions(*keys: str) -> list[int]:
            entries = [await store.get(key) for key in keys]
            return [entry.revision for entry in entries if entry is not None]

        keys = ("project/drones", "application/battery", "model/battery/lstm:1")
        await office.set_up()
        before = await revisions(*keys)
        assert before == sorted(before)
        await office.data("POST", "/applications", {"name": "other", "project": "drones"})
        await office.data("POST", "/models", {**MODEL, "version": "2"})
        body = {"name": "north", "application": "battery", "model": "lstm:1"}
        await office.data("POST", "/positions", body)
        for key, seen in zip(keys, before, strict=True):
            with pytest.raises(ConflictError):
                await store.commit(Transaction(deletes=frozenset({key}), expected={key: seen}))
        # What has just changed hinders nobody who adds something too.
        several = [{**MODEL, "version": str(number)} for number in range(3, 9)]
        added = await asyncio.gather(*(office.send("POST", "/models", each) for each in several))
        assert [status for status, _ in added] == [200] * 6

    run(tmp_path, scenario)
