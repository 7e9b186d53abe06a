"""A loader that works in batches, behind a gateway and a hub, over every way that calls it."""

import base64
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.harness import Gateway, Hub, Loader, make_envelope

SPEC = "tests/wrappers/batching.py:Batching"
# More requests than the loader has slots for, on a machine that may be busy with others.
PATIENT = ("--lb-wait", "20", "--gateway-deadline", "30")


def batch_size(response: httpx.Response) -> int:
    assert response.status_code == 200, response.text
    size: int = response.json()["payload"]["size"]["text"][0]
    return size


def test_concurrent_requests_share_batches() -> None:
    with (
        Hub() as hub,
        Gateway("--lb-hub", hub.lb, *PATIENT) as gateway,
        Loader(hub.lb, SPEC) as loader,
    ):
        gateway.wait_until_up(loader)
        assert batch_size(gateway.call("batching")) == 1
        with ThreadPoolExecutor(24) as callers:
            sizes = list(callers.map(lambda _: batch_size(gateway.call("batching")), range(240)))
        assert max(sizes) > 1
        assert max(sizes) <= 8
        (line,) = gateway.state()
        assert line["total"] == 16, "eight in a batch, and eight that wait for the next"


def test_refusal_in_a_batch_reaches_its_caller_alone() -> None:
    refused = make_envelope("batching")
    refused["payload"]["text"]["text"] = base64.b64encode(b"refuse").decode()
    with Gateway() as gateway, Loader(gateway.lb, SPEC) as loader:
        gateway.wait_until_up(loader)
        with ThreadPoolExecutor(8) as callers:
            envelopes = [refused if n % 4 == 0 else make_envelope("batching") for n in range(8)]
            tasks = [callers.submit(gateway.post, envelope, "batching") for envelope in envelopes]
        responses = [task.result() for task in tasks]
        codes = [(r.status_code, r.json()["header"]["code"]) for r in responses]
        assert codes == [(400, 10107) if n % 4 == 0 else (200, 0) for n in range(8)]


def test_total_counts_batches() -> None:
    flags = ("--total", "2", "--queue", "0")
    with Gateway() as gateway, Loader(gateway.lb, SPEC, *flags) as loader:
        gateway.wait_until_up(loader)
        (line,) = gateway.state()
        assert line["total"] == 16, "two batches of eight"
