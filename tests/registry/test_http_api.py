"""The HTTP API: what each wrong request is answered, ETags, diffs, approval, roles, watching."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.access import api_key
from gateway.access.identity import NO_LIMITS
from gateway.access.key_store import KeyStore
from registry.grpc_methods import FETCH
from registry.records import content_digest
from rpc.client import Channel
from rpc.status import RpcError
from schemas import wire
from tests.registry.running import OWN, RunningRegistry, running_registry

SCHEMA: dict[str, Any] = {
    "meta": {"serviceId": "image", "version": "1.0.0", "route": "/v1/private/image"},
    "schemainput": {
        "type": "object",
        "properties": {
            "parameter": {
                "type": "object",
                "properties": {
                    "image": {"type": "object", "properties": {"a": {"type": "integer"}}}
                },
            }
        },
    },
}
VERSION = f"/v1/versions/{OWN}"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/versions/a/b/c", "", 404, ""),
        ("GET", VERSION, "", 404, "there is no such version"),
        ("GET", "/v1/versions/.a/b/c/d", "", 400, "project '.a' is not a name"),
        ("GET", f"{VERSION}/files/none.txt", "", 404, "no file 'none.txt'"),
        ("GET", f"{VERSION}/files/x?release=7", "", 404, "no release 7"),
        ("GET", f"{VERSION}/files/x?release=-1", "", 400, "release must be a whole number"),
        ("GET", f"{VERSION}/diff?to=soon", "", 400, "release must be a whole number"),
        ("GET", f"{VERSION}/status?wait=long", "", 400, "wait must be a number of seconds"),
        ("PUT", f"{VERSION}/files/../x", "1", 404, ""),
        ("PUT", f"{VERSION}/files/.x", "1", 400, "file name '.x' is not a name"),
        ("PUT", f"{VERSION}/files/ase.yaml", "gateway: {prot: 1}", 400, "did you mean 'port'?"),
        ("PUT", f"{VERSION}/files/x.json", "{", 400, "x.json:1:2: error: not JSON"),
        ("PUT", f"{VERSION}/files/x.yaml", "a: [", 400, "not YAML"),
        ("PUT", f"{VERSION}/files/x.yaml", b"\xff", 400, "is not UTF-8"),
        ("PUT", f"{VERSION}/files/x.bin", bytes(1024 * 1024 + 1), 413, "1024 KiB"),
        ("PUT", f"{VERSION}/files/s.json", json.dumps(SCHEMA | {"meta": 3}), 400, "meta"),
        ("DELETE", f"{VERSION}/files/x", "", 404, "no file 'x'"),
        ("POST", f"{VERSION}/releases", "{", 400, "the body is not JSON"),
        ("POST", f"{VERSION}/releases", "[]", 400, "the body is no JSON object"),
        ("POST", f"{VERSION}/releases", '{"coment": ""}', 400, "there are comment, gray, force"),
        ("POST", f"{VERSION}/releases", '{"force": 1}', 400, "force must be of type bool"),
        ("POST", f"{VERSION}/releases", "", 409, "nothing was edited since release 0"),
        ("POST", f"{VERSION}/releases", '{"gray": {"label": {}}}', 400, "unknown member 'label'"),
        ("POST", f"{VERSION}/releases", '{"gray": {"labels": {"a": 1}}}', 400, "object of texts"),
        ("POST", f"{VERSION}/releases", '{"gray": {"addresses": [1]}}', 400, "list of texts"),
        ("POST", f"{VERSION}/releases", '{"gray": {"percentage": true}}', 400, "be a number"),
        ("POST", f"{VERSION}/rollback", '{"release": true}', 400, "release must be of type int"),
        ("POST", f"{VERSION}/promote", "", 409, "there is no gray release"),
        ("PUT", "/v1/projects/shop", "", 400, "approval is missing"),
        ("PUT", f"{VERSION}/providers/a:1", '{"state": "off"}', 400, "online, offline or isolated"),
        ("GET", "/v1/audit?limit=x", "", 400, "limit must be a whole number"),
        ("GET", "/v1/watch?after=99&wait=5", "", 410, "are not kept"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, method: str, path: str, body: str | bytes, status: int, message: str
) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            response = await registry.client.request(method, path, content=body)
            assert response.status_code == status, response.text
            if message:
                assert message in response.json()["error"]
            assert registry.process.revision == 0

    asyncio.run(run())


def test_a_file_has_a_tag_and_of_two_editors_one_is_told(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            tag = (await registry.put("a.txt", "1", if_none_match="*")).headers["etag"]
            path = f"{VERSION}/files/a.txt"
            response = await registry.client.get(path)
            assert (response.text, response.headers["etag"]) == ("1", tag)
            again = await registry.client.get(path, headers={"if-none-match": tag})
            assert (again.status_code, again.content) == (304, b"")
            assert (await registry.put("a.txt", "2", if_match=tag)).status_code == 200
            late = await registry.put("a.txt", "3", if_match=tag)
            assert late.status_code == 412
            assert "somebody else has changed it" in late.json()["error"]
            assert late.json()["cure"] == "read it again, and make the change there"
            assert (await registry.put("a.txt", "3", if_none_match="*")).status_code == 412
            assert (await registry.client.get(path)).text == "2"

    asyncio.run(run())


def test_releases_differ_and_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1\n", comment="first")
            await registry.put("b.txt", "new\n")
            await registry.release("a.txt", "2\n", comment="second")
            diff = (await registry.client.get(f"{VERSION}/diff?from=1&to=2")).json()["files"]
            assert [(d["file"], d["change"]) for d in diff] == [
                ("a.txt", "changed"),
                ("b.txt", "added"),
            ]
            assert diff[0]["lines"][-2:] == ["-1", "+2"]
            old = await registry.client.get(f"{VERSION}/files/a.txt?release=1")
            assert old.text == "1\n"
            releases = (await registry.client.get(f"{VERSION}/releases")).json()["releases"]
            assert [(r["number"], r["comment"]) for r in releases] == [(2, "second"), (1, "first")]
            await registry.post("rollback", release=1)
            assert (await registry.client.get(f"{VERSION}/files/a.txt")).text == "1\n"
            await registry.put("c.txt", "x")
            assert (await registry.client.get(VERSION)).json()["has_draft"]
            assert (await registry.post("discard")).status_code == 200
            assert not (await registry.client.get(VERSION)).json()["has_draft"]

    asyncio.run(run())


def test_a_schema_that_breaks_clients_needs_force(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("schema_image.json", json.dumps(SCHEMA))
            changed = json.loads(json.dumps(SCHEMA))
            parameter = changed["schemainput"]["properties"]["parameter"]["properties"]
            parameter["image"]["properties"]["a"]["maximum"] = 3
            await registry.put("schema_image.json", json.dumps(changed))
            response = await registry.post("releases")
            assert response.status_code == 409
            assert response.json()["kind"] == "breaking"
            assert "clients would break" in response.json()["error"]
            assert "maximum" in response.json()["error"]
            assert (await registry.client.get(VERSION)).json()["stable"] == 1
            assert (await registry.post("releases", force=True)).json()["stable"] == 2
            await registry.client.delete(f"{VERSION}/files/schema_image.json")
            await registry.put("a.txt", "1")
            removed = await registry.post("releases")
            assert "schema_image.json: removed" in removed.json()["error"]

    asyncio.run(run())


def test_approval_needs_another_person(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.client.put("/v1/projects/shop", json={"approval": True})
            registry.client.headers["x-ase-author"] = "ann"
            await registry.put("a.txt", "1")
            answer = (await registry.post("releases")).json()
            assert answer["stable"] == 0
            assert answer["pending"]["author"] == "ann"
            assert (await registry.post("approve")).status_code == 403
            registry.client.headers["x-ase-author"] = "bob"
            assert (await registry.post("approve")).json()["stable"] == 1

    asyncio.run(run())


async def keys_of_roles(folder: Path, *roles: str) -> dict[str, str]:
    """Return a key for each role, from a store in `folder`."""
    from asectl.keys.create import new_entry

    store = KeyStore(folder / "keys.sqlite")
    store.create(bytes(api_key.HASH_KEY_BYTES))
    texts = {}
    for role in roles:
        text, entry = new_entry(store, f"app-{role}", [], NO_LIMITS, 0.0, [role], is_pair=False)
        store.add(entry)
        texts[role] = text
    return texts


def test_each_role_may_do_so_much_and_no_more(tmp_path: Path) -> None:
    async def run() -> None:
        keys = await keys_of_roles(
            tmp_path, "reader@shop", "editor@shop", "publisher@shop", "admin", "admin@bank"
        )
        requests = [
            ("GET", f"{VERSION}/status", ""),
            ("PUT", f"{VERSION}/files/a.txt", "1"),
            ("POST", f"{VERSION}/releases", ""),
            ("PUT", "/v1/projects/shop", '{"approval": false}'),
            ("POST", "/v1/backup", ""),
        ]
        async with running_registry(tmp_path, auth="key") as registry:
            statuses = {}
            for role, key in keys.items():
                registry.client.headers["authorization"] = f"Bearer {key}"
                statuses[role] = [
                    (await registry.client.request(m, p, content=b)).status_code
                    for m, p, b in requests
                ]
            assert statuses == {
                "reader@shop": [200, 403, 403, 403, 403],
                "editor@shop": [200, 200, 403, 403, 403],
                "publisher@shop": [200, 200, 200, 403, 403],
                "admin": [200, 200, 409, 200, 200],
                "admin@bank": [403, 403, 403, 403, 403],
            }
            assert (await registry.client.get("/v1/versions")).json()["versions"] == []
            for wrong in ("", "Bearer nothing", "Basic eA==", f"Bearer {keys['admin']}x"):
                registry.client.headers["authorization"] = wrong
                response = await registry.client.get("/v1/versions")
                assert response.status_code == 401
                assert "www-authenticate" in response.headers
            registry.client.headers["authorization"] = f"Bearer {keys['admin']}"
            audit = (await registry.client.get("/v1/audit")).json()["entries"]
            assert {entry["author"].partition(" ")[0] for entry in audit} == {
                "app-editor@shop", "app-publisher@shop", "app-admin",
            }  # fmt: skip

    asyncio.run(run())


async def read_events(registry: RunningRegistry, after: int, count: int) -> list[dict[str, Any]]:
    """Return the next changes; one request each time."""
    changes: list[dict[str, Any]] = []
    while len(changes) < count:
        query = {"after": str(after), "wait": "20"}
        response = await registry.client.get("/v1/watch", params=query, timeout=30)
        changes += response.json()["changes"]
        after = changes[-1]["revision"]
    return changes


def test_a_watch_has_every_change_and_resumes(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            watching = asyncio.ensure_future(read_events(registry, 0, 12))
            for number in range(6):
                await registry.release("a.txt", str(number))
            changes = await watching
            assert [change["revision"] for change in changes] == [*range(1, 13)]
            keys = [item["key"] for item in changes[1]["changes"]]
            assert f"publication/{OWN}" in keys
            assert f"release/{OWN}/00000001" in keys
            later = await read_events(registry, 10, 2)
            assert [change["revision"] for change in later] == [11, 12]

    asyncio.run(run())


def test_the_audit_log_is_read_by_pages(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            for number in range(3):
                await registry.release("a.txt", str(number))
            first = (await registry.client.get("/v1/audit?limit=4")).json()
            rest = (await registry.client.get("/v1/audit", params={"after": first["after"]})).json()
            actions = [entry["action"] for entry in first["entries"] + rest["entries"]]
            assert actions == ["edit", "publish"] * 3

    asyncio.run(run())


def test_metrics_and_readiness(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.release("a.txt", "1")
            text = (await registry.client.get("/metrics")).text
            assert "ase_registry_revision 2.0" in text
            assert "ase_registry_versions 1.0" in text
            assert (await registry.client.get("/readyz")).json() == {"status": "ready"}
            assert (await registry.client.get("/livez")).status_code == 200

    asyncio.run(run())


async def other_project(registry: RunningRegistry, keys: dict[str, str]) -> str:
    """Publish a file in another project; return the digest of its content."""
    registry.client.headers["authorization"] = f"Bearer {keys['admin']}"
    await registry.release("a.txt", "top secret", "bank/web/gateway/1.0.0")
    await registry.release("b.txt", "ours")
    registry.client.headers["authorization"] = f"Bearer {keys['reader@shop']}"
    return content_digest(b"top secret")


def test_a_reader_sees_nothing_of_other_projects(tmp_path: Path) -> None:
    async def run() -> None:
        keys = await keys_of_roles(tmp_path, "reader@shop", "admin")
        async with running_registry(tmp_path, auth="key") as registry:
            digest = await other_project(registry, keys)
            client = registry.client
            assert (await client.get("/v1/watch?after=0")).status_code == 403
            watched = (await client.get("/v1/watch?after=0&project=shop")).json()["changes"]
            assert watched
            for path in ("/v1/versions", "/v1/audit", "/v1/consumers", "/v1/providers"):
                assert "bank" not in (await client.get(path)).text
            assert "bank" not in json.dumps(watched)
            events = client.stream(
                "GET", "/v1/watch?project=shop", headers={"accept": "text/event-stream"}
            )
            registry.process.stop_streams()
            async with events as response:
                assert "bank" not in (await response.aread()).decode()
            fetch = wire.FetchRequest(digests=[digest]).SerializeToString()
            for role, is_refused in (("reader@shop", True), ("admin", False)):
                channel = Channel(registry.grpc)
                metadata = (("authorization", f"Bearer {keys[role]}"),)
                call = channel.unary(FETCH, fetch, timeout=20, metadata=metadata)
                if is_refused:
                    with pytest.raises(RpcError, match="NOT_FOUND"):
                        await call
                else:
                    assert wire.FetchReply.FromString(await call).contents[digest] == b"top secret"
                await channel.close()

    asyncio.run(run())


def test_a_stream_of_events_ends_when_its_key_is_revoked(tmp_path: Path) -> None:
    async def run() -> None:
        keys = await keys_of_roles(tmp_path, "reader@shop", "admin")
        store = KeyStore(tmp_path / "keys.sqlite")
        async with running_registry(tmp_path, auth="key") as registry, asyncio.timeout(30):
            headers = {"authorization": f"Bearer {keys['reader@shop']}"}
            stream = {**headers, "accept": "text/event-stream"}
            events = asyncio.create_task(
                registry.client.get("/v1/watch?project=shop", headers=stream)
            )
            registry.client.headers["authorization"] = f"Bearer {keys['admin']}"
            await registry.put("a.txt", "1")
            assert registry.process._keys is not None
            entry = registry.process._keys.table().find_key(keys["reader@shop"])
            assert entry is not None
            assert store.revoke(entry.identity.key_id, 1.0)
            status = 200
            while status == 200:
                response = await registry.client.get("/v1/versions", headers=headers)
                status = response.status_code
                await asyncio.sleep(0.01)
            await registry.put("a.txt", "2")
            text = (await events).text
            assert text.count("event: change") == 2  # the one that it was sent with is the last

    asyncio.run(run())


def test_one_key_is_one_person_whatever_it_says(tmp_path: Path) -> None:
    async def run() -> None:
        keys = await keys_of_roles(tmp_path, "admin", "publisher@shop")
        async with running_registry(tmp_path, auth="key") as registry:
            headers = registry.client.headers
            headers["authorization"] = f"Bearer {keys['admin']}"
            await registry.client.put("/v1/projects/shop", json={"approval": True})
            headers["x-ase-author"] = "ann"
            await registry.put("a.txt", "1")
            await registry.post("releases")
            assert (await registry.client.get(VERSION)).json()["pending"]["release"] == 1
            headers["x-ase-author"] = "bob"
            assert (await registry.post("approve")).status_code == 403
            headers["authorization"] = f"Bearer {keys['publisher@shop']}"
            assert (await registry.post("approve")).json()["stable"] == 1

    asyncio.run(run())


def test_a_draft_that_was_edited_since_is_not_published(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.put("a.txt", "1")
            seen = (await registry.client.get(VERSION)).json()["digest"]
            await registry.put("a.txt", "2")
            path = f"{VERSION}/releases"
            late = await registry.client.post(path, headers={"if-match": f'"{seen}"'})
            assert late.status_code == 412
            seen = (await registry.client.get(VERSION)).json()["digest"]
            done = await registry.client.post(path, headers={"if-match": f'"{seen}"'})
            assert done.json()["stable"] == 1

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", f"{VERSION}/files/a.json", "[" + "9" * 5000 + "]"),
        ("POST", f"{VERSION}/releases", '{"gray": {"percentage": ' + "9" * 400 + "}}"),
        ("POST", f"{VERSION}/releases", '{"comment": "\\ud800"}'),
    ],
)
def test_what_python_cannot_hold_is_no_fault_of_ours(
    tmp_path: Path, method: str, path: str, body: str
) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            await registry.put("a.txt", "1")
            response = await registry.client.request(method, path, content=body)
            assert response.status_code == 400, response.text

    asyncio.run(run())


def test_a_long_history_is_read_by_pages(tmp_path: Path) -> None:
    async def run() -> None:
        async with running_registry(tmp_path) as registry:
            for number in range(150):
                await registry.release("a.txt", str(number))
            first = (await registry.client.get("/v1/watch?after=0")).json()
            assert len(first["changes"]) == 200
            assert first["after"] == 200
            rest = (await registry.client.get("/v1/watch?after=200")).json()
            assert [c["revision"] for c in rest["changes"]] == [*range(201, 301)]
            assert "files" not in json.dumps(first["changes"][0]["changes"][0]["record"])

    asyncio.run(run())
