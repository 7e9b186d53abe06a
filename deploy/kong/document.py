"""A declarative Kong file (OSS 3.9, `_format_version` 3.0) from an `ase.yaml`. Pure.

The file overrides every harmful default of Kong: health checks are off, retries are 5, timeouts
are one minute. A 429 of a gateway reports a caller's quota and a 503 the state of the loaders, not
the health of the gateway that sends it. Passive health checks therefore never count 429 or 503
against a target. Only the active probe of `/readyz` treats 503 as unhealthy: there it means that
this gateway is draining, or that its view of the loaders is not synchronized yet.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from config.options import Config, KongOptions
from deploy.kong.entities import expand_target
from deploy.kong.file_schema import PERIODS

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_TARGET = re.compile(
    r"(?P<target>(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5}))"
    r"(?: weight=(?P<weight>-?\d{1,6}))?"
)
_MAX_PORT = _MAX_WEIGHT = 65535
DEFAULT_WEIGHT = 100
_CLOCK_SKEW_S = 300
# What clients of positions call, beside the paths of services (docs/positions.md).
_POSITION_PATHS = ("/inference-service-", "/closed-loop-", "/certificate")


class KongError(Exception):
    """The config cannot be rendered as a Kong file; `str()` names the option and the cure."""


def dump(document: Mapping[str, Any]) -> str:
    """Return a Kong file as YAML text."""
    return yaml.safe_dump({**document}, sort_keys=False, width=100)


def make_document(config: Config, deadlines: Iterable[float] = ()) -> dict[str, Any]:
    """Return the Kong file as dicts, lists and scalars. Raises KongError.

    `deadlines` are the deadlines in the operator's schema documents, in seconds.
    """
    _check(config)
    routes = [
        # GET is the handshake of a WebSocket, OPTIONS the preflight of a page.
        _route(config, "call", ["/v1/"], ["GET", "POST", "OPTIONS"]),
        _route(config, "apis", ["/v1/apis"], ["GET", "OPTIONS"]),
        _route(config, "positions", [*_POSITION_PATHS], ["POST", "OPTIONS"]),
    ]
    return {
        "_format_version": "3.0",
        "upstreams": [_upstream(config)],
        "services": [_service(config, config.kong.name, routes, deadlines)],
    }


def make_position_document(
    config: Config, positions: Iterable[str], deadlines: Iterable[float] = ()
) -> dict[str, Any]:
    """Return the Kong file of positions: a service and a route of each. Raises KongError.

    They have names and a tag of their own, those of a `kong.name` with `-positions`: what the other
    file sets up stays as it is. Plugins may be given to each service. All share the upstream of the
    other file: a gateway that is drained there gets no requests of positions either.
    """
    _check(config)
    own = replace(config, kong=replace(config.kong, name=f"{config.kong.name}-positions"))
    upstream = upstream_name(config.kong)
    longest = tuple(deadlines)
    services = []
    for position in positions:
        # Whole paths: another service may have a name that begins with that of the position.
        path = rf"~/(?:inference-service-|closed-loop-|v1/(?:private/)?){position}$"
        route = _route(own, f"call.{position}", [path], ["GET", "POST", "OPTIONS"])
        service = _service(own, f"{own.kong.name}.{position}", [route], longest)
        services.append({**service, "host": upstream})
    return {"_format_version": "3.0", "services": services}


def _upstream(config: Config) -> dict[str, Any]:
    kong = config.kong
    return {
        "name": upstream_name(kong),
        "algorithm": "least-connections",
        "tags": tags(kong),
        "healthchecks": _healthchecks(_protocol(config)),
        "targets": [target(kong, *parse_gateway(entry)) for entry in kong.gateways],
    }


def _service(
    config: Config, name: str, routes: list[dict[str, Any]], deadlines: Iterable[float]
) -> dict[str, Any]:
    plugins = _plugins(config)
    return {
        "name": name,
        "host": upstream_name(config.kong),
        "port": 8200,
        "protocol": _protocol(config),
        "connect_timeout": 1000,
        "read_timeout": _read_timeout(config, deadlines),
        "write_timeout": math.ceil(config.gateway.body_timeout + 5) * 1000,
        "retries": 0,
        "tags": tags(config.kong),
        "routes": routes,
        **({"plugins": plugins} if plugins else {}),
    }


def _protocol(config: Config) -> str:
    return "https" if config.gateway.tls_cert else "http"


def upstream_name(kong: KongOptions) -> str:
    """Return the name of Kong's upstream, whose targets are the gateways."""
    return f"{kong.name}-gateways"


def tags(kong: KongOptions) -> list[str]:
    """Return the tags of every entity of ours: the last one marks those of this `kong.name`.

    Each call returns a new list: YAML would write a shared list as an alias.
    """
    return ["ase", f"ase.{kong.name}"]


def target(kong: KongOptions, addr: str, weight: int) -> dict[str, Any]:
    """Return a target of the upstream: the gateway at `addr`. Weight 0 gets no requests."""
    return {"target": addr, "weight": weight, "tags": tags(kong)}


def parse_gateway(text: str) -> tuple[str, int]:
    """Return address and weight of an entry such as `10.0.0.11:8200 weight=50`.

    Raises KongError if it is none.
    """
    match = _TARGET.fullmatch(text)
    if not match or not 0 < int(match["port"]) <= _MAX_PORT:
        raise KongError(f"kong.gateways {text!r}: must be host:port, without a scheme")
    weight = DEFAULT_WEIGHT if match["weight"] is None else int(match["weight"])
    if not 0 <= weight <= _MAX_WEIGHT:
        raise KongError(f"kong.gateways {text!r}: a weight is 0 to {_MAX_WEIGHT}")
    return expand_target(match["target"]), weight


def _plugins(config: Config) -> list[dict[str, Any]]:
    """Return the plugins of the service that the options ask for."""
    kong, configs = config.kong, dict[str, dict[str, Any]]()
    if kong.cors:
        configs["cors"] = {
            "origins": list(config.session.origins),
            "methods": ["GET", "POST", "OPTIONS"],
            **({"headers": [*config.gateway.cors_headers]} if config.gateway.cors_headers else {}),
            "credentials": config.gateway.cors_credentials,
            "max_age": round(config.gateway.cors_max_age),
            "preflight_continue": False,
        }
    if kong.key_auth:
        configs["key-auth"] = {
            "key_names": ["apikey", "x-api-key"],
            "key_in_query": False,
            "hide_credentials": True,
            "run_on_preflight": False,
        }
    if kong.hmac_auth:
        configs["hmac-auth"] = {
            "algorithms": ["hmac-sha256", "hmac-sha384", "hmac-sha512"],
            "enforce_headers": ["date", "request-line"],
            "clock_skew": _CLOCK_SKEW_S,
            "validate_request_body": True,
            "hide_credentials": True,
        }
    if kong.rate_limit:
        configs["rate-limiting"] = {
            **parse_rate_limits(kong.rate_limit),
            "limit_by": "consumer",
            "policy": "local",
            "fault_tolerant": True,
        }
    return [{"name": name, "config": body, "tags": tags(kong)} for name, body in configs.items()]


def parse_rate_limits(texts: Sequence[str]) -> dict[str, int]:
    """Return the limit of each period, shortest first, of entries such as `100/second`.

    Raises KongError for two limits of a period, or a longer period that allows less.
    """
    pairs = [text.partition("/")[::2] for text in texts]
    limits = {period: int(count) for count, period in pairs}
    ordered = {period: limits[period] for period in PERIODS if period in limits}
    if len(ordered) != len(texts):
        raise KongError("kong.rate_limit: one limit for each period")
    if [*ordered.values()] != sorted(ordered.values()):
        raise KongError("kong.rate_limit: a longer period must not allow less than a shorter one")
    return ordered


def _route(config: Config, name: str, paths: list[str], methods: list[str]) -> dict[str, Any]:
    hosts = {"hosts": list(config.kong.hosts)} if config.kong.hosts else {}
    return {
        "name": f"{config.kong.name}-{name}",
        **hosts,
        "paths": paths,
        "methods": methods,
        "protocols": ["http", "https"],
        "strip_path": False,
        "preserve_host": True,
        "request_buffering": False,
        "response_buffering": False,
        "tags": tags(config.kong),
    }


def _healthchecks(protocol: str) -> dict[str, Any]:
    """Return the health checks; the probe does not verify a certificate, which names no target."""
    return {
        "threshold": 0,
        "active": {
            "type": protocol,
            **({"https_verify_certificate": False} if protocol == "https" else {}),
            "http_path": "/readyz",
            "timeout": 1,
            "concurrency": 10,
            "healthy": {"interval": 5, "successes": 2, "http_statuses": [200]},
            "unhealthy": {
                "interval": 2,
                "tcp_failures": 2,
                "timeouts": 3,
                "http_failures": 2,
                "http_statuses": [500, 503],
            },
        },
        "passive": {
            "type": protocol,
            "healthy": {"successes": 5, "http_statuses": [200, 400, 404, 429, 502, 503, 504]},
            "unhealthy": {
                "tcp_failures": 2,
                "timeouts": 3,
                "http_failures": 5,
                "http_statuses": [500],
            },
        },
    }


def _read_timeout(config: Config, deadlines: Iterable[float]) -> int:
    """Return Kong's read timeout in milliseconds: the longest silence of a gateway plus 5 s.

    A gateway is silent until the deadline of a request, until the next ping of a WebSocket session
    or until the next comment on an event stream.
    """
    service_deadlines = [service.deadline or 0.0 for service in config.services.values()]
    session_intervals = [config.session.ping, config.session.keep_alive]
    longest = max([config.gateway.deadline, *service_deadlines, *deadlines, *session_intervals])
    return math.ceil(longest + 5) * 1000


def _check(config: Config) -> None:
    kong = config.kong
    if not kong.gateways:
        raise KongError('kong.gateways is empty: list every gateway, as in ["10.0.0.11:8200"]')
    if not _NAME.fullmatch(kong.name):
        raise KongError(f"kong.name {kong.name!r}: Kong wants a host name (a-z, 0-9, '-', '.')")
    addrs = [parse_gateway(entry)[0] for entry in kong.gateways]
    if len(set(addrs)) != len(addrs):
        raise KongError("kong.gateways names an address twice")
    if kong.key_auth and kong.hmac_auth:  # Kong would ask for both
        raise KongError("kong.key_auth and kong.hmac_auth: choose one of them")
    if kong.cors and not config.session.origins:
        raise KongError("kong.cors: session.origins is empty: list the origins of the pages")
