"""Render a declarative Kong file (OSS 3.9, `_format_version` 3.0) from an `ase.yaml`. Pure.

The file overrides every harmful default of Kong: health checks are off, retries are 5, timeouts
are one minute. A 429 of a gateway reports a caller's quota and a 503 the state of the loaders, not
the health of the gateway that sends it. Passive health checks therefore never count 429 or 503
against a target. Only the active probe of `/readyz` treats 503 as unhealthy: there it means that
this gateway is draining, or that its view of the loaders is not synchronized yet.
"""

import math
import re
from collections.abc import Iterable
from typing import Any

import yaml

from config.options import Config

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_TARGET = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\]):(?P<port>\d{1,5})")


class KongError(Exception):
    """The config cannot be rendered as a Kong file; `str()` names the option and the cure."""


def render(config: Config, deadlines: Iterable[float] = ()) -> str:
    """Return the Kong file as YAML text. Raises KongError.

    `deadlines` are the deadlines in the operator's schema documents, in seconds.
    """
    return yaml.safe_dump(document(config, deadlines), sort_keys=False, width=100)


def document(config: Config, deadlines: Iterable[float] = ()) -> dict[str, Any]:
    """Return the Kong file as dicts, lists and scalars; arguments and errors as for `render`."""
    _check(config)
    kong = config.kong
    upstream = f"{kong.name}-gateways"
    protocol = "https" if config.gateway.tls_cert else "http"
    return {
        "_format_version": "3.0",
        "upstreams": [
            {
                "name": upstream,
                "algorithm": "least-connections",
                "tags": _tags(),
                "healthchecks": _healthchecks(protocol),
                "targets": [_target(addr) for addr in kong.gateways],
            }
        ],
        "services": [
            {
                "name": kong.name,
                "host": upstream,
                "port": 8200,
                "protocol": protocol,
                "connect_timeout": 1000,
                "read_timeout": _read_timeout(config, deadlines),
                "write_timeout": math.ceil(config.gateway.body_timeout + 5) * 1000,
                "retries": 0,
                "tags": _tags(),
                "routes": [
                    # GET is the handshake of a WebSocket, OPTIONS the preflight of a page.
                    _route(config, "call", ["/v1/private/"], ["GET", "POST", "OPTIONS"]),
                    _route(config, "apis", ["/v1/apis"], ["GET", "OPTIONS"]),
                ],
            }
        ],
    }


def _tags() -> list[str]:
    """Return the tags that mark an entity of Kong as rendered by this product.

    Each call returns a new list: YAML would write a shared list as an alias.
    """
    return ["ase"]


def _target(addr: str) -> dict[str, Any]:
    return {"target": addr, "weight": 100, "tags": _tags()}


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
        "tags": _tags(),
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
    for addr in kong.gateways:
        match = _TARGET.fullmatch(addr)
        if not match or not 0 < int(match["port"]) < 65536:
            raise KongError(f"kong.gateways {addr!r}: must be host:port, without a scheme")
    if len(set(kong.gateways)) != len(kong.gateways):
        raise KongError("kong.gateways names an address twice")
