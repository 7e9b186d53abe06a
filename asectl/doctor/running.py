"""Checks of a gateway that runs, by its admin port and its public port, and of its loaders."""

import asyncio
import email.utils
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from asectl.doctor.check_result import CheckResult, Level
from asectl.durations import format_age
from asectl.http_client import HttpTarget
from asectl.ports import describe_holder
from config.describe import effective_options
from config.options import Config

_TIMEOUT_S = 3.0
_MAX_SKEW_S = 2.0
_MAX_REPORT_AGE_S = 1.0


def check_gateway(config: Config, admin: HttpTarget, public: HttpTarget) -> Iterator[CheckResult]:
    """Yield what is so of the gateway at `admin`, and of its loaders."""
    try:
        process = _get_json(admin, "/debug/process")
        instances = _get_json(admin, "/lb/state")["instances"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError) as error:
        yield _unreachable(config, admin, error)
        return
    yield CheckResult(
        Level.OK,
        "gateway",
        f"{admin.url} is version {process['version']}, pid {process['pid']}, "
        f"for {format_age(process['uptime_s'])}",
    )
    if not process["uvloop"]:
        cure = "pip install uvloop; without it requests are slower"
        yield CheckResult(Level.WARNING, "event loop", "asyncio's", cure)
    yield check_difference(config, process["options"])
    yield from _check_public(public)
    yield from _check_instances(instances)


def _get_json(server: HttpTarget, path: str) -> dict[str, Any]:
    response = server.get(path, _TIMEOUT_S)
    response.raise_for_status()
    content = response.json()
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not an object")  # noqa: TRY004 (of what the server sent)
    return content


def _unreachable(config: Config, admin: HttpTarget, error: Exception) -> CheckResult:
    """Return the result about a gateway that does not answer, or not as one."""
    if not isinstance(error, httpx.ConnectError):
        cure = "is that the admin port? A token goes into --token-file"
        return CheckResult(Level.FAILED, "gateway", f"{admin.url}: {error}", cure)
    holder = describe_holder(config.gateway.port)
    if holder:
        text = f"port {config.gateway.port} is in use{holder}, and no admin port at {admin.url}"
        cure = "another program has the port, or the gateway has another admin port: --url"
        return CheckResult(Level.FAILED, "gateway", text, cure)
    cure = "asectl gateway starts one; --url names another"
    return CheckResult(Level.WARNING, "gateway", f"none runs at {admin.url}", cure)


def check_difference(config: Config, running: Mapping[str, Any]) -> CheckResult:
    """Return whether the gateway runs with the options of the config; those of Kong are not its."""
    wanted = {option.name: option.value for option in effective_options(config, {})}
    different = sorted(
        name
        for name in {*wanted, *running}
        if wanted.get(name) != running.get(name) and not name.startswith("kong.")
    )
    if not different:
        return CheckResult(Level.OK, "config", "the gateway runs with it")
    listed = ", ".join(
        f"{name} ({running.get(name)!r}, not {wanted.get(name)!r})" for name in different[:5]
    )
    more = f" and {len(different) - 5} more" if len(different) > 5 else ""
    cure = "restart the gateway, or give asectl doctor the flags and the file that it has"
    text = f"the gateway runs with other options: {listed}{more}"
    return CheckResult(Level.WARNING, "config", text, cure)


def _check_public(public: HttpTarget) -> Iterator[CheckResult]:
    started_at = time.time()
    try:
        response = public.get("/readyz", _TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        cure = "callers cannot reach it here: see gateway.host, gateway.port and firewalls"
        yield CheckResult(Level.FAILED, "public port", f"{public.url}: {error}", cure)
        return
    took_ms = response.elapsed.total_seconds() * 1000
    if response.status_code == 200:
        yield CheckResult(Level.OK, "public port", f"{public.url} is ready ({took_ms:.1f} ms)")
    else:
        text = f"{public.url} is not ready: {response.text[:200]}"
        cure = "a hub must answer (lb.hub), and no gateway may be draining"
        yield CheckResult(Level.FAILED, "public port", text, cure)
    date = response.headers.get("date", "")
    if date:
        yield check_clock(email.utils.parsedate_to_datetime(date).timestamp(), started_at)


def check_clock(gateway_seconds: float, our_seconds: float) -> CheckResult:
    """Return whether two clocks agree; a Date header has whole seconds."""
    skew = gateway_seconds + 0.5 - our_seconds
    if abs(skew) <= _MAX_SKEW_S:
        return CheckResult(Level.OK, "clock", "that of the gateway agrees with ours")
    text = f"that of the gateway differs by {skew:.0f} s"
    return CheckResult(Level.WARNING, "clock", text, "run NTP; signatures allow for 300 s at most")


def _check_instances(instances: list[dict[str, Any]]) -> Iterator[CheckResult]:
    if not instances:
        cure = "start one with --lb ADDRESS, or list it under `instances`"
        yield CheckResult(Level.WARNING, "loaders", "the gateway knows none", cure)
        return
    pings = asyncio.run(_ping_all([str(instance["instance"]) for instance in instances]))
    for instance, ping in zip(instances, pings, strict=True):
        yield check_instance(instance, ping)


async def _ping_all(addrs: list[str]) -> list[float | str]:
    """Return for each loader the milliseconds of its answer, or why there is none."""
    return await asyncio.gather(*map(_ping, addrs))


async def _ping(addr: str) -> float | str:
    from rpc.client import Channel
    from rpc.status import RpcError, Status

    channel = Channel(addr)
    started_at = time.monotonic()
    try:
        await channel.unary("/grpc.health.v1.Health/Check", b"", timeout=_TIMEOUT_S)
    except RpcError as error:
        # Loaders of the original have no health service; one that says so answers.
        if error.status is not Status.UNIMPLEMENTED:
            return str(error)
    finally:
        await channel.close()
    return (time.monotonic() - started_at) * 1000


def check_instance(instance: Mapping[str, Any], ping: float | str) -> CheckResult:
    """Return whether a loader serves: by its row of `/lb/state`, and its answer to us."""
    subject = f"loader {instance['instance']}"
    text = f"{instance['service']}, {instance['state']}, {instance['health']}"
    if isinstance(ping, str):
        cure = "its process has ended or hangs, or this machine cannot reach it"
        return CheckResult(Level.FAILED, subject, f"{text}; does not answer: {ping}", cure)
    text = f"{text}, answers in {ping:.1f} ms"
    if instance["schema_active"] is False:
        cure = "asectl api diff its schema and that of the gateway; a rolling upgrade is under way?"
        return CheckResult(Level.WARNING, subject, f"{text}, with another schema", cure)
    if instance["state"] != "up" or instance["health"] != "in":
        text = f"{text} ({instance['reason']}, {instance['health_reason']})"
        return CheckResult(Level.WARNING, subject, text, "asectl lb state tells since when and why")
    age = instance["report_age_s"]
    if age is not None and age > _MAX_REPORT_AGE_S:
        text = f"{text}, its report is {age:.1f} s old"
        return CheckResult(Level.WARNING, subject, text, "the hub or the loader lags")
    return CheckResult(Level.OK, subject, text)
