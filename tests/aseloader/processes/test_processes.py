"""A loader whose wrapper runs in processes, called at its port by grpcio."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from aseloader.processes.pool import MEMORY_FOLDER
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload, ProbeReply
from tests.harness import ROOT, Loader

WRAPPER = f"{ROOT}/tests/wrappers/many.py"
UNREACHABLE_ADDR = "127.0.0.1:9"


@pytest.fixture(scope="module")
def loader() -> Iterator[Loader]:
    spec, env = f"{WRAPPER}:Many", {"CUDA_VISIBLE_DEVICES": "4,7"}
    with Loader(UNREACHABLE_ADDR, spec, "--set", "a=1 2", env=env) as running:
        yield running


Infer = Callable[..., LoaderOutput]


@pytest.fixture
def infer(loader: Loader) -> Iterator[Infer]:
    with grpc.insecure_channel(loader.addr) as channel:
        call = channel.unary_unary("/ase.v1.Loader/Infer")

        def send(act: str = "answer", data: bytes = b"hi", timeout: float = 20) -> LoaderOutput:
            return LoaderOutput.FromString(
                call(make_frame(act, data).SerializeToString(), timeout=timeout)
            )

        yield send


def make_frame(act: str, data: bytes, status: str = "3", service: str = "many") -> LoaderInput:
    return LoaderInput(
        serviceId=service,
        state=LoaderInput.ONCE if status == "3" else LoaderInput.STREAM,
        headers={"status": status},
        params={"act": act},
        expect=[MetaDesc(name="facts")],
        pl=[Payload(meta=MetaDesc(name="text"), data=data)],
    )


def facts(output: LoaderOutput) -> dict[str, Any]:
    assert output.code == 0, output.err
    value: dict[str, Any] = json.loads(output.pl[0].data)
    return value


def test_requests_run_in_both_processes_at_a_time(infer: Infer) -> None:
    idle = facts(infer())
    assert idle["config"] == {"a": "1 2"}
    assert facts(infer())["pid"] == idle["pid"], "the first one of two idle processes"
    with ThreadPoolExecutor() as pool:
        holding = pool.submit(infer, "hold", timeout=2)
        pids = {idle["pid"]}
        while not holding.done() and pids == {idle["pid"]}:
            pids = {facts(infer())["pid"]}
        assert pids != {idle["pid"]}, "while the first one is busy"
        with pytest.raises(grpc.RpcError):
            holding.result()


def test_each_process_sees_its_own_device(infer: Infer) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = [facts(output) for output in pool.map(lambda _: infer(), range(200))]
    devices = {answer["pid"]: answer["device"] for answer in answers}
    assert sorted(devices.values()) == ["4", "7"]


@pytest.mark.parametrize("size", [0, 1, 196_500, 200_000, 3_000_000, 6_000_000])
def test_requests_of_any_size(infer: Infer, size: int) -> None:
    assert facts(infer(data=b"x" * size))["size"] == size


def test_refusal_keeps_its_words(infer: Infer) -> None:
    output = infer("refuse")
    assert (output.code, output.err) == (10107, "not this one")


def test_crash_costs_its_own_request_and_the_process_comes_back(
    loader: Loader, infer: Infer
) -> None:
    output = infer("crash")
    assert output.code == 10908
    assert output.err == "the process of the wrapper ended while it worked on this"
    ended = loader.wait_for_event("process of the wrapper ended; it is started again")
    assert ended["ended"] == "signal SIGSEGV"
    assert facts(infer())["size"] == 2, "the other process serves"


def test_config_is_in_no_command_line(infer: Infer) -> None:
    pid = facts(infer())["pid"]
    assert b"a=1 2" not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_process_whose_caller_has_gone_gets_no_request_until_it_is_done() -> None:
    """A thread cannot be stopped: its slot is held until it returns."""
    with (
        Loader(UNREACHABLE_ADDR, f"{WRAPPER}:Many") as loader,
        grpc.insecure_channel(loader.addr) as channel,
    ):
        call = channel.unary_unary("/ase.v1.Loader/Infer")

        def answer() -> Any:
            data = call(make_frame("answer", b"x").SerializeToString(), timeout=20)
            return facts(LoaderOutput.FromString(data))["pid"]

        # Long enough for the request to reach a process on a busy machine.
        with pytest.raises(grpc.RpcError):
            call(make_frame("block", b"x").SerializeToString(), timeout=0.5)
        assert len({answer() for _ in range(4)}) == 1, "the other process answers all"


def test_process_gives_up_a_request_whose_caller_has_gone() -> None:
    """The wrapper sees `context.cancelled` long before the deadline, and its process is free."""
    with (
        Loader(UNREACHABLE_ADDR, f"{WRAPPER}:Many") as loader,
        grpc.insecure_channel(loader.addr) as channel,
    ):
        call = channel.unary_unary("/ase.v1.Loader/Infer")

        def answer() -> Any:
            data = call(make_frame("answer", b"x").SerializeToString(), timeout=20)
            return facts(LoaderOutput.FromString(data))["pid"]

        first = answer()
        holding = call.future(make_frame("hold", b"x").SerializeToString(), timeout=600)
        while answer() == first:
            pass
        assert first not in [answer() for _ in range(20)], "it is held"
        holding.cancel()
        while answer() != first:
            pass


@pytest.mark.parametrize(("name", "code"), [("Many", 10908), ("ManyIdempotent", 0)])
def test_request_of_a_lost_process_runs_again_if_that_does_no_harm(
    tmp_path: Path, name: str, code: int
) -> None:
    flag = f"flag={tmp_path}/crashed"
    with (
        Loader(UNREACHABLE_ADDR, f"{WRAPPER}:{name}", "--set", flag) as loader,
        grpc.insecure_channel(loader.addr) as channel,
    ):
        call = channel.unary_unary("/ase.v1.Loader/Infer")
        frame = make_frame("crash_once", b"x", service=name.lower())
        output = LoaderOutput.FromString(call(frame.SerializeToString(), timeout=20))
        assert output.code == code, output.err


def test_load_is_that_of_all_processes(loader: Loader) -> None:
    with grpc.insecure_channel(loader.addr) as channel:
        reply = ProbeReply.FromString(channel.unary_unary("/ase.v1.Loader/Probe")(b"", timeout=5))
    assert reply.in_flight == 0


def test_session_stays_in_one_process_and_ends_with_it() -> None:
    with (
        Loader(UNREACHABLE_ADDR, f"{WRAPPER}:ManySessions") as loader,
        grpc.insecure_channel(loader.addr) as channel,
    ):
        call = channel.stream_stream("/ase.v1.Loader/Session")

        def run(*parts: bytes) -> list[LoaderOutput]:
            statuses = ["0", *("1" for _ in parts[2:]), "2"][: len(parts)]
            frames = [
                make_frame("answer", part, status, "manysessions").SerializeToString()
                for part, status in zip(parts, statuses, strict=True)
            ]
            while True:
                try:
                    outputs = [*call(iter(frames), timeout=20)]
                except grpc.RpcError as error:
                    # The slot of a session is free a moment after its last result.
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    continue
                return [LoaderOutput.FromString(data) for data in outputs]

        begin, *results, end = run(b"a", b"bb", b"ccc")
        assert (begin.status, end.status) == (LoaderOutput.BEGIN, LoaderOutput.END)
        assert [facts(result)["size"] for result in results] == [1, 2, 3]
        assert len({facts(result)["pid"] for result in results}) == 1
        crashed = run(b"a", b"crash")
        assert crashed[-1].code == 10908
        assert facts(run(b"a", b"bb")[1])["size"] == 1, "the other process serves"


def test_failing_init_ends_the_loader_with_its_words() -> None:
    command = [sys.executable, "-m", "asectl", "loader", "run", f"{WRAPPER}:Many"]
    with subprocess.Popen(
        [*command, "--lb", UNREACHABLE_ADDR, "--set", "init=fail"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "RuntimeError: no weights" in stderr
    assert "a process of Many ended before it was ready" in stderr
    assert not list(MEMORY_FOLDER.glob(f"ase-loader-{process.pid}-*")), "its folder is removed"
