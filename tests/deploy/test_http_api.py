"""The HTTP API: the seed's requests and answers, and what is refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.openapi import BASE_PATH
from registry.access import Actor, Role
from tests.deploy.running import RunningDeployer, running_deployer

SPEC = {"serviceId": "ocr", "modelName": "ocr", "wrapper": "w.py:W", "replicaCount": 2}


def run(folder: Path, scenario: Callable[[RunningDeployer], Awaitable[None]]) -> None:
    async def main() -> None:
        async with running_deployer(folder) as deployer, asyncio.timeout(60):
            await scenario(deployer)

    asyncio.run(main())


def test_the_requests_of_the_seed_are_answered_as_there(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        body = {
            "modelName": "qwen", "wrapper": "w.py:W", "replicaCount": 1,
            "resourceRequirements": {"cpu": "4", "memory": "16Gi"},
        }  # fmt: skip
        created = await deployer.send("POST", "/deploy", body)
        assert created.status_code == 200
        assert {**created.json(), "data": None} == {
            "code": 0, "message": "deploy submit success", "data": None,
        }  # fmt: skip
        service_id = created.json()["data"]["serviceId"]
        assert len(service_id) == 8
        int(service_id, 16)
        shown = await deployer.wait(service_id, "running")
        assert shown["endpoint"] == "http://gw/v1/private/ocr"
        assert shown["updateTime"] == "1970-01-01 00:16:40"
        body["replicaCount"] = 2
        updated = await deployer.send("PUT", f"/{service_id}", body)
        assert updated.json()["message"] == "update submit success"
        shown = await deployer.wait(service_id, "running")
        assert len(shown["replicas"]) == 2
        assert shown["load"] == {"running": 2, "queued": 0, "slots": 2}
        listed = await deployer.data("/list")
        assert [(row["serviceId"], row["modelName"]) for row in listed] == [(service_id, "qwen")]
        deleted = await deployer.send("DELETE", f"/{service_id}")
        assert deleted.json()["message"] == "delete submit success"
        assert (await deployer.wait(service_id, "terminated"))["spec"] is None

    run(tmp_path, scenario)


def test_scaling_rolling_back_logs_and_steps(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        await deployer.send("POST", "/deploy", SPEC)
        first = await deployer.wait("ocr", "running")
        await deployer.send("POST", "/ocr/scale", {"replicaCount": 3})
        await deployer.wait("ocr", "running")
        await deployer.send("PUT", "/ocr", {**SPEC, "wrapper": "v.py:V", "replicaCount": 3})
        second = await deployer.wait("ocr", "running")
        assert second["serving"] == second["revision"] != first["revision"]
        answer = await deployer.send("POST", "/ocr/rollback")
        assert answer.json()["message"] == "rollback submit success"
        third = await deployer.wait("ocr", "running")
        assert third["serving"] == first["revision"]
        assert len(third["replicas"]) == 3
        pipeline = await deployer.data("/ocr/pipeline")
        assert [step["state"] for step in pipeline["steps"]] == ["done"] * 9
        logs = await deployer.send("GET", "/ocr/logs")
        assert logs.text == f"log of {logs.headers['x-replica']}"
        logs = await deployer.send("GET", "/ocr/logs?replica=x")
        assert logs.status_code == 503
        plan = await deployer.send("POST", "/plan", {**SPEC, "replicaCount": 11})
        assert plan.json()["data"]["changes"][0] == "scale ocr from 3 to 11 replicas"
        assert plan.json()["data"]["problem"].startswith("quota exceeded: replicas 11 of 10")

    run(tmp_path, scenario)


def test_a_deployment_keeps_the_shimlet_that_it_began_with(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        await deployer.send("POST", "/deploy", SPEC)
        shown = await deployer.wait("ocr", "running")
        assert shown["spec"]["shimlet"] == "fake"
        await deployer.send("PUT", "/ocr", {**SPEC, "replicaCount": 1})
        assert (await deployer.wait("ocr", "running"))["revision"] == shown["revision"]

    run(tmp_path, scenario)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/deploy", {"serviceId": "a", "zzz": 1}, 400, "zzz: unknown member"),
        ("POST", "/deploy", [], 400, "must be an object"),
        (
            "POST",
            "/deploy",
            {**SPEC, "shimlet": "k9s"},
            400,
            "unknown shimlet 'k9s'; there are fake",
        ),
        ("POST", "/deploy", {**SPEC, "pipeline": "x"}, 400, "unknown pipeline 'x'; there are"),
        ("POST", "/deploy", SPEC, 409, "ocr: is there already"),
        ("PUT", "/ocr", {**SPEC, "serviceId": "other"}, 400, "the path says 'ocr'"),
        ("PUT", "/none", {"wrapper": "w.py:W"}, 404, "there is no deployment 'none'"),
        ("GET", "/none", None, 404, "there is no deployment 'none'"),
        ("GET", "/none/events", None, 404, "there is no deployment 'none'"),
        ("DELETE", "/none", None, 404, "there is no deployment 'none'"),
        ("POST", "/ocr/scale", {"replicaCount": "2"}, 400, "must be a whole number"),
        ("POST", "/ocr/scale", {"replicaCount": -1}, 409, "must be 0 to 1000"),
        ("POST", "/ocr/rollback", None, 409, "there is no other revision before"),
        ("GET", "/ocr/logs?lines=x", None, 400, "lines: must be a whole number"),
    ],
)
def test_what_is_refused_is_said(
    tmp_path: Path, method: str, path: str, body: Any, status: int, message: str
) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        await deployer.send("POST", "/deploy", SPEC)
        response = await deployer.send(method, path, body)
        assert response.status_code == status
        assert message in response.json()["message"]
        assert response.json()["code"] == status

    run(tmp_path, scenario)


def test_bodies_are_json_and_short(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        post, path = deployer.client.post, f"{BASE_PATH}/deploy"
        json_type = {"content-type": "application/json"}
        # What a page of another site may send without being asked.
        response = await post(
            path, content=json.dumps(SPEC), headers={"content-type": "text/plain"}
        )
        assert response.status_code == 415
        assert (await post(path, content="{", headers=json_type)).status_code == 400
        assert (await post(path, content="[" * 100_000, headers=json_type)).status_code == 400
        large = json.dumps({**SPEC, "modelName": "x" * 300_000})
        assert (await post(path, content=large, headers=json_type)).status_code == 413
        assert await deployer.data("/list") == []

    run(tmp_path, scenario)


def test_events_are_resumed_after_the_last_one(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        await deployer.send("POST", "/deploy", SPEC)
        await deployer.wait("ocr", "running")
        deployer.bus.publish("service.status", "other", status="x")
        deployer.stopping.set()  # else the stream would not end
        first = await deployer.client.get("/api/v1/events?after=1")
        assert first.text == ": events\n\n"
        deployer.stopping.clear()

        async def read(path: str, headers: dict[str, str], last: str) -> str:
            task = asyncio.ensure_future(deployer.client.get(path, headers=headers))
            await asyncio.sleep(0.05)
            deployer.stopping.set()
            text = (await task).text
            deployer.stopping.clear()
            assert last in text
            return text

        text = await read("/api/v1/events?after=1", {}, '"id": "other"')
        ids = [int(line[4:]) for line in text.splitlines() if line.startswith("id: ")]
        assert ids == sorted(ids)
        assert '"topic": "pipeline.step"' in text
        resumed = await read("/api/v1/events", {"last-event-id": str(ids[-3])}, '"id": "other"')
        assert [int(line[4:]) for line in resumed.splitlines() if line[:3] == "id:"] == ids[-2:]
        own = await read(f"{BASE_PATH}/ocr/events?after=1", {}, '"id": "ocr"')
        assert '"id": "other"' not in own

    run(tmp_path, scenario)


def test_metrics_and_plugins_are_those_of_now(tmp_path: Path) -> None:
    async def scenario(deployer: RunningDeployer) -> None:
        await deployer.send("POST", "/deploy", SPEC)
        await deployer.wait("ocr", "running")
        text = (await deployer.send("GET", "/metrics")).text
        assert 'ase_deploy_deployments{phase="running"} 1.0' in text
        assert "ase_deploy_replicas 2.0" in text
        assert 'ase_deploy_events_total{topic="pipeline.step"}' in text
        plugins = await deployer.data("/plugins")
        assert plugins["shimlets"] == [
            {"id": "fake", "description": "replicas in memory", "default": True}
        ]
        assert {p["id"] for p in plugins["pipelines"]} == {"wrapper", "opensourcellm", "edge"}

    run(tmp_path, scenario)


class Keys:
    """An `Authorizer` that knows roles by name."""

    def identify(self, authorization: str, author: str) -> Actor:
        name = authorization.removeprefix("Bearer ")
        return Actor(author or name, {"*": Role[name.upper()]} if name else {}, name)


@pytest.mark.parametrize(
    ("role", "statuses"),
    [("", [403, 403, 403]), ("reader", [200, 403, 403]), ("editor", [200, 200, 403]),
     ("publisher", [200, 200, 200])],
)  # fmt: skip
def test_each_role_may_do_so_much(tmp_path: Path, role: str, statuses: list[int]) -> None:
    async def main() -> None:
        async with running_deployer(tmp_path, Keys) as deployer:
            deployer.client.headers["authorization"] = "Bearer publisher"
            await deployer.send("POST", "/deploy", SPEC)
            await deployer.wait("ocr", "running")
            deployer.client.headers["authorization"] = f"Bearer {role}" if role else ""
            read = await deployer.send("GET", "/ocr")
            logs = await deployer.send("GET", "/ocr/logs")
            delete = await deployer.send("DELETE", "/ocr")
            assert [read.status_code, logs.status_code, delete.status_code] == statuses

    asyncio.run(main())
