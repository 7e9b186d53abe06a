"""Several workers behind one port, seen as one gateway; and TLS on both lanes."""

import json
import os
import re
import signal
import ssl
from pathlib import Path

import httpx
import pytest

from tests.harness import Gateway, Hub, Loader, Process, free_port, make_envelope
from tests.rpc.test_oracle import create_certificate


def successful_requests(text: str) -> int:
    values = re.findall(r'ase_requests_total\{code="0",service="probe",[^}]*\} ([0-9.]+)', text)
    return int(sum(map(float, values)))


def test_workers_share_one_gateway_and_a_crashed_worker_is_replaced() -> None:
    with Hub() as hub, Loader(hub.lb) as loader:
        # A port of one's own choice, as users have it: no worker may want it too.
        port = str(free_port())
        with Gateway("--lb-hub", hub.lb, "--workers", "2", "--gateway-admin-port", port) as gateway:
            assert gateway.admin.endswith(f":{port}")
            gateway.wait_for_event("instance up", instance=loader.addr)
            pids = {line["worker_pid"] for line in gateway.lines if "worker_pid" in line}
            assert len(pids) == 2
            served = 0
            for _ in range(20):  # a new connection each, so that either worker may take it
                with httpx.Client(trust_env=False) as http:
                    response = http.post(f"{gateway.url}/v1/private/probe", json=make_envelope())
                served += response.status_code == 200
            assert served == 20
            assert successful_requests(gateway.metrics()) == 20, "whoever served them"
            assert [line["instance"] for line in gateway.state()] == [loader.addr]
            assert 'ase_lb_instances{service="probe",state="up"} 1.0' in gateway.metrics()

            os.kill(min(pids), signal.SIGKILL)
            gateway.wait_for_event(
                "worker ended; another takes its place", worker_pid=min(pids), code=-9
            )
            while sum("worker started" in line["message"] for line in gateway.lines) < 3:
                gateway.http.get("/livez")
            assert gateway.call().status_code == 200
            assert successful_requests(gateway.metrics()) >= 20, "what it had counted is not lost"
            gateway.signal(signal.SIGTERM)
            assert gateway.process.wait(30) == 0


def test_workers_need_an_external_hub() -> None:
    with Process("gateway", "--workers", "2", "--gateway-port", "0") as process:
        assert process.process.wait(30) == 3
        process.wait_for_exit()
        assert "asectl lb" in "".join(process.text)


@pytest.mark.parametrize("lane", ["true", "false"])
def test_tls_with_and_without_fast_path(tmp_path: Path, lane: str) -> None:
    cert, key = create_certificate(tmp_path)
    flags = ("--gateway-tls-cert", cert, "--gateway-tls-key", key, "--gateway-once-lane", lane)
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        assert gateway.url.startswith("https://127.0.0.1:")
        ssl_context = ssl.create_default_context(cafile=cert)
        with httpx.Client(trust_env=False, verify=ssl_context, base_url=gateway.url) as http:
            for _ in range(3):
                response = http.post("/v1/private/probe", json=make_envelope())
                assert response.status_code == 200
            error_response = http.post(
                "/v1/private/probe", content=b"{", headers={"content-type": "application/json"}
            )
            assert json.loads(error_response.content)["header"]["code"] == 10163
        assert httpx.get(f"{gateway.admin}/metrics", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("flags", "message_part"),
    [
        (("--gateway-tls-cert", "no.pem", "--gateway-tls-key", "no.pem"), "No such file"),
        (("--gateway-tls-cert", "no.pem"), "one needs the other"),
    ],
)
def test_missing_certificate_prevents_start(flags: tuple[str, ...], message_part: str) -> None:
    with Process("gateway", *flags, "--gateway-port", "0") as process:
        assert process.process.wait(30) == 3
        process.wait_for_exit()
        assert message_part in "".join(process.text)
