"""The JSON Schema of a declarative Kong file (OSS 3.9): the entities that stand before a gateway.

Entities of other kinds, and plugins that are not listed, may have any members. Values only. Source:
Kong's documentation of the declarative format, of the Admin API and of each plugin.
"""

from collections.abc import Mapping
from typing import Any

PERIODS = ("second", "minute", "hour", "day", "month", "year")
_PROTOCOLS = (
    "http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp", "ws", "wss",
)  # fmt: skip
_METHODS = ("GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT")
_MAX_PORT = _MAX_WEIGHT = 65535
_MAX_TIMEOUT_MS = 2**31 - 2


def _integer(minimum: int, maximum: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


def _one_of(*values: str) -> dict[str, Any]:
    return {"enum": [*values]}


def _list_of(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _closed(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": [*required],
        "additionalProperties": False,
    }  # fmt: skip


_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_NAME = {"type": "string", "pattern": r"^[A-Za-z0-9._~-]+$"}
_HOST_NAME = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$",
    "not": {"pattern": r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$"},
}
_STATUSES = _list_of(_integer(100, 999))
_META = {
    "id": _TEXT, "tags": _list_of(_TEXT), "created_at": {}, "updated_at": {}, "_comment": {},
    "_ignore": {},
}  # fmt: skip
_COUNT = _integer(0, 255)
_SECONDS = {"type": "number", "minimum": 0, "maximum": 65535}

_HEALTHCHECKS = _closed(
    {
        "threshold": {"type": "number", "minimum": 0, "maximum": 100},
        "active": _closed(
            {
                "type": _one_of("http", "https", "tcp", "grpc", "grpcs"),
                "http_path": {"type": "string", "pattern": "^/"},
                "https_sni": _TEXT,
                "https_verify_certificate": _FLAG,
                "headers": {"type": "object"},
                "timeout": _SECONDS,
                "concurrency": _integer(1, 2**31 - 1),
                "healthy": _closed(
                    {"interval": _SECONDS, "successes": _COUNT, "http_statuses": _STATUSES}
                ),
                "unhealthy": _closed(
                    {
                        "interval": _SECONDS,
                        "tcp_failures": _COUNT,
                        "timeouts": _COUNT,
                        "http_failures": _COUNT,
                        "http_statuses": _STATUSES,
                    }
                ),
            }
        ),
        "passive": _closed(
            {
                "type": _one_of("http", "https", "tcp", "grpc", "grpcs"),
                "healthy": _closed({"successes": _COUNT, "http_statuses": _STATUSES}),
                "unhealthy": _closed(
                    {
                        "tcp_failures": _COUNT,
                        "timeouts": _COUNT,
                        "http_failures": _COUNT,
                        "http_statuses": _STATUSES,
                    }
                ),
            }
        ),
    }
)
_HASH_INPUTS = _one_of(
    "none", "consumer", "ip", "header", "cookie", "path", "query_arg", "uri_capture"
)
_TARGET = _closed(
    {
        **_META,
        "target": {
            "type": "string",
            "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$",
        },
        "weight": _integer(0, _MAX_WEIGHT),
        "upstream": {},
    },
    "target",
)
_UPSTREAM = _closed(
    {
        **_META,
        "name": _HOST_NAME,
        "algorithm": _one_of("consistent-hashing", "least-connections", "round-robin", "latency"),
        "slots": _integer(10, 65536),
        "hash_on": _HASH_INPUTS,
        "hash_fallback": _HASH_INPUTS,
        **{
            f"{hash_name}_{hash_input}": _TEXT
            for hash_name in ("hash_on", "hash_fallback")
            for hash_input in ("header", "query_arg", "uri_capture")
        },
        "hash_on_cookie": _TEXT,
        "hash_on_cookie_path": _TEXT,
        "healthchecks": _HEALTHCHECKS,
        "host_header": _TEXT,
        "client_certificate": {},
        "use_srv_name": _FLAG,
        "targets": _list_of(_TARGET),
    },
    "name",
)
_COUNT_OF_REQUESTS = {"type": "number", "exclusiveMinimum": 0}
_PLUGIN_CONFIGS = {
    "key-auth": _closed(
        {
            "key_names": _list_of(_TEXT),
            **dict.fromkeys(("key_in_body", "key_in_header", "key_in_query"), _FLAG),
            **dict.fromkeys(("hide_credentials", "run_on_preflight"), _FLAG),
            **dict.fromkeys(("anonymous", "realm"), _TEXT),
        }
    ),
    "hmac-auth": _closed(
        {
            "algorithms": _list_of(
                _one_of("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
            ),
            "enforce_headers": _list_of(_TEXT),
            "clock_skew": {"type": "number", "exclusiveMinimum": 0},
            **dict.fromkeys(("hide_credentials", "validate_request_body"), _FLAG),
            **dict.fromkeys(("anonymous", "realm"), _TEXT),
        }
    ),
    "rate-limiting": {
        **_closed(
            {
                **dict.fromkeys(PERIODS, _COUNT_OF_REQUESTS),
                "limit_by": _one_of(
                    "consumer", "credential", "ip", "service", "header", "path", "consumer-group"
                ),
                "policy": _one_of("local", "redis", "cluster"),
                "header_name": _TEXT,
                "path": _TEXT,
                "sync_rate": {"type": "number"},
                "error_code": {"type": "integer"},
                "error_message": _TEXT,
                **dict.fromkeys(("fault_tolerant", "hide_client_headers"), _FLAG),
                "redis": {"type": "object"},
            }
        ),
        "anyOf": [{"required": [period]} for period in PERIODS],
    },
    "cors": _closed(
        {
            **dict.fromkeys(("origins", "headers", "exposed_headers"), _list_of(_TEXT)),
            "methods": _list_of(_one_of(*_METHODS)),
            "max_age": {"type": "number"},
            **dict.fromkeys(("credentials", "preflight_continue", "private_network"), _FLAG),
            "allow_origin_absent": _FLAG,
        }
    ),
    "prometheus": _closed(
        dict.fromkeys(
            (
                "per_consumer", "status_code_metrics", "ai_metrics", "latency_metrics",
                "bandwidth_metrics", "upstream_health_metrics", "wasm_metrics",
            ),
            _FLAG,
        )
    ),
}  # fmt: skip
_PLUGIN = {
    **_closed(
        {
            **_META,
            "name": _NAME,
            "instance_name": _TEXT,
            "enabled": _FLAG,
            "protocols": _list_of(_one_of(*_PROTOCOLS)),
            "config": {"type": "object"},
            "ordering": {},
            **{kind: {} for kind in ("service", "route", "consumer", "consumer_group")},
        },
        "name",
    ),
    "allOf": [
        {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"properties": {"config": config}},
        }
        for name, config in _PLUGIN_CONFIGS.items()
    ],
}
_ROUTE = _closed(
    {
        **_META,
        "name": _NAME,
        "protocols": _list_of(_one_of(*_PROTOCOLS)),
        "methods": _list_of(_one_of(*_METHODS)),
        "hosts": _list_of(_TEXT),
        "paths": _list_of({"type": "string", "pattern": "^(/|~/)"}),
        "headers": {"type": "object"},
        "snis": _list_of(_TEXT),
        "sources": _list_of({"type": "object"}),
        "destinations": _list_of({"type": "object"}),
        "https_redirect_status_code": {"enum": [426, 301, 302, 307, 308]},
        "regex_priority": {"type": "integer"},
        "path_handling": _one_of("v0", "v1"),
        **dict.fromkeys(
            ("strip_path", "preserve_host", "request_buffering", "response_buffering"), _FLAG
        ),
        "expression": _TEXT,
        "priority": {"type": "integer"},
        "service": {},
        "plugins": _list_of(_PLUGIN),
    }
)
_TIMEOUT = _integer(1, _MAX_TIMEOUT_MS)
_SERVICE = _closed(
    {
        **_META,
        "name": _NAME,
        "host": _TEXT,
        "port": _integer(0, _MAX_PORT),
        "protocol": _one_of(*_PROTOCOLS),
        "path": {"type": "string", "pattern": "^/"},
        "url": {"type": "string", "pattern": "^[a-z_]+://"},
        "retries": _integer(0, 32767),
        **dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), _TIMEOUT),
        **dict.fromkeys(("enabled", "tls_verify"), _FLAG),
        "tls_verify_depth": _integer(0, 64),
        **{name: {} for name in ("client_certificate", "ca_certificates")},
        "routes": _list_of(_ROUTE),
        "plugins": _list_of(_PLUGIN),
    }
)
# Lists of other entities, whose members are not checked. Plugins bring further kinds.
OTHER_KINDS = (
    "acls", "basicauth_credentials", "ca_certificates", "certificates", "consumer_groups",
    "consumers", "filter_chains", "hmacauth_credentials", "jwt_secrets", "key_sets",
    "keyauth_credentials", "keys", "oauth2_credentials", "snis", "vaults",
)  # fmt: skip

FILE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "_format_version": _one_of("1.1", "2.1", "3.0"),
        "_transform": _FLAG,
        "_comment": _TEXT,
        "_ignore": {"type": "array"},
        "upstreams": _list_of(_UPSTREAM),
        "targets": _list_of(_TARGET),
        "services": _list_of(_SERVICE),
        "routes": _list_of(_ROUTE),
        "plugins": _list_of(_PLUGIN),
    },
    "required": ["_format_version"],
    "additionalProperties": _list_of({"type": "object"}),
}
