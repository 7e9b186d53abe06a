"""Real processes with a registry: config, schemas and hubs come from it; nothing fails with it."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aseloader import declare
from tests.harness import (
    PROBE,
    ROOT,
    Gateway,
    Hub,
    Loader,
    Process,
    make_envelope,
    run_asectl,
)
from tests.wrappers.probe import Probe

SCHEMA = json.loads(declare.schema(Probe))
TIMEOUT_S = 60


class Registry(Process):
    """`asectl registry` on free ports."""

    def __init__(self, *flags: str, cwd: Path, port: str = "0", http_port: str = "0") -> None:
        super().__init__(
            "registry", "--registry-port", port, "--registry-http-port", http_port, *flags, cwd=cwd
        )
        listening = self.wait_for_event("listening")
        self.grpc: str = listening["registry"]
        self.api: str = listening["api"]

    def path(self, service: str) -> str:
        return f"{self.api}/v1/versions/shop/web/{service}/1.0.0"

    def release(self, service: str, file: str, text: str, **body: Any) -> dict[str, Any]:
        """Put a file and publish it."""
        put = httpx.put(f"{self.path(service)}/files/{file}", content=text, trust_env=False)
        assert put.status_code == 200, put.text
        post = httpx.post(f"{self.path(service)}/releases", json=body, trust_env=False)
        assert post.status_code == 200, post.text
        publication: dict[str, Any] = post.json()
        return publication

    def status(self, service: str) -> dict[str, tuple[int, str]]:
        """Return what each instance runs, when all have answered."""
        url = f"{self.path(service)}/status?wait=30"
        instances = httpx.get(url, timeout=TIMEOUT_S, trust_env=False).json()["instances"]
        return {i["instance"]: (i["running"], i["outcome"]) for i in instances}


def registry_flags(registry: Registry, instance: str, *flags: str) -> tuple[str, ...]:
    return (
        "--registry", registry.grpc, "--registry-project", "shop", "--registry-group", "web",
        "--registry-instance", instance, *flags,
    )  # fmt: skip


def start_gateway(registry: Registry, folder: Path, *flags: str) -> Gateway:
    folder.mkdir(exist_ok=True)
    own = registry_flags(registry, folder.name, *flags)
    return Gateway("--lb-accept-schemas", "false", *own, cwd=folder)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(cwd=tmp_path) as running:
        yield running


def gateway_of_instance(registry: Registry, folder: Path, loader: Loader) -> Gateway:
    """Start a gateway that knows a loader by its configuration in the registry."""
    instance = f"{{service: probe, addr: '{loader.addr}', total: 64}}"
    registry.release("gateway", "ase.yaml", f"instances: [{instance}]\n")
    return start_gateway(registry, folder)


def write_schema(**meta: Any) -> str:
    return json.dumps({**SCHEMA, "meta": {**SCHEMA["meta"], **meta, "serviceId": "probe"}})


def test_gateways_take_schemas_and_options_and_loaders_find_them(
    registry: Registry, tmp_path: Path
) -> None:
    registry.release("probe", "schema_probe.json", write_schema())
    registry.release("gateway", "ase.yaml", "gateway: {deadline: 4}\n")
    flags = registry_flags(registry, "loader", "--registry-cache", str(tmp_path / "loader"))
    with start_gateway(registry, tmp_path / "gw") as gateway:
        assert gateway.call().status_code == 503  # known, and no loader yet
        with Process("loader", "run", "tests/wrappers/probe.py:Probe", *flags) as loader:
            listening = loader.wait_for_event("listening")
            assert listening["lb"] == gateway.lb
            assert listening["api"] == f"{gateway.url}/v1/private/probe"
            gateway.wait_for_event("instance admitted", instance=listening["addr"])
            assert gateway.call().status_code == 200
            shown = run_asectl(
                "config", "show", "--registry-servers", registry.grpc, cwd=tmp_path / "gw"
            ).stdout
            line = next(line for line in shown.splitlines() if line.startswith("gateway.deadline"))
            assert line.split()[1:] == ["4", "registry:ase.yaml:1:11"]
            # A second release, refused by the gateway: the first one serves on, and it says why.
            registry.release("other", "schema_probe.json", write_schema())
            gateway.wait_for_event("generation refused; the last one stays")
            assert registry.status("other") == {"gw": (0, "refused")}
            assert gateway.call().status_code == 200
            assert loader.stop() == 0
        gateway.wait_for_event("instance gone", instance=listening["addr"])
        providers = httpx.get(f"{registry.path('probe')}/providers", trust_env=False).json()
        assert providers == {"providers": []}


def test_a_change_under_load_fails_no_request(registry: Registry, tmp_path: Path) -> None:
    """The loader is one that speaks any schema: it does not report."""
    registry.release("probe", "schema_probe.json", write_schema())
    statuses: list[int] = []
    is_done = threading.Event()

    def send(url: str) -> None:
        with httpx.Client(base_url=url, trust_env=False, timeout=TIMEOUT_S) as client:
            while not is_done.is_set():
                response = client.post("/v1/private/probe", json=make_envelope())
                statuses.append(response.status_code)

    with (
        Hub() as hub,
        Loader(hub.lb) as loader,
        gateway_of_instance(registry, tmp_path / "gw", loader) as gateway,
    ):
        assert gateway.call().status_code == 200
        senders = [threading.Thread(target=send, args=(gateway.url,)) for _ in range(2)]
        for sender in senders:
            sender.start()
        for number in range(5):
            registry.release("probe", "schema_probe.json", write_schema(description=str(number)))
            assert registry.status("probe") == {"gw": (number + 2, "applied")}
        httpx.post(f"{registry.path('probe')}/rollback", json={"release": 1}, trust_env=False)
        assert registry.status("probe") == {"gw": (7, "applied")}
        is_done.set()
        for sender in senders:
            sender.join()
    assert len(statuses) > 20
    assert set(statuses) == {200}


def test_a_gray_release_is_seen_by_one_of_two(registry: Registry, tmp_path: Path) -> None:
    registry.release("gateway", "ase.yaml", "gateway: {deadline: 4}\n")
    with (
        start_gateway(registry, tmp_path / "a", "--registry-region", "dx"),
        start_gateway(registry, tmp_path / "b", "--registry-region", "hf"),
    ):
        gray = {"labels": {"region": "dx"}}
        registry.release("gateway", "ase.yaml", "gateway: {deadline: 3}\n", gray=gray)
        assert registry.status("gateway") == {"a": (2, "applied"), "b": (1, "applied")}
        httpx.post(f"{registry.path('gateway')}/withdraw", trust_env=False)
        assert registry.status("gateway") == {"a": (1, "applied"), "b": (1, "applied")}


def test_without_a_registry_a_gateway_serves_and_starts_with_the_last_state(
    tmp_path: Path,
) -> None:
    with Registry(cwd=tmp_path) as registry:
        registry.release("probe", "schema_probe.json", write_schema())
        ports = (registry.grpc.rpartition(":")[2], registry.api.rpartition(":")[2])
        with start_gateway(registry, tmp_path / "gw") as gateway, Loader(gateway.lb) as loader:
            gateway.wait_until_up(loader)
            registry.kill()
            gateway.wait_for_event("registry lost; the last state stays")
            assert gateway.call().status_code == 200
    with Hub() as hub, Loader(hub.lb) as loader:
        flags = ("--lb-hub", hub.lb, "--registry-wait", "0.2")
        with start_gateway(registry, tmp_path / "gw", *flags) as gateway:
            gateway.wait_for_event("no registry answers; started with the last configuration")
            gateway.wait_until_up(loader)
            assert gateway.call().status_code == 200
            # It comes back, with a change that was made meanwhile.
            with Registry(cwd=tmp_path, port=ports[0], http_port=ports[1]) as registry:
                gateway.wait_for_event("registry followed")
                registry.release("probe", "schema_probe.json", write_schema(description="new"))
                assert registry.status("probe") == {"gw": (2, "applied")}


def test_without_a_registry_and_without_a_last_state_the_start_says_so(tmp_path: Path) -> None:
    flags = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")
    registry = ("--registry", "127.0.0.1:1", "--registry-wait", "0.1")
    result = run_asectl("gateway", *flags, *registry, cwd=tmp_path)
    assert result.returncode == 4
    assert "registry.servers: none of 127.0.0.1:1 has answered in 0.1 s" in result.stderr
    assert "see that asectl registry runs there" in result.stderr


def test_a_configuration_that_cannot_be_used_stops_a_first_start(
    registry: Registry, tmp_path: Path
) -> None:
    registry.release("probe", "schema_probe.json", write_schema())
    registry.release("other", "schema_probe.json", write_schema())
    flags = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")
    result = run_asectl("gateway", *flags, *registry_flags(registry, "gw"), cwd=tmp_path)
    assert result.returncode == 3
    assert "service 'probe' is in" in result.stderr


def test_gateways_find_a_hub_of_their_group(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    hub = Process(
        "lb", "--lb-port", "0", "--lb-admin-port", "0", *registry_flags(registry, "hub"),
        cwd=tmp_path / "hub",
    )  # fmt: skip
    with hub:
        address = hub.wait_for_event("listening")["lb"]
        url = f"{registry.path('lb')}/providers"
        while not httpx.get(url, trust_env=False).json()["providers"]:
            pass
        with start_gateway(registry, tmp_path / "gw") as gateway:
            gateway.wait_for_event("hub followed", hub=address)


def start_hub(registry: Registry, folder: Path) -> tuple[Process, str]:
    folder.mkdir()
    own = registry_flags(registry, folder.name)
    hub = Process("lb", "--lb-port", "0", "--lb-admin-port", "0", *own, cwd=folder)
    return hub, hub.wait_for_event("listening")["lb"]


def test_gateways_and_loaders_follow_hubs_that_come_and_go(
    registry: Registry, tmp_path: Path
) -> None:
    registry.release("probe", "schema_probe.json", write_schema())
    cache = ("--registry-cache", str(tmp_path / "loader"))
    with (
        start_gateway(registry, tmp_path / "gw", "--lb-hub", "registry") as gateway,
        Process(
            "loader", "run", "tests/wrappers/probe.py:Probe",
            *registry_flags(registry, "loader", *cache),
        ) as loader,
    ):  # fmt: skip
        loader.wait_for_event("listening")
        assert gateway.call().status_code == 503
        first, first_address = start_hub(registry, tmp_path / "hub1")
        with first:
            gateway.wait_for_event("hub followed", hub=first_address)
            gateway.wait_for_event("instance admitted")
            second, second_address = start_hub(registry, tmp_path / "hub2")
            with second:
                gateway.wait_for_event("hub followed", hub=second_address)
                assert first.stop() == 0
                gateway.wait_for_event("hub left: the registry does not list it")
                for _ in range(20):
                    assert gateway.call().status_code == 200
                assert loader.stop() == 0


def test_hubs_of_a_registry_need_one(tmp_path: Path) -> None:
    result = run_asectl("gateway", "--lb-hub", "registry", cwd=tmp_path)
    assert result.returncode == 3
    assert "lb.hub: registry: no registry is named; give registry.servers" in result.stderr


def test_options_of_the_own_file_count(registry: Registry, tmp_path: Path) -> None:
    registry.release("gateway", "ase.yaml", "gateway: {deadline: 4, keep_alive: 9}\nauth: none\n")
    folder = tmp_path / "gw"
    folder.mkdir()
    (folder / "ase.yaml").write_text(
        f"gateway: {{deadline: 2}}\nregistry: {{servers: '{registry.grpc}', project: shop, "
        "group: web}\n"
    )
    with start_gateway(registry, folder):
        shown = json.loads(run_asectl("config", "show", "--effective", "--json", cwd=folder).stdout)
    values = {option["option"]: (option["value"], option["origin"]) for option in shown}
    assert values["gateway.deadline"] == (2, "ase.yaml:1:11")
    assert values["gateway.keep_alive"] == (9, "registry:ase.yaml:1:24")
    assert values["auth.methods"][0] == ["none"]
    assert values["auth.keys"][0] == str(folder / "keys.sqlite")


def test_workers_follow_on_their_own(registry: Registry, tmp_path: Path) -> None:
    registry.release("gateway", "ase.yaml", "gateway: {deadline: 4}\n")
    with Hub() as hub:
        flags = ("--workers", "2", "--lb-hub", hub.lb)
        with start_gateway(registry, tmp_path / "gw", *flags):
            registry.release("gateway", "ase.yaml", "gateway: {deadline: 3}\n")
            statuses = registry.status("gateway")
            assert [*statuses.values()] == [(2, "applied")] * 2
            assert all(name.startswith("gw#") for name in statuses)


def test_kill_9_and_a_restart_lose_nothing(tmp_path: Path) -> None:
    with Registry(cwd=tmp_path) as registry:
        for number in range(3):
            registry.release("gateway", "a.txt", str(number))
        os.kill(registry.pid, signal.SIGKILL)
        registry.wait_for_exit()
    with Registry(cwd=tmp_path) as registry:
        releases = httpx.get(f"{registry.path('gateway')}/releases", trust_env=False).json()
        assert [release["number"] for release in releases["releases"]] == [3, 2, 1]


def test_it_is_refused_to_listen_for_others_without_keys(tmp_path: Path) -> None:
    result = run_asectl("registry", "--registry-host", "0.0.0.0", cwd=tmp_path)
    assert result.returncode == 3
    assert "anyone could change what all gateways run" in result.stderr


def test_with_keys_each_has_its_role(tmp_path: Path) -> None:
    keys = {}
    for role in ("reader@shop", "publisher@shop"):
        created = run_asectl("key", "create", "--app", "ops", "--role", role, cwd=tmp_path)
        assert created.returncode == 0
        keys[role] = created.stdout.strip()
    with Registry("--registry-auth", "key", cwd=tmp_path) as registry:
        registry.secrets += keys.values()
        url = f"{registry.path('gateway')}/files/a.txt"
        assert httpx.put(url, content="1", trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {keys['publisher@shop']}"}
        assert httpx.put(url, content="1", headers=headers, trust_env=False).status_code == 200
        publish = f"{registry.path('gateway')}/releases"
        assert httpx.post(publish, headers=headers, trust_env=False).status_code == 200
        flags = registry_flags(registry, "gw", "--registry-cache", str(tmp_path / "cache"))
        with Gateway(*flags, env={"ASE_REGISTRY_TOKEN": keys["reader@shop"]}) as gateway:
            gateway.secrets += keys.values()
            gateway.wait_for_event("registry followed")
        ports = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")
        refused = run_asectl(
            "gateway", *ports, *registry_flags(registry, "x", "--registry-wait", "0.3"),
            cwd=tmp_path,
        )  # fmt: skip
        assert refused.returncode == 4
        assert "UNAUTHENTICATED" in refused.stderr


def test_up_runs_a_registry_that_the_others_follow(tmp_path: Path) -> None:
    wrapper = str(ROOT / PROBE)
    with Process("up", wrapper, "--registry", "--port", "0", cwd=tmp_path) as up:
        api = up.wait_for_output("api      http").split()[1]
        up.wait_for_output("ready; try")
        put = f"{api}/v1/versions/default/default/gateway/1.0.0/files/ase.yaml"
        httpx.put(put, content="gateway: {deadline: 4}", trust_env=False).raise_for_status()
        post = f"{api}/v1/versions/default/default/gateway/1.0.0/releases"
        httpx.post(post, trust_env=False).raise_for_status()
        url = f"{api}/v1/versions/default/default/gateway/1.0.0/status?wait=30"
        status = httpx.get(url, timeout=TIMEOUT_S, trust_env=False).json()
        assert [i["outcome"] for i in status["instances"]] == ["applied"]
        status = run_asectl("cluster", "status", "--url", api)
        assert status.returncode == 0, status.stdout
        assert {line.split()[0] for line in status.stdout.splitlines()[1:]} == {
            "registry", "gateway", "lb", "loader",
        }  # fmt: skip
        up.signal(signal.SIGINT)
        assert up.wait_for_exit() == 0


def test_keys_come_with_the_files(registry: Registry, tmp_path: Path) -> None:
    def create_key() -> str:
        created = run_asectl("key", "create", "--app", "tests", cwd=tmp_path)
        assert created.returncode == 0, created.stderr
        return created.stdout.strip()

    def upload(file: str, content: bytes) -> None:
        url = f"{registry.path('gateway')}/files/{file}"
        httpx.put(url, content=content, trust_env=False).raise_for_status()

    def publish() -> None:
        httpx.post(f"{registry.path('gateway')}/releases", trust_env=False).raise_for_status()

    first = create_key()
    upload("ase.yaml", b"auth: key\n")
    upload("keys.sqlite", (tmp_path / "keys.sqlite").read_bytes())
    publish()
    registry.release("probe", "schema_probe.json", write_schema())
    with start_gateway(registry, tmp_path / "gw") as gateway:
        gateway.secrets.append(first)

        def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return gateway.post(make_envelope(), headers=headers).status_code

        assert status(first) == 503  # no loader is there
        second = create_key()
        gateway.secrets.append(second)
        assert status(second) == 401
        upload("keys.sqlite", (tmp_path / "keys.sqlite").read_bytes())
        publish()
        gateway.wait_for_event("keys changed")
        assert status(second) == 503


def test_limits_of_a_release_hold_at_once(registry: Registry, tmp_path: Path) -> None:
    with Hub() as hub, Loader(hub.lb) as loader:
        instance = f"instances: [{{service: probe, addr: '{loader.addr}', total: 64}}]\n"
        registry.release("probe", "schema_probe.json", write_schema())
        registry.release("gateway", "ase.yaml", instance)
        with start_gateway(registry, tmp_path / "gw") as gateway:
            assert [gateway.call().status_code for _ in range(3)] == [200] * 3
            limit = "services: {probe: {rate: 0.001, burst: 1}}\n"
            registry.release("gateway", "ase.yaml", instance + limit)
            assert registry.status("gateway") == {"gw": (2, "applied")}
            assert [gateway.call().status_code for _ in range(3)] == [200, 429, 429]
            httpx.post(f"{registry.path('gateway')}/rollback", trust_env=False)
            assert registry.status("gateway") == {"gw": (3, "applied")}
            assert [gateway.call().status_code for _ in range(3)] == [200] * 3


def test_a_configuration_that_never_came_to_run_is_not_started_with_again(
    registry: Registry, tmp_path: Path
) -> None:
    """It passes every check, and the gateway ends all the same: its port is taken."""
    registry.release("gateway", "ase.yaml", "gateway: {deadline: 4}\n")
    with start_gateway(registry, tmp_path / "gw") as gateway:
        assert registry.status("gateway") == {"gw": (1, "applied")}
        assert gateway.stop() == 0
    with Hub() as hub:
        port = hub.lb.rpartition(":")[2]
        text = f"gateway: {{deadline: 3, grpc: true, grpc_port: {port}}}\n"
        registry.release("gateway", "ase.yaml", text)
        flags = ("--gateway-port", "0", "--gateway-admin-port", "0", "--lb-port", "0")
        own = registry_flags(registry, "gw", *flags)
        result = run_asectl("gateway", *own, cwd=tmp_path / "gw")
        assert result.returncode == 1
        assert f"127.0.0.1:{port} is in use" in result.stderr
        # The next start takes the one before, and says so. It is tried again when that runs.
        with start_gateway(registry, tmp_path / "gw") as gateway:
            gateway.wait_for_event("generation failed; the last one stays")
            assert registry.status("gateway") == {"gw": (2, "applied")}
            gateway.wait_for_event("changed, and read at the next start alone")
