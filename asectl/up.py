"""`asectl up`: run a gateway and loaders as child processes, and print their events as text."""

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
_SESSION_METHOD = re.compile(r"^\s+(?:async )?def (?:session|wrapperRead)\(", re.MULTILINE)
_DEMO_SERVICES = ("image", "audio", "vad")
_STOP_TIMEOUT_S = 40.0
_MAX_LINE_BYTES = 1024 * 1024


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


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until the gateway or all loaders have ended; then stop every child.

    Return 0 after Ctrl-C or SIGTERM, 1 if the children ended by themselves. Raises Failure (exit
    code 2) for wrong arguments.
    """
    if args.each < 1:
        raise Failure("--each must be 1 or more", 2)
    if not 0 <= args.port <= 65535 - 200:
        raise Failure(f"--port must be 0 or 1 to {65535 - 200}: others are counted from it", 2)
    wrappers = [*args.wrappers]
    if args.demo:
        wrappers += [str(EXAMPLES / name / "wrapper.py") for name in _DEMO_SERVICES]
    if not wrappers:
        raise Failure("nothing to serve: give --demo, or FILE:Class of a Wrapper", 2)
    supervisor = _Supervisor(args.port, [f"--set={entry}" for entry in args.set])

    async def main(stop: "asyncio.Future[bool]") -> None:
        await supervisor.run(wrappers, args.each, stop)

    code = process.serve(main, until_stdin_closes=False)
    return code or supervisor.code


@dataclass(slots=True)
class _Child:
    """A child process. Of the gateway, `wrapper`, `service` and `addr` stay empty.

    `wrapper` is the FILE:Class of a loader; `service` and `addr` come from its `listening` line.
    `joined` is true once the gateway has reported `addr` as up, `ended` once the process has
    exited and all its output has been read.
    """

    name: str
    process: asyncio.subprocess.Process
    wrapper: str = ""
    service: str = ""
    addr: str = ""
    joined: bool = False
    has_exited: bool = False


class _Supervisor:
    """Starts the child processes, follows their logs on stderr and stops them in order.

    Each child has a task in `_tasks` that reads its output. A change of state sets `_changed`,
    which makes `_wait_until` check its condition again. `_addresses` is the gateway's `listening`
    record, empty until it arrives. `_up_addrs` holds the addresses that the gateway has reported
    as up: the report can arrive before the loader's own `listening` line. From `_stopping` on,
    ends and state changes are expected and not printed. `code` is the exit code.
    """

    def __init__(self, port: int, config_flags: list[str]) -> None:
        self._port = port
        self._config_flags = config_flags
        self._gateway: _Child | None = None
        self._loaders: list[_Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._addresses: dict[str, str] = {}
        self._up_addrs: set[str] = set()
        self._changed = asyncio.Event()
        self._stopping = False
        self.code = 0

    async def run(
        self, wrappers: list[str], per_wrapper: int, stop: "asyncio.Future[bool]"
    ) -> None:
        """Start all children and print their events.

        Stop them when `stop` is done, or when the gateway or every loader has ended.
        """
        supervise_task = asyncio.create_task(self._supervise(wrappers, per_wrapper))
        try:
            await asyncio.wait((supervise_task, stop), return_when=asyncio.FIRST_COMPLETED)
            self.code = 0 if stop.done() else EXIT_FAILED
        finally:
            supervise_task.cancel()
            await self._stop_all()

    async def _supervise(self, wrappers: list[str], per_wrapper: int) -> None:
        """Start the gateway, then the loaders; return when `_is_finished` is true."""
        self._gateway = await self._spawn("gateway", self._gateway_command())
        await self._wait_until(lambda: bool(self._addresses) or self._is_finished())
        if self._is_finished():
            return
        for label, key in (("gateway", "gateway"), ("lb", "lb"), ("admin", "admin")):
            _print_line(f"{label:<8} {self._addresses[key]}")
        for number, wrapper in enumerate(w for w in wrappers for _ in range(per_wrapper)):
            port = self._port + 40 + number if self._port else 0
            flags = ["--lb", self._addresses["lb"], "--port", str(port), *self._config_flags]
            name = f"{loader_name(wrapper)}-{number % per_wrapper + 1}"
            child = await self._spawn(name, ["loader", "run", wrapper, *flags])
            child.wrapper = wrapper
            self._loaders.append(child)
        await self._wait_until(lambda: all(c.joined or c.has_exited for c in self._loaders))
        if not self._is_finished():
            self._print_ready()
        await self._wait_until(self._is_finished)
        if all(child.has_exited for child in self._loaders):
            _print_line("no loader is left")

    def _is_finished(self) -> bool:
        """Return whether the gateway or every loader has ended."""
        gateway_ended = self._gateway is not None and self._gateway.has_exited
        return gateway_ended or (
            bool(self._loaders) and all(child.has_exited for child in self._loaders)
        )

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _print_ready(self) -> None:
        missing = ", ".join(child.name for child in self._loaders if child.has_exited)
        _print_line(f"\nready{' without ' + missing if missing else ''}; try, in another terminal:")
        seen: set[str] = set()
        for child in self._loaders:
            if child.joined and child.wrapper not in seen:
                seen.add(child.wrapper)
                for line in _example_commands(child, self._addresses["gateway"]):
                    _print_line(f"  {line}")
        _print_line("Ctrl-C ends everything.\n")

    async def _spawn(self, name: str, command: list[str]) -> _Child:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "asectl",
            *command,
            "--until-stdin-closes",
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C signals this process alone, which stops them in order
        )
        child = _Child(name, process)
        self._tasks.append(asyncio.create_task(self._read_output(child)))
        return child

    def _gateway_command(self) -> list[str]:
        base = self._port
        ports = (base, base + 20, base + 90) if base else (0, 0, 0)
        names = ("--gateway-port", "--lb-port", "--gateway-admin-port")
        flags = [
            word for name, port in zip(names, ports, strict=True) for word in (name, str(port))
        ]
        return ["gateway", "--lb-accept-schemas", "true", *flags]

    async def _read_output(self, child: _Child) -> None:
        stderr = child.process.stderr
        assert stderr is not None  # noqa: S101 (it is a pipe)
        async for line in _read_lines(stderr):
            record = _parse_log_line(line)
            if record is None:
                print(line, file=sys.stderr, flush=True)
            else:
                self._handle_record(child, record)
        code = await child.process.wait()
        child.has_exited = True
        if not self._stopping:
            _print_line(f"{child.name:<8} ended (pid {child.process.pid}), {_describe_exit(code)}")
        self._changed.set()

    def _handle_record(self, child: _Child, record: dict[str, Any]) -> None:
        message = record["message"]
        if message == "listening" and child is self._gateway:
            self._addresses = record
        elif message == "listening" and "addr" in record:
            child.addr, child.service = record["addr"], record["service"]
            if child.addr in self._up_addrs:
                self._mark_joined(child)
        elif message.startswith("instance ") and "after" in record and child is self._gateway:
            self._handle_instance_change(record)
        elif message == "init runs":
            _print_line(f"{child.name:<8} init runs, {record['seconds']:.0f} s so far")
        elif message == "request" and child is self._gateway:
            _print_line(_describe_request(record))
        elif record["level"] in ("warning", "error") and not self._stopping:
            detail = record.get("traceback") or record.get("reason") or record.get("cure") or ""
            detail = f"{record['instance']} {detail}" if "instance" in record else detail
            sid = f" (sid {record['sid']})" if "sid" in record else ""
            line = f"{child.name:<8} {message}{sid} {detail}".rstrip()
            _print_line(line.replace("\n", "\n    "))  # indented: not events of their own
        self._changed.set()

    def _handle_instance_change(self, record: dict[str, Any]) -> None:
        """Handle the gateway's report that an instance has changed its state.

        The loader with that address may still be unknown: its `listening` line comes by another
        pipe and may be read later.
        """
        addr, after = record["instance"], record["after"]
        child = next((child for child in self._loaders if child.addr == addr), None)
        if after == "up":
            self._up_addrs.add(addr)
            if child is not None:
                self._mark_joined(child)
        elif not self._stopping:
            name = child.name if child else record["service"]
            verb = "left" if after == "gone" else after
            _print_line(f"{name:<8} {addr} {verb} ({record['reason']})")

    def _mark_joined(self, child: _Child) -> None:
        child.joined = True
        if not self._stopping:
            _print_line(f"{child.name:<8} {child.addr} joined (pid {child.process.pid})")

    async def _stop_all(self) -> None:
        """Stop the gateway, then the loaders, by closing their stdin.

        A child that has not ended after 40 s is killed.
        """
        self._stopping = True
        _print_line("stopping: running requests are finished first")
        gateway = [self._gateway] if self._gateway else []
        for group in (gateway, self._loaders):
            for child in group:
                if child.process.stdin is not None:
                    child.process.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await asyncio.gather(*(child.process.wait() for child in group))
            for child in group:
                if child.process.returncode is None:
                    _print_line(f"{child.name:<8} did not end in {_STOP_TIMEOUT_S:g} s; killed")
                    child.process.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _parse_log_line(line: str) -> dict[str, Any] | None:
    """Return the fields of a JSON log line; None for other output, such as a wrapper prints."""
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict) and {"time", "level", "logger", "message"} <= record.keys():
            return record
    return None


async def _read_lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yield the lines that are not blank.

    A carriage return ends a line too (progress bars). A line longer than 1 MiB is split.
    """
    rest = b""
    while chunk := await stream.read(65536):
        *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        lines, rest = ([*lines, rest], b"") if len(rest) > _MAX_LINE_BYTES else (lines, rest)
        for line in lines:
            if line.strip():
                yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def loader_name(wrapper: str) -> str:
    """Return a name for the loaders of a wrapper: its class, or its file, or the folder of it."""
    file, _, class_name = wrapper.partition(":")
    path = Path(file).resolve()
    return class_name.lower() or (path.stem if path.stem != "wrapper" else path.parent.name)


def _example_commands(child: _Child, gateway: str) -> list[str]:
    """Return example commands for a Wrapper, for the user to paste.

    They use `request.json` and the first `sample.*` in the Wrapper's folder, if it has them.
    """
    folder = Path(child.wrapper.partition(":")[0]).parent
    body = folder / "request.json"
    sample = next(iter(sorted(folder.glob("sample.*"))), None)
    lines = []
    if body.is_file():
        url = f"{gateway}/v1/private/{child.service}"
        data = shlex.quote(os.path.relpath(body))
        lines.append(f"curl -sS {url} -H 'Content-Type: application/json' -d @{data}")
    url_flag = "" if gateway == "http://127.0.0.1:8200" else f" --url {gateway}"
    file = shlex.quote(os.path.relpath(sample)) if sample else "PATH"
    source = Path(child.wrapper.partition(":")[0]).read_text(encoding="utf-8", errors="replace")
    session_flags = " --ws --realtime" if _SESSION_METHOD.search(source) else ""
    lines.append(f"{_asectl_command()} call {child.service}{url_flag} --file {file}{session_flags}")
    return lines


def _asectl_command() -> str:
    """Return the command to type for `asectl`: the relative path of the script, if it is known."""
    command_path = Path(sys.argv[0])
    return shlex.quote(os.path.relpath(command_path)) if command_path.name == "asectl" else "asectl"


def _describe_request(record: dict[str, Any]) -> str:
    target = f"{record['method']} {record['path']}" if record["path"] else "a request"
    fault = f"  {record['fault']}: {record['detail'][:120]}" if record.get("fault") else ""
    location = f" at {record['instance']}" if record["instance"] else ""
    result = f"{record['status']} {target} code {record['code']}"
    line = f"{result} {record['total_ms']:.1f} ms{location}{fault}"
    return line.replace("\n", " ")


def _describe_exit(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def _print_line(line: str) -> None:
    """Print a line with "?" for each unprintable character other than newline.

    Text from a model or a client could otherwise send control sequences to the terminal.
    """
    print("".join(c if c.isprintable() or c == "\n" else "?" for c in line), flush=True)
