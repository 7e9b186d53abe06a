"""`asectl eject` and `uneject`: an operator takes an instance out, and back."""

import time

import httpx
import pytest

from tests.harness import TIMEOUT_S, Gateway, Hub, Loader, make_envelope, run_asectl


def pids(gateway: Gateway, count: int = 12) -> set[int]:
    answers = [gateway.call().json() for _ in range(count)]
    return {answer["payload"]["facts"]["text"]["pid"] for answer in answers}


def test_ejected_instance_gets_no_requests_until_it_is_let_in() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as first, Loader(gateway.lb) as second:
        for loader in (first, second):
            gateway.wait_until_up(loader)
        ejected = run_asectl("eject", first.addr, "--url", gateway.admin, "--for", "5m")
        assert ejected.stdout == f"probe {first.addr} is ejected for 300 s\n"
        gateway.wait_for_event("instance ejected", instance=first.addr, reason="operator")
        assert pids(gateway) == {second.process.pid}
        (row,) = [row for row in gateway.state() if row["instance"] == first.addr]
        assert (row["health"], row["health_reason"]) == ("ejected", "operator")
        assert 'ase_pick_ejections_total{reason="operator"} 1.0' in gateway.metrics()

        back = run_asectl("uneject", first.addr, "--url", gateway.admin)
        assert back.stdout == f"probe {first.addr} gets requests if it passes a check\n"
        deadline = time.monotonic() + TIMEOUT_S
        while first.process.pid not in pids(gateway, 1):  # its check is under way
            assert time.monotonic() < deadline
        gateway.wait_for_event("instance readmitted", instance=first.addr)
        again = run_asectl("uneject", first.addr, "--url", gateway.admin)
        assert (again.returncode, again.stderr) == (1, f"asectl: {first.addr} is not ejected\n")


def test_only_instance_of_a_service_serves_on() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        run_asectl("eject", loader.addr, "--url", gateway.admin)
        assert gateway.call().status_code == 200


def test_workers_eject_alike() -> None:
    with Hub() as hub, Loader(hub.lb) as first, Loader(hub.lb) as second:  # noqa: SIM117
        with Gateway("--lb-hub", hub.lb, "--workers", "2") as gateway:
            for loader in (first, second):
                gateway.wait_for_event("instance admitted", instance=loader.addr)
            while sum(line["message"] == "instance admitted" for line in gateway.lines) < 4:
                gateway.http.get("/livez")  # until both workers know both
            assert run_asectl("eject", first.addr, "--url", gateway.admin).returncode == 0
            served_by = set()
            for _ in range(8):  # a connection each, so that either worker may take it
                with httpx.Client(trust_env=False) as http:
                    answer = http.post(f"{gateway.url}/v1/private/probe", json=make_envelope())
                served_by.add(answer.json()["payload"]["facts"]["text"]["pid"])
            assert served_by == {second.process.pid}


@pytest.mark.parametrize(
    ("path", "content", "status", "error"),
    [
        ("/lb/eject", b"{}", 400, "seconds is not a time"),
        ("/lb/eject", b'{"instance": "a:1", "seconds": 0}', 400, "seconds is not a time"),
        ("/lb/eject", b'{"instance": "a:1", "seconds": true}', 400, "seconds is not a time"),
        ("/lb/eject", b'{"instance": "a:1", "seconds": 1e9}', 400, "seconds is not a time"),
        ("/lb/eject", b'{"instance": "a:1", "seconds": NaN}', 400, "seconds is not a time"),
        (
            "/lb/eject",
            b'{"instance": "a:1", "seconds": 1%b}' % (b"0" * 400),
            400,
            "seconds is not a time",
        ),
        ("/lb/eject", b'{"seconds": 5}', 400, "instance is missing"),
        ("/lb/eject", b'{"instance": "a:1", "seconds": 5}', 404, "no instance 'a:1' is known"),
        ("/lb/uneject", b"[" * 5000, 400, "instance is missing"),
        ("/lb/uneject", b"x" * 5000, 400, "instance is missing"),
        ("/lb/uneject", b"\xff", 400, "instance is missing"),
    ],
)
def test_wrong_requests_change_nothing(
    gateway: Gateway, path: str, content: bytes, status: int, error: str
) -> None:
    response = httpx.post(gateway.admin + path, content=content, trust_env=False)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.json()["cure"]


def test_ejection_is_asked_for_by_post_and_by_no_page(gateway: Gateway) -> None:
    assert httpx.get(f"{gateway.admin}/lb/eject", trust_env=False).status_code == 405
    foreign = {"origin": "https://evil.example"}
    body = {"instance": "a:1", "seconds": 5}
    response = httpx.post(f"{gateway.admin}/lb/eject", json=body, headers=foreign, trust_env=False)
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("eject", "a:1", "--for", "soon"), 2, "'soon' is no time such as 90d"),
        (("eject", "a:1", "--url", "http://127.0.0.1:1"), 4, "does not answer as an admin port"),
        (("uneject", "a:1", "--url", "http://127.0.0.1:1"), 4, "does not answer as an admin port"),
    ],
)
def test_wrong_arguments_are_told(args: tuple[str, ...], code: int, message: str) -> None:
    result = run_asectl(*args)
    assert (result.returncode, message in result.stderr) == (code, True)
