"""Requests and outputs above the limits of the gateway and of loaders; no loader is ejected."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness import Gateway, Loader
from tests.wire.test_sockets import open_session, receive, receive_close_code, send

MIB = 1024 * 1024
FLAGS = ("--gateway-max-body", str(48 * MIB), "--gateway-max-output", str(2 * MIB))


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    spec = "tests/wrappers/sizer.py:Sizer"
    limit = ("--max-message", str(4 * MIB))
    with (
        Gateway(*FLAGS) as running,
        Loader(running.lb, spec, *limit) as first,
        Loader(running.lb, spec, *limit) as second,
    ):
        running.wait_until_up(first)
        running.wait_until_up(second)
        yield running


def make_request(input_size: int, output_size: int, status: int = 3) -> dict[str, Any]:
    return {
        "header": {"app_id": "tests", "status": status},
        "parameter": {"sizer": {"size": output_size}},
        "payload": {"text": {"text": base64.b64encode(bytes(input_size)).decode()}},
    }


def assert_error(response: httpx.Response, status: int, code: int, message: str) -> None:
    header = response.json()["header"]
    assert (response.status_code, header["code"]) == (status, code), header
    assert message in header["message"]


def assert_loaders_serve(gateway: Gateway) -> None:
    """Neither loader is ejected, and requests within the limits are answered."""
    assert "ase_pick_ejections_total{" not in gateway.metrics()
    response = gateway.post(make_request(3 * MIB, MIB), "sizer")
    assert response.json()["header"]["code"] == 0
    assert len(response.json()["payload"]["said"]["text"]) > MIB


@pytest.mark.parametrize(("input_size", "count"), [(5 * MIB, 6), (20 * MIB, 2)])
def test_request_that_no_loader_takes_is_413(gateway: Gateway, input_size: int, count: int) -> None:
    for _ in range(count):
        response = gateway.post(make_request(input_size, 5), "sizer")
        assert_error(response, 413, 10163, "bytes, and it takes 4194304")
    assert_loaders_serve(gateway)


@pytest.mark.parametrize(
    ("output_size", "message"),
    [
        (3 * MIB, "`gateway.max_output` is 2097152"),
        (6 * MIB, "larger than the loader's limit of a message"),
    ],
)
def test_output_above_a_limit_is_no_failure_of_the_loader(
    gateway: Gateway, output_size: int, message: str
) -> None:
    for _ in range(6):
        response = gateway.post(make_request(5, output_size), "sizer")
        assert_error(response, 502, 10106, message)
    assert_loaders_serve(gateway)


def test_body_above_the_limit_is_413_at_once(gateway: Gateway) -> None:
    response = gateway.post(make_request(40 * MIB, 5), "sizer")
    assert_error(response, 413, 10163, f"body is larger than {48 * MIB} bytes")


def test_result_above_a_limit_ends_a_session(gateway: Gateway) -> None:
    for _ in range(6):
        with open_session(gateway, service="sizer") as ws:
            send(ws, make_request(5, 3 * MIB, status=0))
            assert receive(ws)["header"]["code"] == 0
            header = receive(ws)["header"]
            assert header["code"] == 10106
            assert "`gateway.max_output` is 2097152" in header["message"]
            assert receive_close_code(ws) == 1009
        events = gateway.post(
            make_request(5, 3 * MIB), "sizer", headers={"accept": "text/event-stream"}
        )
        data = events.text.rpartition("data: ")[2]
        assert json.loads(data)["header"]["code"] == 10106
    assert_loaders_serve(gateway)
