"""How a process takes its configuration from a registry: at the start, and while it runs."""

import argparse
import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from asectl import options
from asectl.main import EXIT_CONFIG, EXIT_UNREACHABLE, Failure
from config.options import Config, RegistryOptions
from config.source import ConfigError
from registry.client.connection import RegistryServers
from registry.client.mirror import Mirror, MirrorError, MirrorGeneration
from registry.client.provider import ProviderRegistration, discover
from registry.client.subscriber import Apply, ApplyResult, RegistrySubscriber
from registry.feedback import Outcome
from registry.generation import Subscription
from registry.names import ANY, ServiceVersion, VersionPattern
from rpc.addresses import is_loopback, join_host_port
from rpc.status import RpcError
from schemas.wire import DiscoveredProvider

if TYPE_CHECKING:
    from gateway.services.reload_requests import ReloadOutcome, ReloadRequests

_logger = logging.getLogger("ase.registry")

# How hubs are registered: one in a process of its own, and one inside a gateway.
HUB_SERVICE, HUB_PROTOCOL, INNER_HUB_PROTOCOL = "lb", "ase-hub", "ase-inner-hub"
_DISCOVER_TIMEOUT_S = 3.0
_NEVER_RAN = (
    "an earlier start with it did not come to run, so the one before is used; it is tried again "
    "while the process runs"
)
_LEAVE_TIMEOUT_S = 1.0


class _RecordList(logging.Handler):
    """Keeps records for later."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.INFO)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


# Says whether a process could start with the files that are in use.
Check = Callable[[argparse.Namespace], ApplyResult]


class RegistryLink:
    """The connection of one process to the registries of its configuration.

    `service` is what the process is if `registry.service` does not say otherwise. With
    `takes_schemas` it takes the API schemas of all services of its group too.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        own: RegistryOptions,
        base: Path,
        service: str,
        address: str,
        check: Check,
        *,
        takes_schemas: bool,
    ) -> None:
        """Create it; `own` are the options of this host, with paths relative to `base`.

        `own.instance` is its name in the cluster, and `address` where it listens.
        `check` says whether the process could start with the files that are in use.
        """
        self._args = args
        self._check = check
        self._options = own
        self.mirror = Mirror(options.registry_cache(own, base))
        self.version = ServiceVersion(own.project, own.group, own.service or service, own.version)
        patterns = [VersionPattern(own.project, own.group, self.version.service, own.version)]
        if takes_schemas:
            patterns.append(VersionPattern(own.project, own.group, ANY, ANY, schemas_only=True))
        labels = dict(label.split("=", 1) for label in own.labels)
        if own.region:
            labels["region"] = own.region
        self._subscription = Subscription(own.instance, address, labels, tuple(patterns))
        self._loaded: MirrorGeneration | None = None  # what the process runs with
        self._records: list[logging.LogRecord] = []
        self._registrations: list[ProviderRegistration] = []
        ca = str(base / own.ca) if own.ca else ""
        self._servers = RegistryServers(tuple(own.servers.split(",")), own.token, ca)

    def listen_at(self, address: str) -> None:
        """Note where the process listens, now that the system has chosen its port."""
        self._subscription = replace(self._subscription, address=address)

    def register(self, service: str, address: str, protocol: str) -> "asyncio.Task[None]":
        """Be a provider of a service of our group, until the task is cancelled: `leave` first."""
        name = replace(self.version, service=service)
        registration = ProviderRegistration(
            self._servers, name, address, protocol, self._subscription.labels
        )
        self._registrations.append(registration)
        return asyncio.create_task(registration.run())

    async def leave(self, tasks: list["asyncio.Task[None]"]) -> None:
        """Deregister, and end the tasks of `register` and `follow`."""
        self.start_leaving()
        await asyncio.wait(tasks, timeout=_LEAVE_TIMEOUT_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start_leaving(self) -> None:
        """Deregister; the tasks of `register` end soon."""
        for registration in self._registrations:
            registration.leave()

    async def hub_changes(self, *, for_loader: bool = False) -> AsyncIterator[Sequence[str]]:
        """Yield the addresses of the hubs of our group, now and after each change.

        A loader reports to the hubs inside gateways too if there is no other.
        """
        try:
            async for update in discover(self._servers, self._pattern(HUB_SERVICE)):
                yield hub_addresses(update.providers, for_loader=for_loader)
        except (RpcError, DecodeError, OSError) as error:
            reason = f"{error}; changes of the hubs are not followed"
            _logger.error("hubs not listed by the registry", extra={"reason": reason})  # noqa: TRY400

    def lists_hubs(self) -> bool:
        """Return whether the registry lists hubs of our group for gateways."""
        return bool(hub_addresses(self.discover(HUB_SERVICE), for_loader=False))

    def _pattern(self, service: str) -> str:
        return f"{self.version.project}/{self.version.group}/{service}/*"

    def discover(self, service: str) -> list[DiscoveredProvider]:
        """Return the online providers of a service of our group, none if no registry answers."""
        return asyncio.run(self._discover(service))

    async def _discover(self, service: str) -> list[DiscoveredProvider]:
        pattern = self._pattern(service)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCOVER_TIMEOUT_S):
                async for update in discover(self._servers, pattern):
                    return [p for p in update.providers if p.state == "online"]
        return []

    def log_fetch(self) -> None:
        """Log what `fetch` had to say, now that the process knows how it logs."""
        for record in self._records:
            _logger.handle(record)
        self._records.clear()

    def fetch(self) -> None:
        """Take the generation of now, or go on with the last one if no registry answers.

        A generation that the process could not start with is refused, and the one before is used.
        Raises Failure (exit code 4) if there is none at all.
        """
        try:
            self.mirror.recover()
        except MirrorError as error:
            raise Failure(f"registry.cache: {error}") from None
        handler = _RecordList(self._records)
        _logger.addHandler(handler)
        _logger.propagate = False
        try:
            asyncio.run(self._fetch())
        finally:
            _logger.propagate = True
            _logger.removeHandler(handler)

    def follow(self, requests: "ReloadRequests") -> "asyncio.Task[None]":
        """Follow the registries from now on; each generation is a reload of `requests`."""

        async def apply(_: Path) -> ApplyResult:
            return _as_result(await requests.reload())

        return self._start_following(apply)

    def follow_until_restart(self) -> "asyncio.Task[None]":
        """Follow the registries; what changes is checked, and takes effect at the next start."""

        async def apply(_: Path) -> ApplyResult:
            result = await asyncio.to_thread(self._check, self._args)
            if result.outcome is Outcome.APPLIED:
                return ApplyResult(Outcome.APPLIED, "at the next start")
            return result

        return self._start_following(apply)

    def _start_following(self, apply: Apply) -> "asyncio.Task[None]":
        """Follow the registries, now that the process runs with the generation in use."""
        if self._loaded is not None:
            self.mirror.accept(self.mirror.folder_of(self._loaded))

        async def apply_and_accept(folder: Path) -> ApplyResult:
            result = await apply(folder)
            if result.outcome is Outcome.APPLIED:
                self.mirror.accept(folder)
            return result

        return asyncio.create_task(self._follow(apply_and_accept))

    async def _follow(self, apply: Apply) -> None:
        subscriber = self._subscriber(self._loaded)
        subscriber.start_applying(apply)
        try:
            await subscriber.run()
        except Exception:
            _logger.exception("registry not followed any more, by a fault of ours")
            raise

    async def _fetch(self) -> None:
        subscriber = self._subscriber(self.mirror.read())

        async def apply(folder: Path) -> ApplyResult:
            if self.mirror.is_doubtful(folder) and self.mirror.has_accepted():
                return ApplyResult(Outcome.FAILED, _NEVER_RAN)
            return await asyncio.to_thread(self._check, self._args)

        subscriber.start_applying(apply)
        task = asyncio.create_task(subscriber.run())
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.wait):
                    await subscriber.has_answered.wait()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._loaded = self.mirror.read()
        if not subscriber.has_answered.is_set():
            if self._loaded is None:
                reason = f" ({subscriber.last_problem})" if subscriber.last_problem else ""
                raise Failure(
                    f"registry.servers: none of {self._options.servers} has answered in "
                    f"{self._options.wait:g} s{reason}, and there is no earlier configuration in "
                    f"{self.mirror.current.parent}; see that asectl registry runs there",
                    EXIT_UNREACHABLE,
                )
            _logger.warning(
                "no registry answers; started with the last configuration",
                extra={"registry": self._options.servers, "folder": str(self.mirror.current)},
            )
        self.mirror.mark_tried()
        result = subscriber.last_result
        if result.outcome in (Outcome.REFUSED, Outcome.FAILED) and self._loaded is None:
            raise Failure(
                f"registry: its configuration cannot be used\n{result.reason}", EXIT_CONFIG
            )

    def _subscriber(self, applied: MirrorGeneration | None) -> RegistrySubscriber:
        return RegistrySubscriber(
            self._servers, self._subscription, self.version, self.mirror, SystemRandom(), applied
        )


def hub_addresses(providers: Iterable[DiscoveredProvider], *, for_loader: bool) -> list[str]:
    """Return the addresses of the hubs among providers that are online.

    Those in processes of their own; without any, for a loader, those inside gateways.
    """
    online = [p for p in providers if p.state == "online"]
    own = [p.address for p in online if p.protocol == HUB_PROTOCOL]
    if own or not for_loader:
        return own
    return [p.address for p in online if p.protocol == INNER_HUB_PROTOCOL]


def reachable_address(host: str, port: int) -> str:
    """Return the address by which other hosts reach a port that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return join_host_port(socket.gethostname(), port)
    return join_host_port("127.0.0.1" if is_loopback(host) and ":" not in host else host, port)


def check_generation(args: argparse.Namespace) -> ApplyResult:
    """Return whether a process could start with the files in use."""
    # A loader is installed without what gateways need, and has no schemas to check.
    from gateway.services import schema_folder

    try:
        config, base, _ = options.resolve_config(args)
        if config.schemas:
            schema_folder.load_folder(
                base / config.schemas, config.services, config.gateway.deadline
            )
    except (ConfigError, schema_folder.SchemaFolderError, OSError, UnicodeDecodeError) as error:
        return ApplyResult(Outcome.REFUSED, str(error))
    return ApplyResult(Outcome.APPLIED)


def _as_result(outcome: "ReloadOutcome") -> ApplyResult:
    if outcome.outcome == "refused":
        return ApplyResult(Outcome.REFUSED, outcome.reason)
    names = ", ".join(outcome.restart_required)
    return ApplyResult(Outcome.APPLIED, f"at the next start alone: {names}" if names else "")


def prepare(
    args: argparse.Namespace,
    service: str,
    get_listener: Callable[[Config], tuple[str, int]],
    check: Check,
    *,
    takes_schemas: bool,
) -> RegistryLink | None:
    """Return the link of a process that has registries, with their configuration on the disk.

    None if it has none. Raises Failure.
    """
    config, base = options.load_own_config(args)
    if not config.registry.servers:
        return None
    host, port = get_listener(config)
    address = reachable_address(host, port)
    name = f"{socket.gethostname()}:{port}" if port else socket.gethostname()
    # Workers share an address, and so do processes that let the system choose their port.
    is_shared = (not port and not config.registry.instance) or getattr(args, "worker", False)
    suffix = f"#{os.getpid()}" if is_shared else ""
    link = RegistryLink(
        args,
        replace(config.registry, instance=(config.registry.instance or name) + suffix),
        base,
        service,
        address,
        check,
        takes_schemas=takes_schemas,
    )
    link.fetch()
    return link
