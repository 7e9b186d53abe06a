"""`asectl kong push`, `diff`, `register` and `drain` with a server that behaves as Kong does."""

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asectl.main import main
from tests.deploy.kong.fake_kong import FakeKong
from tests.harness import run_asectl

CONFIG = """\
kong:
  gateways: ["10.0.0.11:8200", "10.0.0.12:8200 weight=50"]
  hosts: [api.example]
  rate_limit: [100/second]
"""
FOREIGN_SERVICE = {"name": "shop", "host": "shop.internal", "tags": ["team-shop"]}
FOREIGN_ROUTE = {"name": "shop", "paths": ["/"], "service": "shop"}
NO_UPSTREAM = "Kong has no upstream ase-gateways of ours; `asectl kong push` makes it"


@pytest.fixture(params=[True, False], ids=["database", "db-less"])
def kong(request: pytest.FixtureRequest) -> Iterator[FakeKong]:
    with FakeKong(database=request.param) as running:
        running.load({"services": [FOREIGN_SERVICE], "routes": [FOREIGN_ROUTE]})
        yield running


@pytest.fixture
def database_kong() -> Iterator[FakeKong]:
    with FakeKong() as running:
        yield running


def run(
    kong: FakeKong, command: str, *args: str, config: str = CONFIG, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run a command of `asectl kong` in this process."""
    file = folder / "ase.yaml"
    file.write_text(config)
    words = ["kong", *command.split(), *args, "-c", str(file), "--kong-admin", kong.url]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(words)
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


def entities(kong: FakeKong, kind: str) -> dict[str, dict[str, Any]]:
    return {entity.get("name") or entity["target"]: entity for entity in kong.store[kind].values()}


def test_push_makes_what_is_missing_and_then_nothing(kong: FakeKong, tmp_path: Path) -> None:
    planned = run(kong, "diff", "--exit-code", folder=tmp_path)
    assert planned.returncode == 6, planned.stderr
    assert {*entities(kong, "services")} == {"shop"}, "diff changes nothing"
    pushed = run(kong, "push", folder=tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout == planned.stdout
    assert pushed.stdout.splitlines() == [
        "create upstream ase-gateways",
        "create target ase-gateways/10.0.0.11:8200",
        "create target ase-gateways/10.0.0.12:8200",
        "create service ase",
        "create route ase-call",
        "create route ase-apis",
        "create route ase-positions",
        "create plugin ase/rate-limiting",
        "8 changes",
    ]
    weights = {name: target["weight"] for name, target in entities(kong, "targets").items()}
    assert weights == {"10.0.0.11:8200": 100, "10.0.0.12:8200": 50}
    assert entities(kong, "plugins")["rate-limiting"]["config"]["second"] == 100
    assert {*entities(kong, "routes")} == {"shop", "ase-call", "ase-apis", "ase-positions"}
    for command in ("push", "diff --exit-code"):
        again = run(kong, command, folder=tmp_path)
        assert (again.returncode, again.stdout) == (0, "no change\n")


def test_push_updates_clears_and_deletes_what_is_ours_alone(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    config = 'gateway: {deadline: 60}\nkong: {gateways: ["10.0.0.12:8200"]}\n'
    pushed = run(kong, "push", config=config, folder=tmp_path)
    assert pushed.stdout.splitlines() == [
        "update target ase-gateways/10.0.0.12:8200 (weight)",
        "update service ase (read_timeout)",
        "update route ase-call (hosts)",
        "update route ase-apis (hosts)",
        "update route ase-positions (hosts)",
        "delete plugin ase/rate-limiting",
        "delete target ase-gateways/10.0.0.11:8200",
        "7 changes",
    ]
    assert {*entities(kong, "targets")} == {"10.0.0.12:8200"}
    assert entities(kong, "services")["ase"]["read_timeout"] == 65000
    assert entities(kong, "routes")["ase-call"]["hosts"] is None
    shop = entities(kong, "services")["shop"]
    assert {name: shop[name] for name in FOREIGN_SERVICE} == FOREIGN_SERVICE
    assert {*entities(kong, "routes")} == {"shop", "ase-call", "ase-apis", "ase-positions"}


def test_entity_of_someone_else_is_never_touched(kong: FakeKong, tmp_path: Path) -> None:
    kong.load({"services": [{"name": "ase", "host": "other.internal"}]})
    before = kong.export()
    pushed = run(kong, "push", folder=tmp_path)
    assert pushed.returncode == 1
    assert "Kong has service ase without the tag ase.ase: not ours. Nothing is" in pushed.stderr
    assert kong.export() == before


def add_plugin(kong: FakeKong, service: str, **members: Any) -> None:
    """Add a plugin of someone else to a service."""
    parent = kong._find("services", service)
    body = {"name": "rate-limiting", "config": {"second": 5}, **members}
    kong._add("plugins", body, parent)


def test_plugin_for_one_consumer_stays_beside_ours(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    consumer = "4711" if not kong._database else {"id": "4711"}
    add_plugin(kong, "ase", consumer=consumer)
    changed = run(kong, "push", config=CONFIG + "  key_auth: true\n", folder=tmp_path)
    assert changed.stdout.splitlines()[0] == "create plugin ase/key-auth"
    kept = [p["config"].get("second") for p in kong.store["plugins"].values()]
    assert sorted(filter(None, kept)) == [5, 100]
    assert run(kong, "push", folder=tmp_path).stdout.splitlines()[0] == "delete plugin ase/key-auth"


def test_plugin_for_one_consumer_is_no_conflict(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", config=CONFIG.replace("  rate_limit: [100/second]\n", ""), folder=tmp_path)
    add_plugin(kong, "ase", consumer="4711" if not kong._database else {"id": "4711"})
    assert (
        run(kong, "push", folder=tmp_path).stdout == "create plugin ase/rate-limiting\n1 change\n"
    )


def test_global_plugin_with_our_tag_is_left_alone(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    add_plugin(kong, "", name="prometheus", config={}, tags=["ase", "ase.ase"])
    assert run(kong, "diff", folder=tmp_path).stdout == "no change\n"
    assert run(kong, "register", "10.0.0.13:8200", folder=tmp_path).returncode == 0
    assert "prometheus" in entities(kong, "plugins")


def test_members_that_an_operator_has_set_stay(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    entities(kong, "services")["ase"]["tls_verify"] = True
    changed = run(kong, "push", config="gateway: {deadline: 60}\n" + CONFIG, folder=tmp_path)
    assert changed.stdout == "update service ase (read_timeout)\n1 change\n"
    assert entities(kong, "services")["ase"]["tls_verify"] is True


def test_ipv6_gateways_converge(kong: FakeKong, tmp_path: Path) -> None:
    config = 'kong: {gateways: ["[2001:db8::7]:8200"]}\n'
    assert run(kong, "push", config=config, folder=tmp_path).returncode == 0
    assert run(kong, "push", config=config, folder=tmp_path).stdout == "no change\n"
    drained = run(kong, "drain", "[2001:db8::7]:8200", config=config, folder=tmp_path)
    assert drained.returncode == 0, drained.stderr
    assert [target["weight"] for target in kong.store["targets"].values()] == [0]


def test_all_of_a_document_that_is_not_ours_stays(tmp_path: Path) -> None:
    consumers = [{"username": "a", "tags": ["2024-01-15", "="]}]
    others = {"consumers": consumers, "keyauth_credentials": [{"key": "k", "consumer": "a"}]}
    with FakeKong(database=False) as kong:
        kong.load({"services": [FOREIGN_SERVICE], **others})
        pushed = run(kong, "push", folder=tmp_path)
        assert pushed.returncode == 0, pushed.stderr
        assert kong.other_kinds == others


def test_change_of_somebody_else_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    with FakeKong(database=False) as kong:
        run(kong, "push", folder=tmp_path)
        reads = 0

        def change_after_the_first_read() -> None:
            nonlocal reads
            reads += 1
            if reads == 2:
                kong.other_kinds["consumers"] = [{"username": "new"}]
            kong.before["GET /config"] = change_after_the_first_read

        kong.before["GET /config"] = change_after_the_first_read
        result = run(kong, "register", "10.0.0.13:8200", folder=tmp_path)
        assert result.returncode == 2
        assert "nothing is changed here, run the command again" in result.stderr
        assert "10.0.0.13:8200" not in entities(kong, "targets")
        kong.before.clear()
        assert run(kong, "register", "10.0.0.13:8200", folder=tmp_path).returncode == 0
        assert kong.other_kinds["consumers"] == [{"username": "new"}]


def test_gateway_is_taken_back_with_its_weight(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    run(kong, "drain", "10.0.0.12:8200", folder=tmp_path)
    run(kong, "register", "10.0.0.12:8200", folder=tmp_path)
    assert entities(kong, "targets")["10.0.0.12:8200"]["weight"] == 50


def test_target_of_someone_else_is_not_registered_twice(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    upstream = kong._find("upstreams", "ase-gateways")
    kong._add("targets", {"target": "10.0.0.13:8200", "weight": 7}, upstream)
    result = run(kong, "register", "10.0.0.13:8200", folder=tmp_path)
    assert result.returncode == 1
    assert "Kong has target ase-gateways/10.0.0.13:8200 without the tag" in result.stderr


def test_password_in_the_url_of_kong_is_refused_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "ase.yaml"
    file.write_text(CONFIG)
    url = "http://admin:s3cret@127.0.0.1:1"
    result = run_asectl("kong", "diff", "-c", str(file), "--kong-admin", url)
    assert result.returncode == 2
    assert "use kong.admin_token" in result.stderr
    assert "s3cret" not in result.stderr


def test_two_deployments_share_a_kong(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    other = run(kong, "push", config=CONFIG + "  name: vision\n", folder=tmp_path)
    assert other.returncode == 0, other.stderr
    assert {*entities(kong, "services")} == {"shop", "ase", "vision"}
    assert run(kong, "diff", folder=tmp_path).stdout == "no change\n"


def test_drained_gateway_stays_drained_until_it_registers(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    drained = run(kong, "drain", "10.0.0.12:8200", folder=tmp_path)
    assert drained.stdout == "update target ase-gateways/10.0.0.12:8200 (weight)\n"
    assert entities(kong, "targets")["10.0.0.12:8200"]["weight"] == 0
    assert run(kong, "push", folder=tmp_path).stdout == "no change\n"
    registered = run(kong, "register", "10.0.0.12:8200", "--weight", "50", folder=tmp_path)
    assert registered.returncode == 0, registered.stderr
    assert entities(kong, "targets")["10.0.0.12:8200"]["weight"] == 50
    assert run(kong, "push", folder=tmp_path).stdout == "no change\n"


def test_registered_gateway_outlives_a_push_and_can_be_removed(
    kong: FakeKong, tmp_path: Path
) -> None:
    run(kong, "push", folder=tmp_path)
    assert run(kong, "register", "10.0.0.13:8200", folder=tmp_path).returncode == 0
    assert entities(kong, "targets")["10.0.0.13:8200"]["weight"] == 100
    assert run(kong, "push", folder=tmp_path).stdout == "no change\n"
    removed = run(kong, "drain", "10.0.0.13:8200", "--remove", folder=tmp_path)
    assert removed.stdout == "delete target ase-gateways/10.0.0.13:8200\n"
    assert "10.0.0.13:8200" not in entities(kong, "targets")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "register 10.0.0.13:8200",
            "Kong has no upstream ase-gateways of ours; `asectl kong push`",
        ),
        ("drain 10.0.0.13:8200", NO_UPSTREAM),
        ("register http://10.0.0.13", "must be host:port, without a scheme"),
        ("register a:1 --weight 70000", "a weight is 0 to 65535"),
        ("register a:1 --weight=-5", "a weight is 0 to 65535"),
    ],
)
def test_wrong_gateways_are_refused(
    kong: FakeKong, tmp_path: Path, command: str, message: str
) -> None:
    result = run(kong, command, folder=tmp_path)
    assert result.returncode in (1, 2)
    assert message in result.stderr


def test_unknown_target_cannot_be_drained(kong: FakeKong, tmp_path: Path) -> None:
    run(kong, "push", folder=tmp_path)
    result = run(kong, "drain", "10.9.9.9:1", folder=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "asectl: Kong has no target 10.9.9.9:1 of ours\n"


def test_half_applied_push_says_what_is_in_effect(database_kong: FakeKong, tmp_path: Path) -> None:
    database_kong.refused.add("POST /services/ase/routes")
    pushed = run(database_kong, "push", folder=tmp_path)
    assert pushed.returncode == 2
    assert pushed.stdout.splitlines()[-1] == "create service ase"
    assert "4 of 8 changes are in effect, 4 are not" in pushed.stderr
    assert "POST /services/ase/routes: Kong answers 500\n  An unexpected" in pushed.stderr
    database_kong.refused.clear()
    assert "4 changes" in run(database_kong, "push", folder=tmp_path).stdout


def test_name_that_is_taken_meanwhile_is_a_conflict(
    database_kong: FakeKong, tmp_path: Path
) -> None:
    def take_name() -> None:
        database_kong.load({"services": [{"name": "ase", "host": "other.internal"}]})

    database_kong.before["POST /services"] = take_name
    pushed = run(database_kong, "push", folder=tmp_path)
    assert pushed.returncode == 2
    assert "POST /services: Kong answers 409\n  UNIQUE violation" in pushed.stderr
    assert entities(database_kong, "services")["ase"]["host"] == "other.internal"


def test_unchanged_document_is_answered_304(tmp_path: Path) -> None:
    with FakeKong(database=False) as kong:
        run(kong, "push", folder=tmp_path)
        for _ in range(3):
            result = run(kong, "register", "10.0.0.13:8200", folder=tmp_path)
            assert result.returncode == 0, result.stderr
        assert kong.statuses[-1] == 304


def test_refused_document_names_the_entity(tmp_path: Path) -> None:
    with FakeKong(database=False) as kong:
        kong.load({"services": [{"name": "shop", "host": "h", "retries": 99999}]})
        pushed = run(kong, "push", folder=tmp_path)
    assert pushed.returncode == 2
    error = "POST /config: Kong answers 400\n  service shop: retries: 99999 is greater"
    assert error in pushed.stderr


def test_unreachable_kong_and_a_server_that_is_none(tmp_path: Path) -> None:
    with FakeKong() as kong:
        pass
    gone = run(kong, "push", folder=tmp_path)
    assert gone.returncode == 2
    assert f"GET {kong.url}/: " in gone.stderr
    assert "Traceback" not in gone.stderr
    with FakeKong() as other:
        other.answer = lambda *_: (200, {"hello": "world"})  # type: ignore[method-assign]
        result = run(other, "push", folder=tmp_path)
    assert result.returncode == 2
    assert "this is not Kong's Admin API" in result.stderr


def test_token_is_sent_and_never_shown(tmp_path: Path) -> None:
    with FakeKong(token="kong-secret") as kong:
        refused = run(kong, "diff", folder=tmp_path)
        assert refused.returncode == 2
        assert "Kong answers 401\n  Invalid credentials" in refused.stderr
        command = ("kong", "diff", "-c", str(tmp_path / "ase.yaml"), "--kong-admin", kong.url)
        environ = {**os.environ, "ASE_KONG_ADMIN_TOKEN": "kong-secret"}
        allowed = run_asectl(*command, environ=environ)
        assert allowed.returncode == 0, allowed.stderr
        assert "kong-secret" not in allowed.stdout + allowed.stderr
