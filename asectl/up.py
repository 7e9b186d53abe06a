"""`asectl up`: run a gateway and loaders as child processes, and print their events as text."""

import argparse
import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import SystemRandom
from typing import Any

import httpx

from asectl import process
from asectl.child import Child, parse_log_line
from asectl.gateway_apis import fetch_service
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, Failure
from asectl.source_watch import watch_folder
from asectl.up_text import (
    describe_exit,
    describe_request,
    example_commands,
    loader_name,
    print_line,
)
from rpc.backoff import Backoff
from schemas.model.service import Service

_DEMO_SERVICES = ("image", "audio", "vad")
_DEMO_PACKAGES = ("PIL",)
_STOP_TIMEOUT_S = 40.0
_FIRST_LOADER_PORT = 40  # from the port of the gateway on
# Delay before a crashed loader is started again. It grows; a run of _STABLE_S makes it the least.
_MIN_RESTART_DELAY_S = 0.5
_MAX_RESTART_DELAY_S = 30.0
_STABLE_S = 60.0


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
        "--reload",
        action="store_true",
        help="replace the loaders when a Python file in the folder of their Wrapper changes",
    )
    parser.add_argument(
        "--auth",
        metavar="METHODS",
        help="who may call: key, hmac, jwt, certificate, proxy, with commas; default: anyone on "
        "this machine",
    )
    parser.add_argument(
        "--registry", action="store_true", help="run a registry too, which the others follow"
    )
    parser.add_argument(
        "--deployer", action="store_true", help="run a deployer too, for asectl deploy FILE"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8200,
        help="first port: gateway PORT, gRPC PORT+10, lb PORT+20, registry PORT+30 and PORT+31, "
        "deployer PORT+50, loaders from PORT+40, admin PORT+90 (8200); 0 takes free ones",
    )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C, or until the gateway or all loaders have ended; then stop every child.

    A loader that crashes after it has joined is started again.

    Return 0 after Ctrl-C or SIGTERM, 1 if the children ended by themselves. Raises Failure (exit
    code 2) for wrong arguments.
    """
    if args.each < 1:
        raise Failure("--each must be 1 or more", 2)
    if not 0 <= args.port <= 65535 - 200:
        raise Failure(f"--port must be 0 or 1 to {65535 - 200}: others are counted from it", 2)
    wrappers = [*args.wrappers]
    if args.demo:
        wrappers += _demo_wrappers()
    if not wrappers and not args.deployer:
        raise Failure("nothing to serve: give --demo, --deployer, or FILE:Class of a Wrapper", 2)
    supervisor = _Supervisor(
        wrappers,
        args.each,
        args.port,
        [f"--set={entry}" for entry in args.set],
        args.reload,
        args.auth or "",
        with_registry=args.registry,
        with_deployer=args.deployer,
    )

    async def main(stop: "asyncio.Future[bool]") -> None:
        await supervisor.run(stop)

    code = process.serve(main, until_stdin_closes=False)
    return code or supervisor.code


def _demo_wrappers() -> list[str]:
    """Return the files of the demo services: in the package, or in the checkout of an editable one.

    Raises Failure if the packages that they need are not installed.
    """
    if any(find_spec(name) is None for name in _DEMO_PACKAGES):
        cure = "pip install 'athena-serving[demo]'"
        raise Failure(f"the demo services need pillow: {cure}")
    package = Path(__file__).parent
    folder = package / "demo"
    if not folder.is_dir():
        folder = package.parent / "examples"
    return [str(folder / name / "wrapper.py") for name in _DEMO_SERVICES]


class _Loader:
    """The place of one loader, which one process after the other takes.

    `name` is what is printed of it, `wrapper` its FILE:Class. `child` is the present process, None
    before the first one and after the end of the last. `has_joined`: the gateway has reported one
    of its processes as up. `is_ended`: no process will follow, unless the source changes.
    """

    def __init__(self, name: str, wrapper: str) -> None:
        self.name = name
        self.wrapper = wrapper
        self.child: Child | None = None
        self.has_joined = False
        self.is_ended = False


class _Supervisor:
    """Starts the child processes, follows their logs on stderr and stops them in order.

    A change of state sets `_changed`, which makes `_wait_until` check its condition again.
    `_addresses` is the gateway's `listening` record, empty until it arrives. `_listening` has that
    of each loader process. `_up_addrs` holds the addresses that the gateway has reported as up: the
    report can arrive before the loader's own `listening` line. `_replaced` are processes that a
    reload has stopped, `_changed_files` what has changed since, by wrapper. From `_is_stopping` on,
    ends and state changes are expected and not printed. `code` is the exit code.
    """

    def __init__(
        self,
        wrappers: list[str],
        per_wrapper: int,
        port: int,
        config_flags: list[str],
        reload: bool,
        auth_methods: str,
        *,
        with_registry: bool,
        with_deployer: bool,
    ) -> None:
        self._port = port
        self._with_deployer = with_deployer
        self._deployer: Child | None = None
        self._deployer_url = ""
        self._with_registry = with_registry
        self._registry: Child | None = None
        self._registry_addresses: dict[str, str] = {}
        self._auth_methods = auth_methods
        self._loader_ports: dict[Child, int] = {}
        self._config_flags = config_flags
        self._reload = reload
        self._gateway: Child | None = None
        self._loaders = [
            _Loader(f"{loader_name(wrapper)}-{number + 1}", wrapper)
            for wrapper in wrappers
            for number in range(per_wrapper)
        ]
        self._children: list[Child] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._addresses: dict[str, str] = {}
        self._up_addrs: set[str] = set()
        self._replaced: set[Child] = set()
        self._changed_files: dict[str, list[Path]] = {}
        self._listening: dict[Child, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._is_stopping = False
        self.code = 0

    async def run(self, stop: "asyncio.Future[bool]") -> None:
        """Start all children and print their events.

        Stop them when `stop` is done, or when the gateway or every loader has ended.
        """
        supervise_task = asyncio.create_task(self._supervise())
        try:
            await asyncio.wait((supervise_task, stop), return_when=asyncio.FIRST_COMPLETED)
            self.code = 0 if stop.done() else EXIT_FAILED
        finally:
            supervise_task.cancel()
            await self._stop_all()

    async def _supervise(self) -> None:
        """Start the gateway, then the loaders; return when `_is_finished` is true."""
        if self._with_registry and not await self._start_registry():
            return
        self._gateway = await Child.start("gateway", self._gateway_command(), self._handle_line)
        self._tasks.append(asyncio.create_task(self._follow_end(self._gateway)))
        if self._reload:
            for wrapper in dict.fromkeys(loader.wrapper for loader in self._loaders):
                self._tasks.append(asyncio.create_task(self._watch_source(wrapper)))
        await self._wait_until(lambda: bool(self._addresses) or self._is_finished())
        if self._is_finished():
            return
        for name in ("gateway", "grpc", "lb", "admin"):
            print_line(f"{name:<8} {self._addresses[name]}")
        if self._with_deployer and not await self._start_deployer():
            return
        for loader in self._loaders:
            self._adopt(loader, await self._start_loader(loader))
        await self._wait_until(
            lambda: all(loader.has_joined or loader.is_ended for loader in self._loaders)
        )
        if self._reload:
            for wrapper in dict.fromkeys(loader.wrapper for loader in self._loaders):
                self._tasks.append(asyncio.create_task(self._follow_source(wrapper)))
        if not self._is_finished():
            await self._print_ready()
        await self._wait_until(self._is_finished)
        if self._loaders and all(loader.is_ended for loader in self._loaders):
            print_line("no loader is left")

    async def _start_registry(self) -> bool:
        """Start the registry; return whether it serves."""
        ports = (self._port + 30, self._port + 31) if self._port else (0, 0)
        flags = ["--registry-port", str(ports[0]), "--registry-http-port", str(ports[1])]
        command = ["registry", *flags, "--log-format", "json"]  # this process reads them
        registry = self._registry = await Child.start("registry", command, self._handle_line)
        self._tasks.append(asyncio.create_task(self._follow_end(registry)))
        await self._wait_until(lambda: bool(self._registry_addresses) or registry.exited.is_set())
        if registry.exited.is_set():
            return False
        for name in ("registry", "api"):
            print_line(f"{name:<8} {self._registry_addresses[name]}")
        return True

    async def _start_deployer(self) -> bool:
        """Start the deployer; return whether it serves."""
        flags = ["--port", str(self._port + 50 if self._port else 0), "--stop-replicas"]
        flags += ["--deployer-hubs", self._addresses["lb"], "--log-format", "json"]
        flags += ["--deployer-gateway", self._addresses["gateway"]]
        deployer = await Child.start("deployer", ["deployer", *flags], self._handle_line)
        self._deployer = deployer
        self._tasks.append(asyncio.create_task(self._follow_end(deployer)))
        await self._wait_until(lambda: bool(self._deployer_url) or deployer.exited.is_set())
        if self._deployer_url:
            print_line(f"deployer {self._deployer_url}")
        return bool(self._deployer_url)

    def _registry_flags(self) -> list[str]:
        address = self._registry_addresses.get("registry")
        return ["--registry", address] if address else []

    async def _follow_end(self, child: Child) -> None:
        """Print the end of a child, unless it is expected."""
        await child.exited.wait()
        if not self._is_stopping and child not in self._replaced:
            end = describe_exit(child.exit_code)
            print_line(f"{child.name:<8} ended (pid {child.pid}), {end}")
        self._changed.set()

    async def _start_loader(self, loader: _Loader) -> Child:
        """Start a process for a loader; it does not take the place of the present one yet."""
        port = self._take_port()
        flags = ["--lb", self._addresses["lb"], "--port", str(port), *self._config_flags]
        flags += self._registry_flags()
        command = ["loader", "run", loader.wrapper, *flags]
        child = await Child.start(loader.name, command, self._handle_line)
        self._children.append(child)
        self._loader_ports[child] = port
        self._tasks.append(asyncio.create_task(self._follow_end(child)))
        return child

    def _take_port(self) -> int:
        """Return the first port that no loader has; 0, which means any, without a first port."""
        if not self._port:
            return 0
        used = {port for child, port in self._loader_ports.items() if not child.exited.is_set()}
        return next(p for p in itertools.count(self._port + _FIRST_LOADER_PORT) if p not in used)

    def _adopt(self, loader: _Loader, child: Child) -> None:
        """Make `child` the process of a loader and keep it running."""
        loader.child, loader.is_ended = child, False
        if self._is_up(child):
            self._mark_joined(loader, child)
        self._tasks.append(asyncio.create_task(self._keep_running(loader, child)))

    async def _keep_running(self, loader: _Loader, child: Child) -> None:
        """Start a loader again when its process has ended, until another one replaces it.

        One that never joined is not started again: its own output says what it lacks.
        """
        backoff = Backoff(SystemRandom(), _MIN_RESTART_DELAY_S, _MAX_RESTART_DELAY_S)
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            await child.exited.wait()
            if loader.child is not child or self._is_stopping:
                return
            if not loader.has_joined:
                loader.child, loader.is_ended = None, True
                self._changed.set()
                return
            if loop.time() - started_at >= _STABLE_S:
                backoff.reset()
            delay = backoff.next_delay()
            print_line(f"{loader.name:<8} starts again in {delay:.1f} s")
            await asyncio.sleep(delay)
            if loader.child is not child:
                return
            child = loader.child = await self._start_loader(loader)

    def _is_up(self, child: Child) -> bool:
        record = self._listening.get(child)
        return record is not None and record["addr"] in self._up_addrs

    async def _watch_source(self, wrapper: str) -> None:
        """Note the changes in the folder of a wrapper, from the start of the first loader on."""
        async for files in watch_folder(_folder_of(wrapper)):
            self._changed_files.setdefault(wrapper, []).extend(files)
            self._changed.set()

    async def _follow_source(self, wrapper: str) -> None:
        """Replace the loaders of a wrapper, one after the other, when its source changes."""
        while True:
            await self._wait_until(lambda: wrapper in self._changed_files)
            print_line(f"\n{_describe_files(self._changed_files.pop(wrapper))} changed")
            for loader in self._loaders:
                if loader.wrapper == wrapper and not await self._replace(loader):
                    break

    async def _replace(self, loader: _Loader) -> bool:
        """Start a new process for a loader and stop the one before, when the new one has joined.

        So requests are served all the time. Return False if the new one does not come up, or if the
        source changes again before; then the old one stays.
        """
        new = await self._start_loader(loader)
        await self._wait_until(
            lambda: new.exited.is_set() or self._is_up(new) or loader.wrapper in self._changed_files
        )
        if not self._is_up(new):
            if new.exited.is_set():
                print_line(f"{loader.name:<8} stays as it is; change the file again")
            self._retire(new)
            return False
        old = loader.child
        self._adopt(loader, new)
        if old is not None:
            self._retire(old)
        return True

    def _retire(self, child: Child) -> None:
        """Stop a process that another one replaces, and see to its end."""
        self._replaced.add(child)
        child.stop()
        self._tasks.append(asyncio.create_task(_wait_for_end(child)))

    def _is_finished(self) -> bool:
        """Return whether the gateway, or every loader for good, has ended."""
        if self._gateway is not None and self._gateway.exited.is_set():
            return True
        if self._with_deployer:
            return self._deployer is not None and self._deployer.exited.is_set()
        return not self._reload and all(loader.is_ended for loader in self._loaders)

    async def _wait_until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def _print_ready(self) -> None:
        missing = ", ".join(loader.name for loader in self._loaders if loader.is_ended)
        print_line(f"\nready{' without ' + missing if missing else ''}; try, in another terminal:")
        printed: set[str] = set()
        for loader in self._loaders:
            if loader.has_joined and loader.child and loader.wrapper not in printed:
                printed.add(loader.wrapper)
                service_id = self._listening[loader.child]["service"]
                gateway = self._addresses["gateway"]
                service = await asyncio.to_thread(_fetch_service, gateway, service_id)
                for line in example_commands(loader.wrapper, service, gateway) if service else []:
                    print_line(f"  {line}")
        if self._deployer_url:
            print_line(f"  asectl deploy FILE --url {self._deployer_url}")
        if self._auth_methods not in ("", "none"):
            print_line(f"Callers prove who they are by {self._auth_methods}: docs/security.md.")
        print_line("Ctrl-C ends everything.\n")

    def _gateway_command(self) -> list[str]:
        base = self._port
        ports = (base, base + 10, base + 20, base + 90) if base else (0, 0, 0, 0)
        names = ("--gateway-port", "--gateway-grpc-port", "--lb-port", "--gateway-admin-port")
        flags = [
            word for name, port in zip(names, ports, strict=True) for word in (name, str(port))
        ]
        if self._auth_methods:
            flags += ["--auth-methods", self._auth_methods]
        flags += ["--log-format", "json", *self._registry_flags()]  # this process reads them
        return ["gateway", "--lb-accept-schemas", "true", "--gateway-grpc", "true", *flags]

    def _handle_line(self, child: Child, line: str) -> None:
        record = parse_log_line(line)
        if record is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._handle_record(child, record)

    def _handle_record(self, child: Child, record: dict[str, Any]) -> None:
        message = record["message"]
        is_ours = record["logger"] == "ase.loader"  # not a record of the author
        if message == "listening" and child is self._registry:
            self._registry_addresses = record
        elif message == "listening" and child is self._deployer:
            self._deployer_url = record["api"]
        elif message.startswith("deployment ") and "status" in record:
            reason = record.get("reason", "").partition("\n")[0]
            print_line(f"{record['deployment']:<8} {record['status']} {reason}".rstrip())
        elif message == "listening" and child is self._gateway:
            self._addresses = record
        elif message == "listening" and is_ours:
            self._listening[child] = record
            self._note_join(child)
        elif message.startswith("instance ") and "after" in record and child is self._gateway:
            self._handle_instance_change(record)
        elif message == "init runs" and is_ours:
            print_line(f"{child.name:<8} init runs, {record['seconds']:.0f} s so far")
        elif message == "request" and child is self._gateway:
            if not _is_schema_request(record):  # `asectl` itself sends one before each call
                print_line(describe_request(record))
        elif record["level"] in ("warning", "error") and not self._is_stopping:
            detail = record.get("traceback") or record.get("reason") or record.get("cure") or ""
            detail = f"{record['instance']} {detail}" if "instance" in record else detail
            sid = f" (sid {record['sid']})" if "sid" in record else ""
            line = f"{child.name:<8} {message}{sid} {detail}".rstrip()
            print_line(line.replace("\n", "\n    "))  # indented: not events of their own
        self._changed.set()

    def _handle_instance_change(self, record: dict[str, Any]) -> None:
        """Handle the gateway's report that an instance has changed its state.

        The loader with that address may still be unknown: its `listening` line comes by another
        pipe and may be read later.
        """
        addr, after = record["instance"], record["after"]
        child = next((c for c, r in self._listening.items() if r["addr"] == addr), None)
        if after == "up":
            self._up_addrs.add(addr)
            if child is not None:
                self._note_join(child)
            return
        self._up_addrs.discard(addr)
        if not self._is_stopping:
            name = child.name if child else record["service"]
            verb = "left" if after == "gone" else after
            print_line(f"{name:<8} {addr} {verb} ({record['reason']})")

    def _note_join(self, child: Child) -> None:
        """Note that a process is up, if it is the present one of its loader."""
        loader = next((loader for loader in self._loaders if loader.child is child), None)
        if loader is not None and self._is_up(child):
            self._mark_joined(loader, child)

    def _mark_joined(self, loader: _Loader, child: Child) -> None:
        loader.has_joined = True
        if not self._is_stopping:
            addr = self._listening[child]["addr"]
            print_line(f"{loader.name:<8} {addr} joined (pid {child.pid})")
        self._changed.set()

    async def _stop_all(self) -> None:
        """Stop the gateway, then the loaders, by closing their stdin.

        A child that has not ended after 40 s is killed.
        """
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        print_line("stopping: running requests are finished first")
        gateway = [self._gateway] if self._gateway else []
        registry = [self._registry] if self._registry else []
        deployer = [self._deployer] if self._deployer else []
        for group in (gateway, deployer, self._children, registry):
            for child in group:
                child.stop()
            ended = await asyncio.gather(*(child.wait(_STOP_TIMEOUT_S) for child in group))
            for child, has_ended in zip(group, ended, strict=True):
                if not has_ended:
                    print_line(f"{child.name:<8} did not end in {_STOP_TIMEOUT_S:g} s; killed")
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _folder_of(wrapper: str) -> Path:
    return Path(wrapper.partition(":")[0]).resolve().parent


def _describe_files(files: list[Path]) -> str:
    names = ", ".join(os.path.relpath(file) for file in files[:3])
    return f"{names} and {len(files) - 3} others" if len(files) > 3 else names


async def _wait_for_end(child: Child) -> None:
    await child.wait(_STOP_TIMEOUT_S)


def _is_schema_request(record: dict[str, Any]) -> bool:
    path: str = record["path"]
    return record["status"] == 200 and path.startswith("/v1/apis/") and path.endswith("/schema")


def _fetch_service(gateway: str, service_id: str) -> Service | None:
    """Return a service by its schema at the gateway; None if that ends meanwhile."""
    try:
        with HttpTarget(gateway).client() as client:
            return fetch_service(client, service_id)
    except (Failure, httpx.HTTPError):
        return None
