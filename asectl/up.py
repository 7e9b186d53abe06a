"""`asectl up`: a gateway and its loaders as child processes, told about in plain words."""

import argparse
import asyncio
import contextlib
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asectl import process
from asectl.main import EXIT_FAILED, Failure

EXAMPLES = Path(__file__).parent.parent / "examples"
_DEMO = ("image", "audio")
_PATIENCE = 40.0
_LONG = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrappers", nargs="*", metavar="FILE:Class", help="Wrappers to serve")
    parser.add_argument(
        "--demo", action="store_true", help="serve the demo services image and audio"
    )
    parser.add_argument("--each", type=int, default=2, help="loader processes per Wrapper (2)")
    parser.add_argument(
        "--port", type=int, default=8200,
        help="first port: gateway PORT, lb PORT+20, loaders from PORT+40, admin PORT+90 (8200); "
        "0 takes free ones",
    )  # fmt: skip


def run(told: argparse.Namespace) -> int:
    """Run until Ctrl-C; every process that was started ends with this one."""
    wrappers = [*told.wrappers]
    if told.demo:
        wrappers += [str(EXAMPLES / name / "wrapper.py") for name in _DEMO]
    if not wrappers:
        raise Failure("nothing to serve: give --demo, or FILE:Class of a Wrapper", 2)
    supervisor = _Supervisor(told.port)

    async def main(stop: "asyncio.Future[bool]") -> None:
        await supervisor.run(wrappers, told.each, stop)

    code = process.serve(main, until_stdin_closes=False)
    return code or supervisor.code


@dataclass(slots=True)
class _Child:
    name: str
    process: asyncio.subprocess.Process


class _Supervisor:
    """The children, and what they say."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._children: list[_Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._starting: asyncio.Task[None] | None = None
        self._listening: asyncio.Future[dict[str, Any]]
        self._joined: set[str] = set()
        self._expected = 0
        self._all_joined = asyncio.Event()
        self._stopping = False
        self._gateway_ended = asyncio.Event()
        self.code = 0

    async def run(self, wrappers: list[str], each: int, stop: "asyncio.Future[bool]") -> None:
        self._listening = asyncio.get_running_loop().create_future()
        self._expected = len(wrappers) * each
        ended = asyncio.create_task(self._gateway_ended.wait())
        try:
            await self._spawn("gateway", self._gateway_command())
            await _first(self._listening, ended, stop)
            if self._listening.done():
                self._starting = asyncio.create_task(self._start_loaders(wrappers, each))
                await _first(stop, ended)
            self.code = 0 if stop.done() else EXIT_FAILED
        finally:
            ended.cancel()
            await self._end()

    async def _start_loaders(self, wrappers: list[str], each: int) -> None:
        addresses = self._listening.result()
        _say(f"gateway  {addresses['gateway']}")
        _say(f"lb       {addresses['lb']}")
        _say(f"admin    {addresses['admin']}  (/metrics, /lb/state)")
        for number, wrapper in enumerate(w for w in wrappers for _ in range(each)):
            name = f"{_service_name(wrapper)}-{number % each + 1}"
            port = self._port + 40 + number if self._port else 0
            command = ["loader", "run", wrapper, "--lb", addresses["lb"], "--port", str(port)]
            await self._spawn(name, command)
        await self._all_joined.wait()
        _say("\nready; try, in another terminal:")
        for wrapper in wrappers:
            for line in _examples(wrapper, addresses["gateway"]):
                _say(f"  {line}")
        _say("Ctrl-C ends everything.\n")

    async def _spawn(self, name: str, command: list[str]) -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "asectl", *command, "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us alone; we end them in order
        )  # fmt: skip
        self._children.append(_Child(name, child))
        self._tasks.append(asyncio.create_task(self._listen(name, child)))

    def _gateway_command(self) -> list[str]:
        base = self._port
        ports = (base, base + 20, base + 90) if base else (0, 0, 0)
        names = ("--gateway-port", "--lb-port", "--gateway-admin-port")
        flags = [
            word for name, port in zip(names, ports, strict=True) for word in (name, str(port))
        ]
        return ["gateway", "--lb-accept-schemas", "true", *flags]

    async def _listen(self, name: str, child: asyncio.subprocess.Process) -> None:
        assert child.stderr is not None  # noqa: S101 (it is a pipe)
        async for line in _lines(child.stderr):
            try:
                told = json.loads(line)
            except ValueError:
                print(line, file=sys.stderr, flush=True)
            else:
                self._tell(name, told)
        code = await child.wait()
        if not self._stopping:
            _say(f"{name} (pid {child.pid}) ended, {_ending(code)}")
        if name == "gateway":
            self._gateway_ended.set()

    def _tell(self, name: str, told: dict[str, Any]) -> None:
        message = told["message"]
        if name == "gateway" and message == "listening":
            self._listening.set_result(told)
        elif name == "gateway" and message.startswith("instance "):
            self._moved(told)
        elif message == "request":
            _say(_request_line(told))
        elif told["level"] in ("warning", "error"):
            more = told.get("traceback") or told.get("reason") or told.get("cure") or ""
            if not self._stopping:
                _say(f"{name}: {message} {more}".rstrip())

    def _moved(self, told: dict[str, Any]) -> None:
        instance = f"{told['service']} {told['instance']}"
        if told["after"] == "up":
            self._joined.add(instance)
        if not self._stopping:
            verb = {"up": "joined", "gone": "left"}.get(told["after"], told["after"])
            _say(f"loader   {instance} {verb} ({told['reason']})")
        if len(self._joined) >= self._expected:
            self._all_joined.set()

    async def _end(self) -> None:
        """End the gateway, then the loaders, each by closing its stdin; what lingers is killed."""
        self._stopping = True
        if self._starting is not None:
            self._starting.cancel()
        for group in (self._children[:1], self._children[1:]):
            for child in group:
                if child.process.stdin is not None:
                    child.process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.gather(*(child.process.wait() for child in group))
            for child in group:
                if child.process.returncode is None:
                    child.process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _first(*futures: "asyncio.Future[Any]") -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield lines, ended by newline or carriage return (progress bars); long ones are cut."""
    rest = b""
    while piece := await stream.read(65536):
        *lines, rest = (rest + piece).replace(b"\r", b"\n").split(b"\n")
        lines, rest = ([*lines, rest], b"") if len(rest) > _LONG else (lines, rest)
        for line in lines:
            if line.strip():
                yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _service_name(wrapper: str) -> str:
    file, _, name = wrapper.partition(":")
    return name.lower() or Path(file).parent.name


def _examples(wrapper: str, gateway: str) -> list[str]:
    """Return the lines to paste for a Wrapper that has a `request.json` and samples beside it."""
    folder = Path(wrapper.partition(":")[0]).parent
    body = folder / "request.json"
    if not body.is_file():
        return []
    shown = shlex.quote(os.path.relpath(body))
    service = json.loads(body.read_text())
    name = next(iter(service.get("parameter") or {folder.name: None}))
    url = f"{gateway}/v1/private/{name}"
    return [f"curl -s {url} -H 'Content-Type: application/json' -d @{shown}"]


def _request_line(told: dict[str, Any]) -> str:
    where = f"{told['method']} {told['path']}" if told["path"] else "a request"
    fault = f"  {told['fault']}: {told['detail'][:120]}" if told.get("fault") else ""
    at = f" at {told['instance']}" if told["instance"] else ""
    return f"{told['status']} {where} code {told['code']} {told['total_ms']:.1f} ms{at}{fault}"


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _say(line: str) -> None:
    """Print a line; what a model or a client wrote into it cannot steer the terminal."""
    print("".join(c if c.isprintable() or c == "\n" else "?" for c in line), flush=True)
