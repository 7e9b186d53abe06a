"""`asectl drain`: a gateway that gets no new requests, and one that is taken back."""

import httpx
import pytest

from tests.harness import Gateway, Hub, Loader, occupied_slot, run_asectl


def test_drained_gateway_is_unready_and_serves_on() -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        with occupied_slot(gateway, loader, "held"):
            busy = run_asectl("drain", "--url", gateway.admin, "--wait", "0")
            assert (busy.returncode, busy.stdout) == (1, "requests and sessions that run: 1\n")
            readiness = gateway.http.get("/readyz")
            assert readiness.status_code == 503
            assert "drained by an operator" in readiness.text
            assert gateway.call().status_code == 200
        drained = run_asectl("drain", "--url", gateway.admin)
        assert drained.returncode == 0
        assert drained.stdout.endswith("requests and sessions that run: 0\n")
        back = run_asectl("drain", "--undo", "--url", gateway.admin)
        assert back.stdout == f"{gateway.admin} is ready again\n"
        assert gateway.http.get("/readyz").status_code == 200


def test_all_workers_are_drained() -> None:
    with Hub() as hub, Gateway("--lb-hub", hub.lb, "--workers", "2") as gateway:
        assert run_asectl("drain", "--url", gateway.admin).returncode == 0
        for _ in range(8):  # a connection each, so that either worker may take it
            assert httpx.get(f"{gateway.url}/readyz", trust_env=False).status_code == 503


@pytest.mark.parametrize("content", [b"", b"{}", b'{"on": 1}', b"[true]"])
def test_wrong_requests_change_nothing(gateway: Gateway, content: bytes) -> None:
    response = httpx.post(f"{gateway.admin}/drain", content=content, trust_env=False)
    assert (response.status_code, response.json()["error"]) == (400, "on is missing")
    assert gateway.http.get("/readyz").status_code == 200


def test_gateway_that_does_not_answer() -> None:
    result = run_asectl("drain", "--url", "http://127.0.0.1:1")
    assert result.returncode == 4
    assert "does not answer as an admin port does" in result.stderr
