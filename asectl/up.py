"""`asectl up`: a gateway and its loaders as child processes, told about in plain words."""

import argparse
import asyncio
import contextlib
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asectl import process
from asectl.main import EXIT_FAILED, Failure

EXAMPLES = Path(__file__).parent.parent / "examples"
_SESSION = re.compile(r"^\s+(?:async )?def (?:session|wrapperRead)\(", re.MULTILINE)
_DEMO = ("image", "audio", "vad")
_PATIENCE = 40.0
_LONG = 1024 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrappers", nargs="*", metavar="FILE:Class", help="Wrappers to serve")
    parser.add_argument(
        "--demo", action="store_true", help="serve the demo services image, audio and vad"
    )
    parser.add_argument("--each", type=int, default=2, help="loader processes per Wrapper (2)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an entry of init's config"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8200,
        help="first port: gateway PORT, lb PORT+20, loaders from PORT+40, admin PORT+90 (8200); "
        "0 takes free ones",
    )


def run(told: argparse.Namespace) -> int:
    """Run until Ctrl-C; every process that was started ends with this one."""
    if told.each < 1:
        raise Failure("--each must be 1 or more", 2)
    if not 0 <= told.port <= 65535 - 200:
        raise Failure(f"--port must be 0 or 1 to {65535 - 200}: others are counted from it", 2)
    wrappers = [*told.wrappers]
    if told.demo:
        wrappers += [str(EXAMPLES / name / "wrapper.py") for name in _DEMO]
    if not wrappers:
        raise Failure("nothing to serve: give --demo, or FILE:Class of a Wrapper", 2)
    supervisor = _Supervisor(told.port, [f"--set={entry}" for entry in told.set])

    async def main(stop: "asyncio.Future[bool]") -> None:
        await supervisor.run(wrappers, told.each, stop)

    code = process.serve(main, until_stdin_closes=False)
    return code or supervisor.code


@dataclass(slots=True)
class _Child:
    """A process we started: what it is called, where it listens, whether it takes part."""

    name: str
    process: asyncio.subprocess.Process
    wrapper: str = ""
    service: str = ""
    addr: str = ""
    joined: bool = False
    ended: bool = False


class _Supervisor:
    """The children, and what they say."""

    def __init__(self, port: int, settings: list[str]) -> None:
        self._port = port
        self._settings = settings
        self._gateway: _Child | None = None
        self._loaders: list[_Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._addresses: dict[str, str] = {}
        self._up: set[str] = set()
        self._changed = asyncio.Event()
        self._stopping = False
        self.code = 0

    async def run(self, wrappers: list[str], each: int, stop: "asyncio.Future[bool]") -> None:
        """Start everything, tell what happens, end everything."""
        working = asyncio.create_task(self._work(wrappers, each))
        try:
            await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
            self.code = 0 if stop.done() else EXIT_FAILED
        finally:
            working.cancel()
            await self._end()

    async def _work(self, wrappers: list[str], each: int) -> None:
        """Start the gateway, then the loaders; return when one of them is missing for good."""
        self._gateway = await self._spawn("gateway", self._gateway_command())
        await self._until(lambda: bool(self._addresses) or self._is_over())
        if self._is_over():
            return
        for word, key in (("gateway", "gateway"), ("lb", "lb"), ("admin", "admin")):
            _say(f"{word:<8} {self._addresses[key]}")
        for number, wrapper in enumerate(w for w in wrappers for _ in range(each)):
            port = self._port + 40 + number if self._port else 0
            flags = ["--lb", self._addresses["lb"], "--port", str(port), *self._settings]
            name = f"{_short_name(wrapper)}-{number % each + 1}"
            child = await self._spawn(name, ["loader", "run", wrapper, *flags])
            child.wrapper = wrapper
            self._loaders.append(child)
        await self._until(lambda: all(c.joined or c.ended for c in self._loaders))
        if not self._is_over():
            self._say_ready()
        await self._until(self._is_over)
        if all(child.ended for child in self._loaders):
            _say("no loader is left")

    def _is_over(self) -> bool:
        """Return whether there is nothing left to run for."""
        gateway_ended = self._gateway is not None and self._gateway.ended
        return gateway_ended or (
            bool(self._loaders) and all(child.ended for child in self._loaders)
        )

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def _say_ready(self) -> None:
        missing = ", ".join(child.name for child in self._loaders if child.ended)
        _say(f"\nready{' without ' + missing if missing else ''}; try, in another terminal:")
        seen: set[str] = set()
        for child in self._loaders:
            if child.joined and child.wrapper not in seen:
                seen.add(child.wrapper)
                for line in _examples(child, self._addresses["gateway"]):
                    _say(f"  {line}")
        _say("Ctrl-C ends everything.\n")

    async def _spawn(self, name: str, command: list[str]) -> _Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "asectl",
            *command,
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches us alone; we end them in order
        )
        child = _Child(name, process)
        self._tasks.append(asyncio.create_task(self._listen(child)))
        return child

    def _gateway_command(self) -> list[str]:
        base = self._port
        ports = (base, base + 20, base + 90) if base else (0, 0, 0)
        names = ("--gateway-port", "--lb-port", "--gateway-admin-port")
        flags = [
            word for name, port in zip(names, ports, strict=True) for word in (name, str(port))
        ]
        return ["gateway", "--lb-accept-schemas", "true", *flags]

    async def _listen(self, child: _Child) -> None:
        stderr = child.process.stderr
        assert stderr is not None  # noqa: S101 (it is a pipe)
        async for line in _lines(stderr):
            told = _log_line(line)
            if told is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._tell(child, told)
        code = await child.process.wait()
        child.ended = True
        if not self._stopping:
            _say(f"{child.name:<8} ended (pid {child.process.pid}), {_ending(code)}")
        self._changed.set()

    def _tell(self, child: _Child, told: dict[str, Any]) -> None:
        message = told["message"]
        if message == "listening" and child is self._gateway:
            self._addresses = told
        elif message == "listening" and "addr" in told:
            child.addr, child.service = told["addr"], told["service"]
            if child.addr in self._up:
                self._say_joined(child)
        elif message.startswith("instance ") and "after" in told and child is self._gateway:
            self._moved(told)
        elif message == "request" and child is self._gateway:
            _say(_request_line(told))
        elif told["level"] in ("warning", "error") and not self._stopping:
            more = told.get("traceback") or told.get("reason") or told.get("cure") or ""
            more = f"{told['instance']} {more}" if "instance" in told else more
            sid = f" (sid {told['sid']})" if "sid" in told else ""
            line = f"{child.name:<8} {message}{sid} {more}".rstrip()
            _say(line.replace("\n", "\n    "))  # a line of its own begins at the margin
        self._changed.set()

    def _moved(self, told: dict[str, Any]) -> None:
        """Take in a change of an instance; whose it is may be told only later, by another pipe."""
        addr, after = told["instance"], told["after"]
        child = next((child for child in self._loaders if child.addr == addr), None)
        if after == "up":
            self._up.add(addr)
            if child is not None:
                self._say_joined(child)
        elif not self._stopping:
            name = child.name if child else told["service"]
            verb = "left" if after == "gone" else after
            _say(f"{name:<8} {addr} {verb} ({told['reason']})")

    def _say_joined(self, child: _Child) -> None:
        child.joined = True
        if not self._stopping:
            _say(f"{child.name:<8} {child.addr} joined (pid {child.process.pid})")

    async def _end(self) -> None:
        """End the gateway, then the loaders, each by closing its stdin; what lingers is killed."""
        self._stopping = True
        _say("ending: what runs is finished first")
        gateway = [self._gateway] if self._gateway else []
        for group in (gateway, self._loaders):
            for child in group:
                if child.process.stdin is not None:
                    child.process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.gather(*(child.process.wait() for child in group))
            for child in group:
                if child.process.returncode is None:
                    _say(f"{child.name:<8} did not end in {_PATIENCE:g} s; killed")
                    child.process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _log_line(line: str) -> dict[str, Any] | None:
    """Return the fields of one of our log lines; None for what a wrapper printed."""
    with contextlib.suppress(ValueError):
        told = json.loads(line)
        if isinstance(told, dict) and {"time", "level", "logger", "message"} <= told.keys():
            return told
    return None


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


def _short_name(wrapper: str) -> str:
    file, _, name = wrapper.partition(":")
    return name.lower() or Path(file).parent.name


def _examples(child: _Child, gateway: str) -> list[str]:
    """Return the lines to paste for a Wrapper: with what lies beside it, where something does."""
    folder = Path(child.wrapper.partition(":")[0]).parent
    body = folder / "request.json"
    sample = next(iter(sorted(folder.glob("sample.*"))), None)
    lines = []
    if body.is_file():
        url = f"{gateway}/v1/private/{child.service}"
        data = shlex.quote(os.path.relpath(body))
        lines.append(f"curl -sS {url} -H 'Content-Type: application/json' -d @{data}")
    where = "" if gateway == "http://127.0.0.1:8200" else f" --url {gateway}"
    file = shlex.quote(os.path.relpath(sample)) if sample else "PATH"
    source = Path(child.wrapper.partition(":")[0]).read_text(encoding="utf-8", errors="replace")
    way = " --ws --realtime" if _SESSION.search(source) else ""
    lines.append(f"{_asectl()} call {child.service}{where} --file {file}{way}")
    return lines


def _asectl() -> str:
    """Return how this command was called, as one would type it."""
    called = Path(sys.argv[0])
    return shlex.quote(os.path.relpath(called)) if called.name == "asectl" else "asectl"


def _request_line(told: dict[str, Any]) -> str:
    where = f"{told['method']} {told['path']}" if told["path"] else "a request"
    fault = f"  {told['fault']}: {told['detail'][:120]}" if told.get("fault") else ""
    at = f" at {told['instance']}" if told["instance"] else ""
    line = f"{told['status']} {where} code {told['code']} {told['total_ms']:.1f} ms{at}{fault}"
    return line.replace("\n", " ")


def _ending(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _say(line: str) -> None:
    """Print a line; what a model or a client wrote into it cannot steer the terminal."""
    print("".join(c if c.isprintable() or c == "\n" else "?" for c in line), flush=True)
