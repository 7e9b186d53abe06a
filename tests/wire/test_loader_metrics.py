"""What a loader shows to Prometheus and to probes, on a port of its own."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from aseloader.processes.pool import MEMORY_FOLDER
from tests.harness import Gateway, Hub, Loader, Process, occupied_slot


def value(text: str, name: str) -> float:
    match = re.search(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
    assert match is not None, f"{name} is not in\n{text}"
    return float(match[1])


def metrics_url(loader: Loader) -> str:
    url: str = loader.wait_for_event("metrics")["url"]
    return url


def test_load_and_results() -> None:
    flags = ("--metrics-port", "0", "--queue", "1")
    with (
        Gateway() as gateway,
        Loader(gateway.lb, "tests/wrappers/probe.py:Probe", *flags) as loader,
    ):
        gateway.wait_until_up(loader)
        url = metrics_url(loader)
        assert gateway.call().status_code == 200
        assert gateway.call(act="raise").status_code == 502
        with occupied_slot(gateway, loader, "a"):
            text = httpx.get(f"{url}/metrics").text
        assert value(text, "ase_loader_slots") == 2
        assert value(text, "ase_loader_running") == 1
        assert value(text, "ase_loader_queued") == 0
        assert value(text, "ase_loader_requests_total") == 2
        assert value(text, "ase_loader_failures_total") == 1
        assert value(text, "ase_loader_rejections_total") == 0
        assert 0 < value(text, "ase_loader_service_seconds") < 10
        assert 'ase_loader_slots{service="probe"}' in text
        assert "process_cpu_seconds_total" in text
        assert "ase_loader_batch_size_bucket" not in text, "it has no batches"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_batches_and_metrics_of_the_author(processes: str) -> None:
    spec, flags = "tests/wrappers/batching.py:Batching", ("--metrics-port", "0")
    with (
        Gateway() as gateway,
        Loader(gateway.lb, spec, *flags, "--processes", processes) as loader,
    ):
        gateway.wait_until_up(loader)
        with ThreadPoolExecutor(8) as callers:
            list(callers.map(lambda _: gateway.call("batching"), range(32)))
        text = httpx.get(f"{metrics_url(loader)}/metrics").text
        assert value(text, "ase_loader_batch_size_sum") == 32
        assert value(text, "ase_loader_batch_size_count") < 32
        assert value(text, "ase_loader_batch_wait_seconds_count") == 32
        assert value(text, "ase_loader_batch_seconds_sum") > 0
        assert value(text, "batching_texts_total") == 32
        assert "process_cpu_seconds_total" in text


def test_metrics_of_a_process_outlive_it_and_tell_the_curve_of_its_batches() -> None:
    spec = "tests/wrappers/batching.py:Batching"
    flags = ("--metrics-port", "0", "--processes", "2", "--set", "busy=0.01")
    with Gateway() as gateway, Loader(gateway.lb, spec, *flags) as loader:
        gateway.wait_until_up(loader)
        url = f"{metrics_url(loader)}/metrics"
        sent = 60  # a curve is known after ten batches of one process
        for _ in range(sent):
            assert gateway.call("batching").status_code == 200
        text = httpx.get(url).text
        batch_s = value(text, "ase_loader_batch_base_seconds")
        batch_s += value(text, "ase_loader_batch_item_seconds")
        assert 0.01 <= batch_s < 1
        for pid in children(loader.pid):
            os.kill(pid, signal.SIGKILL)
            loader.wait_for_event("process of the wrapper ended; it is started again")
        assert value(httpx.get(url).text, "batching_texts_total") == sent
        while gateway.call("batching").status_code != 200:
            pass  # the processes start
        text = httpx.get(url).text
        assert value(text, "batching_texts_total") == sent + 1
        assert value(text, "ase_loader_batch_size_count") == sent + 1
        files = MEMORY_FOLDER.glob(f"ase-loader-{loader.pid}-*/metrics/*")
        assert {file.stem.rpartition("_")[2] for file in files} <= {"0", "1"}, "not by process ids"


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_probes() -> None:
    flags = ("--metrics-port", "0", "--drain", "30")
    with (
        Gateway() as gateway,
        Loader(gateway.lb, "tests/wrappers/probe.py:Probe", *flags) as loader,
    ):
        gateway.wait_until_up(loader)
        url = metrics_url(loader)
        for path, status in (("/livez", 200), ("/readyz", 200), ("/other", 404)):
            assert httpx.get(url + path).status_code == status
        with occupied_slot(gateway, loader, "a"):
            loader.signal(signal.SIGTERM)
            loader.wait_for_event("draining")
            assert httpx.get(f"{url}/livez").status_code == 200
            assert httpx.get(f"{url}/readyz").status_code == 503


def test_a_port_in_use_is_an_error_with_the_port() -> None:
    with Hub() as hub, Loader(hub.lb) as first:
        port = first.addr.rpartition(":")[2]
        spec = "tests/wrappers/probe.py:Probe"
        flags = ("--lb", hub.lb, "--port", "0", "--metrics-port", port)
        with Process("loader", "run", spec, *flags) as second:
            assert second.wait_for_exit() != 0
            assert any(f"metrics port 127.0.0.1:{port}" in line for line in second.text)
