"""Declare every option once: its name, default, bounds and help text. Values only.

The keys of `ase.yaml`, the environment variables `ASE_*`, the command-line flags and their help
texts are all derived from these dataclass fields.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class OptionMeta:
    """Metadata of one option: help text with the unit, bounds and allowed values.

    `pattern` is a regular expression that every non-empty text value must match in full;
    `pattern_description` says in error messages what the pattern means. `minimum` and `maximum`
    are inclusive, None: no bound. `choices` are the allowed values, empty: any. The value of a
    `secret` option is never shown. A `path` names a file or folder, relative to the config file.
    """

    help: str
    pattern: str = ""
    pattern_description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    secret: bool = False
    path: bool = False


def option(
    default: Any,
    help: str,  # noqa: A002 (the name that argparse uses)
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    pattern: tuple[str, str] = ("", ""),
    secret: bool = False,
    path: bool = False,
) -> Any:
    """Declare one option of a section: return a dataclass field that carries its `OptionMeta`.

    `pattern` is a pair: the regular expression and its description. A `default` that is a list or
    a dict is copied for each instance of the section.
    """
    meta = {"option": OptionMeta(help, *pattern, minimum, maximum, choices, secret, path)}
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata=meta)
    return field(default=default, metadata=meta)


POLICIES = (
    "ours", "least_request", "p2c", "peak_ewma", "orca_wrr", "prequal", "load", "loadMini", "poll",
    "round_robin", "random",
)  # fmt: skip
_PORT = r"(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])"
ADDR = (rf"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\]):{_PORT}", "host:port, without a scheme")
ADDRS = (rf"{ADDR[0]}(?:,{ADDR[0]})*", "host:port, without a scheme; more with commas")
AUTH_METHODS = ("key", "hmac", "jwt", "certificate", "mtls", "proxy", "none")
NETWORK = (r"[0-9A-Fa-f.:]+(?:/\d{1,3})?", "an address or a network, as 10.0.0.0/8")
PATH = (r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}", "names of members, as header.uid")
SERVICE = (r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", "a service id (letters, digits, '_', '.', '-')")


def meta_of(option_field: Field[Any]) -> OptionMeta:
    """Return the metadata that `option` attached to a field."""
    meta: OptionMeta = option_field.metadata["option"]
    return meta


def default_of(option_field: Field[Any]) -> Any:
    """Return the default of an option; a list or a dict is a new copy."""
    return (
        option_field.default_factory()
        if callable(option_field.default_factory)
        else option_field.default
    )


def value_type_of(option_field: Field[Any]) -> type[Any]:
    """Return the type that a value of an option must have: bool, int, float, str or list (of str).

    It is the type of the default. A default of None marks an optional float. The annotations
    cannot be used: they are lost when this module is compiled (mypyc).
    """
    default = default_of(option_field)
    return float if default is None else type(default)


def port_option(default: int, purpose: str) -> Any:
    """Declare a port option. With 0 the system chooses a free port, which the process reports."""
    return option(default, f"port of {purpose}; 0 chooses a free one", minimum=0, maximum=65535)


def admin_hosts_option() -> Any:
    """Declare the host names of an admin API."""
    return option(
        [],
        "host names by which the admin API may be asked, besides localhost and IP addresses",
        pattern=(r"[A-Za-z0-9._-]{1,253}", "a host name, without a port"),
    )


def admin_token_option() -> Any:
    """Declare the token of an admin API."""
    return option(
        "",
        "secret of requests to the admin API, but for /livez and the files of the console; empty: "
        "none is asked for",
        pattern=(r"[!-~]{1,256}|\$\{(?:file|env):.+\}", "printable ASCII without blanks"),
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """Section `gateway`: the HTTP server, its limits, timeouts and shutdown."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = port_option(8200, "the public API")
    admin_host: str = option("127.0.0.1", "address of the admin API; keep it private")
    admin_port: int = port_option(8290, "the admin API (/metrics, /lb/state)")
    admin_hosts: list[str] = admin_hosts_option()
    admin_token: str = admin_token_option()
    admin_connections: int = option(64, "connections to the admin API", minimum=1)
    grpc: bool = option(
        False, "serve gRPC clients too, at `grpc_port`: ase.v1.Gateway, health, reflection"
    )
    grpc_port: int = port_option(8210, "gRPC clients")
    grpc_connections: int = option(
        1000,
        "connections of gRPC clients; fewer where the limit of open files asks for it",
        minimum=1,
    )
    grpc_streams: int = option(
        100, "calls at a time on one connection of a gRPC client", minimum=1, maximum=100_000
    )
    anonymous: bool = option(
        True, "serve plain requests without an app id as `anonymous`; false: they need x-app-id"
    )
    deadline: float = option(
        5.0, "seconds from the last byte of a request to its answer", minimum=0.001, maximum=3600
    )
    answer_window: float = option(
        600.0,
        "seconds that the answer of an idempotent service is kept for its Idempotency-Key; 0: none",
        minimum=0,
    )
    max_answers: int = option(64 * 1024 * 1024, "bytes of all answers that are kept", minimum=0)
    explained: int = option(
        200,
        "latest failed or slow requests that asectl explain can tell of; 0: none",
        minimum=0,
        maximum=10_000,
    )
    slow: float = option(1.0, "seconds from which on a request is slow, and explained", minimum=0)
    max_body: int = option(16 * 1024 * 1024, "bytes of a request body", minimum=1)
    max_form: int = option(
        256 * 1024,
        "bytes of an urlencoded form; a MiB takes 0.2 s of the event loop, multipart far less",
        minimum=1,
    )
    max_gzip_body: int = option(
        2 * 1024 * 1024,
        "bytes of a request body in gzip, decompressed; a MiB takes up to 8 ms of the event loop",
        minimum=1,
    )
    max_output: int = option(
        16 * 1024 * 1024, "bytes of one answer or result of a loader", minimum=1024
    )
    body_timeout: float = option(30.0, "seconds to receive a request body", minimum=0.001)
    min_body_rate: int = option(1024, "bytes a second that a body must come at", minimum=0)
    min_chunk: int = option(
        16, "mean bytes of the chunks of a body that has more than 10,000 chunks", minimum=0
    )
    max_bodies: int = option(
        256 * 1024 * 1024,
        "bytes of request bodies and WebSocket messages larger than 64 KiB in memory, in sum over "
        "all connections of a process; beyond that the largest incomplete one is rejected",
        minimum=0,
    )
    max_unread: int = option(
        64 * 1024 * 1024,
        "bytes that clients have not read, in sum over all connections of a process; beyond that "
        "the client that has read nothing for the longest time is disconnected",
        minimum=0,
    )
    write_timeout: float = option(30.0, "seconds a client may read nothing", minimum=0.1)
    header_timeout: float = option(5.0, "seconds to receive a request's headers", minimum=0.001)
    max_request_line: int = option(8192, "bytes of a request's target", minimum=64, maximum=65536)
    max_header_bytes: int = option(32768, "bytes of all headers of a request", minimum=256)
    max_headers: int = option(100, "headers of a request", minimum=1)
    max_depth: int = option(64, "levels of a JSON body", minimum=4, maximum=200)
    max_nodes: int = option(100_000, "values in a JSON body", minimum=16)
    max_names: int = option(10_000, "different member names in a JSON body", minimum=16)
    tls_cert: str = option(
        "", "certificate file (PEM) for HTTPS, by this file; empty: HTTP", path=True
    )
    tls_key: str = option("", "key file (PEM) of the certificate, by this file", path=True)
    tls_ca: str = option(
        "",
        "CA file (PEM) of the certificates of clients, for `auth: mtls`; may have a revocation "
        "list (CRL) too",
        path=True,
    )
    tls_handshake_timeout: float = option(
        5.0, "seconds of a TLS handshake, and of a PROXY header before it", minimum=0.01
    )
    workers: int = option(
        1,
        "processes that serve the one port; more than one need `lb.hub`",
        minimum=1,
        maximum=256,
    )
    max_connections: int = option(
        20_000, "connections of clients; fewer where the limit of open files asks for it", minimum=1
    )
    once_lane: bool = option(
        True, "serve requests to services without an ASGI cycle; false: through Starlette, slower"
    )
    keep_alive: float = option(75.0, "seconds an idle connection is kept", minimum=0)
    lame_duck: float = option(5.0, "seconds to go on accepting after SIGTERM", minimum=0)
    drain: float = option(30.0, "seconds that running requests get to finish", minimum=0)
    consumer_header: str = option(
        "X-Consumer-Username",
        "header in which a trusted proxy names the caller; app ids must equal it; empty: off",
    )
    trusted_proxies: list[str] = option(
        ["127.0.0.0/8", "::1/128"],
        "networks (CIDR) of proxies that may name the caller and forward the client's address",
        pattern=NETWORK,
    )
    client_header: str = option(
        "x-forwarded-for",
        "header to which trusted proxies add the client's address",
        choices=("x-forwarded-for", "forwarded"),
    )
    proxy_protocol: list[str] = option(
        [],
        "networks (CIDR) of load balancers whose connections begin with a PROXY protocol v2 "
        "header, at the public and the gRPC port",
        pattern=NETWORK,
    )
    cors_headers: list[str] = option(
        ["authorization", "content-type", "x-api-key", "x-app-id", "idempotency-key"],
        "headers that pages of `session.origins` may send",
        pattern=(r"[A-Za-z0-9-]{1,64}", "a header name"),
    )
    cors_credentials: bool = option(
        False, "let pages of `session.origins` send cookies and client certificates"
    )
    cors_max_age: int = option(
        600, "seconds that a browser remembers what a page may do", minimum=0, maximum=86_400
    )


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Section `session`: streaming sessions over WebSocket and server-sent events."""

    read_timeout: float = option(
        15.0, "seconds a client may send no frame, before its last", minimum=0.05, maximum=3600
    )
    lifetime: float = option(150.0, "seconds of a session", minimum=0.05, maximum=86_400)
    max_frame: int = option(1024 * 1024, "bytes of a WebSocket message", minimum=125)
    queue: int = option(32, "frames of a session that may wait for its loader", minimum=1)
    most: int = option(15, "sessions at a time on one socket, multiplexed", minimum=1, maximum=1000)
    ping: float = option(
        20.0, "seconds between pings to a client, and for its answer", minimum=0.05
    )
    idle: float = option(60.0, "seconds of a multiplexed socket without a session", minimum=0.05)
    max_fragments: int = option(1024, "fragments of a WebSocket message", minimum=1)
    max_controls: int = option(100, "pings and pongs of a client in a second", minimum=1)
    sequence: bool = option(True, "end a session whose payloads skip or repeat a `seq`")
    origins: list[str] = option(
        [],
        "origins of pages that may open sockets and read answers, as https://example.com; *: any; "
        "ours always",
        pattern=(
            r"\*|null|[A-Za-z][A-Za-z0-9+.-]*://[^/?#*@\s]+",
            "*, null, or scheme://host or scheme://host:port, without a path or a wildcard",
        ),
    )
    keep_alive: float = option(15.0, "seconds between comments on an event stream", minimum=0.05)


@dataclass(frozen=True, slots=True)
class LbOptions:
    """Section `lb`: load reports, hubs and the choice of an instance."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = port_option(8220, "load reports (gRPC)")
    admin_host: str = option(
        "127.0.0.1", "address of the admin API of a hub in its own process; keep it private"
    )
    admin_port: int = port_option(8291, "the admin API of a hub in its own process (asectl lb)")
    admin_hosts: list[str] = admin_hosts_option()
    admin_token: str = admin_token_option()
    hub: str = option(
        "",
        "host:port of hubs in their own processes, with commas; `registry`: those that it lists; "
        "empty: the same if it lists some at the start, else a hub inside the gateway",
        pattern=(rf"registry|{ADDRS[0]}", ADDRS[1]),
    )
    accept_schemas: bool = option(False, "let loaders bring the schemas of their services")
    schema_cache: str = option(
        "",
        "folder, by this file, that keeps the schemas of loaders for a start without a hub; "
        "empty: none",
        path=True,
    )
    silence: float = option(
        0.15,
        "seconds without a report that make a loader suspect: three keep-alives; up to 1 s if its "
        "reports are irregular",
        minimum=0.05,
    )
    ttl: float = option(3.0, "seconds after which a suspect loader is forgotten", minimum=0.1)
    ramp: float = option(10.0, "seconds in which a new loader comes to its full share", minimum=0)
    wait: float = option(
        1.0, "seconds a request may wait while every loader is full; 0: it is refused", minimum=0
    )
    waiting: int = option(256, "requests that may wait at a time", minimum=0)
    policy: str = option("ours", "how an instance is chosen", choices=POLICIES)
    token: str = option(
        "", "secret that reports and gateways must have; empty: none is asked for", secret=True
    )
    allow: list[str] = option(
        ["127.0.0.0/8", "::1/128"],
        "networks (CIDR) whose loaders may report any address; others may report their own",
        pattern=NETWORK,
    )
    max_total: int = option(10_000, "licences of one instance, at most", minimum=1, maximum=10_000)
    max_instances: int = option(10_000, "instances that are known, at most", minimum=1)
    max_instances_per_peer: int = option(256, "instances that one host reports, at most", minimum=1)
    max_rate: int = option(400, "reports a second of one instance, at most", minimum=1)
    tls_cert: str = option(
        "", "certificate file (PEM) of the lb port, by this file; empty: no TLS", path=True
    )
    tls_key: str = option("", "key file (PEM) of the certificate, by this file", path=True)
    tls_ca: str = option(
        "", "CA file (PEM): who connects must have a certificate of it (mTLS)", path=True
    )
    hub_ca: str = option(
        "", "CA file (PEM) of the hubs' certificates; empty: they speak no TLS", path=True
    )
    hub_cert: str = option("", "our certificate file (PEM) for hubs that ask for one", path=True)
    hub_key: str = option("", "key file (PEM) of that certificate", path=True)


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """Section `auth`: who may call. `auth: none` and `auth: [key, jwt]` set `methods` alone."""

    methods: list[str] = option(
        [],
        "how callers prove who they are: key, hmac, jwt, certificate, mtls, proxy; none: anyone "
        "may call. "
        "Empty: anyone, but only on a loopback address",
        pattern=("|".join(AUTH_METHODS), "one of " + ", ".join(AUTH_METHODS)),
    )
    keys: str = option(
        "keys.sqlite",
        "file of API keys and HMAC secrets (asectl key create), by this one",
        path=True,
    )
    clock_skew: float = option(
        300.0, "seconds that the date of a signature may be off", minimum=1, maximum=86_400
    )
    replay: str = option(
        "refuse",
        "a signature that was used before; allow: clients that sign by the second may repeat it",
        choices=("refuse", "allow"),
    )
    max_nonces: int = option(
        100_000, "signatures that are remembered to refuse their replay", minimum=1
    )
    hmac_headers: list[str] = option(
        ["date", "request-line"],
        "what a signature in headers must cover, besides a digest of the body",
        pattern=(r"[a-z0-9@-]{1,64}", "a header name in lower case, request-line, @request-target"),
    )
    hmac_digest: bool = option(
        True, "a signature in headers must cover a Digest of the body, if there is one"
    )
    jwks: str = option(
        "",
        "public keys of tokens (JWKS): a file, by this one, or an https URL; empty: no tokens",
        path=True,
    )
    jwks_refresh: float = option(
        300.0, "seconds after which the JWKS is read again", minimum=1, maximum=86_400
    )
    jwt_algorithms: list[str] = option(
        ["RS256", "ES256", "EdDSA"],
        "signature algorithms of tokens",
        pattern=(
            r"RS(?:256|384|512)|PS(?:256|384|512)|ES(?:256|384|512)|EdDSA",
            "RS, PS or ES with 256, 384 or 512, or EdDSA",
        ),
    )
    jwt_issuer: str = option("", "`iss` that tokens must have; empty: any")
    jwt_audience: str = option("", "`aud` that tokens must have; empty: none is asked for")
    jwt_app_claim: str = option("sub", "claim of a token that is the app id")
    jwt_services_claim: str = option(
        "services", "claim of a token that lists the services it is for; without it all"
    )
    certificate_lifetime: int = option(
        3600, "seconds that a certificate of /certificate is valid", minimum=10, maximum=86_400
    )
    mtls_name: str = option(
        "common-name",
        "name of a client's certificate that says who it is: of its subject, or the first "
        "alternative name of a kind",
        choices=("common-name", "dns", "uri", "email"),
    )


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """Section `usage`: what callers used, for bills and for quotas that outlive a restart."""

    store: str = option(
        "",
        "file of what each request and session used (asectl usage), by this one; empty: none",
        path=True,
    )
    keep_days: float = option(400.0, "days that a row is kept", minimum=1)


@dataclass(frozen=True, slots=True)
class TracesOptions:
    """Section `traces`: spans of requests, for a collector of OpenTelemetry."""

    endpoint: str = option(
        "", "URL that gets spans by OTLP over HTTP, as http://127.0.0.1:4318/v1/traces; empty: none"
    )
    sample: float = option(
        0.01, "share of the requests without traceparent that are traced", minimum=0, maximum=1
    )
    rate: float = option(
        100.0, "traced requests a second, at most, whoever asks for them", minimum=0
    )
    service: str = option("athena-gateway", "service.name of the spans")


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """What one application, or all callers of one service, may use; 0 or empty: no limit."""

    rate: float = option(
        0.0, "requests a second, at most; 0: no limit", minimum=0, maximum=1_000_000
    )
    burst: int = option(0, "requests that may come at once; 0: those of a second", minimum=0)
    concurrency: int = option(
        0, "requests and sessions in progress, at most; 0: no limit", minimum=0
    )
    quota: str = option(
        "",
        "requests and sessions of a day or a calendar month (UTC), as 1000/day; empty: no limit",
        pattern=(r"[1-9]\d{0,14}/(?:day|month)", "a number, then /day or /month"),
    )
    max_body: int = option(
        0, "bytes of a request body, at most; 0: those of gateway.max_body", minimum=0
    )


@dataclass(frozen=True, slots=True)
class AppOptions(LimitOptions):
    """One entry of `apps`: the limits of an application, for callers that prove to be it."""

    weight: int = option(
        1,
        "its part of the slots while requests wait for loaders, beside those of others",
        minimum=1,
        maximum=1000,
    )
    certificates: list[str] = option(
        [],
        "names (auth.mtls_name) of the certificates that speak for it; if no application has any, "
        "the name is the app id",
        pattern=(r"[^\x00-\x1f]{1,256}", "a name in a certificate"),
    )


@dataclass(frozen=True, slots=True)
class ServiceOptions(LimitOptions):
    """One entry of `services`: settings for one service that differ from the defaults."""

    deadline: float | None = option(
        None,
        "seconds from the last byte of a request of it to its answer",
        minimum=0.001,
        maximum=3600,
    )
    token: str = option(
        "", "secret that reports of it must have, in the place of `lb.token`", secret=True
    )
    affinity: str = option(
        "",
        "member of a request, as header.uid, that keeps those alike on few loaders; empty: off",
        pattern=PATH,
    )
    get_events: bool = option(
        False, "answer GET with events; the query has the members of the request"
    )
    licences: int = option(
        0,
        "requests and sessions in progress that each application may have of it; 0: no limit",
        minimum=0,
    )


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """One entry of `instances`: a static loader, which sends no load reports."""

    service: str = option("", "service id", pattern=SERVICE)
    addr: str = option("", "host:port to call", pattern=ADDR)
    protocol: str = option("native", "how it is called", choices=("native", "xsf"))
    total: int = option(1, "requests it takes at a time", minimum=1, maximum=10_000)
    orca: float = option(0.0, "seconds between its ORCA reports; 0: it is not asked", minimum=0)


@dataclass(frozen=True, slots=True)
class KongOptions:
    """Section `kong`: the Kong in front, as `asectl kong render` prints and `push` sets it up."""

    gateways: list[str] = option([], "host:port of every gateway; with ` weight=50`, 100 without")
    hosts: list[str] = option([], "host names that Kong routes here; empty: all")
    name: str = option("ase", "name of Kong's service; its upstream is NAME-gateways")
    key_auth: bool = option(False, "Kong asks callers for the key of a consumer (key-auth)")
    hmac_auth: bool = option(False, "Kong asks callers for a signature (hmac-auth)")
    rate_limit: list[str] = option(
        [],
        "requests of one consumer, or address, as 100/second (rate-limiting)",
        pattern=(r"[1-9]\d{0,8}/(?:second|minute|hour|day|month|year)", "as 100/second"),
    )
    cors: bool = option(False, "Kong answers preflights of session.origins (cors)")
    positions: bool = option(
        False, "a deployer keeps a service with a route of each position at Kong, for its plugins"
    )
    admin: str = option("http://127.0.0.1:8001", "URL of Kong's Admin API")
    admin_token: str = option("", "token of the Admin API (Kong-Admin-Token)", secret=True)


_NAME = (r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name (letters, digits, '_', '.', '-')")


@dataclass(frozen=True, slots=True)
class RegistryOptions:
    """Section `registry`: the registry of configuration, and those that follow it."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = port_option(8230, "subscribers and providers (gRPC)")
    http_port: int = port_option(8231, "the HTTP API (asectl config list, /metrics)")
    admin_hosts: list[str] = admin_hosts_option()
    store: str = option(
        "registry.sqlite", "file of all records, by this file; not used with `etcd`", path=True
    )
    etcd: str = option(
        "",
        "host:port of etcd members, with commas, whose cluster keeps the records",
        pattern=ADDRS,
    )
    etcd_prefix: str = option("/ase/registry/", "what the keys in etcd begin with")
    etcd_ca: str = option(
        "", "CA file (PEM) of the members' certificates; empty: they speak no TLS", path=True
    )
    etcd_cert: str = option("", "our certificate file (PEM), if etcd asks for one", path=True)
    etcd_key: str = option("", "key file (PEM) of that certificate", path=True)
    etcd_user: str = option("", "user of etcd, which may do all below `etcd_prefix`")
    etcd_password: str = option("", "password of that user", secret=True)
    history: int = option(10_000, "changes that a watch can resume from", minimum=100)
    auth: str = option(
        "",
        "key: callers need a key of `auth.keys` with a role; none: anyone may do everything. "
        "Empty: anyone, but only on a loopback address",
        choices=("", "key", "none"),
    )
    tls_cert: str = option(
        "", "certificate file (PEM) of both ports, by this file; empty: no TLS", path=True
    )
    tls_key: str = option("", "key file (PEM) of the certificate, by this file", path=True)
    max_subscribers: int = option(20_000, "subscribers and providers, at most", minimum=1)
    backup_interval: float = option(
        3600.0, "seconds between backups of `store`, beside it; 0: none", minimum=0
    )
    servers: str = option(
        "",
        "host:port of registries to take the configuration from, with commas; empty: none",
        pattern=ADDRS,
    )
    token: str = option("", "key for the registry, with the role reader", secret=True)
    ca: str = option(
        "", "CA file (PEM) of the registry's certificate; empty: it speaks no TLS", path=True
    )
    project: str = option("default", "our project", pattern=_NAME)
    group: str = option("default", "our group", pattern=_NAME)
    service: str = option("", "our service; empty: gateway, lb, or that of a loader", pattern=_NAME)
    version: str = option("1.0.0", "our version", pattern=_NAME)
    region: str = option("", "our region: the label `region`", pattern=_NAME)
    labels: list[str] = option(
        [],
        "labels for gray releases, as zone=a",
        pattern=(r"[A-Za-z0-9_.-]{1,64}=[^,=\s]{1,128}", "name=value"),
    )
    instance: str = option("", "our name among all instances; empty: host name and port")
    cache: str = option(
        "registry-cache",
        "folder, by this file, of the configuration last taken: with it a process starts while no "
        "registry answers",
        path=True,
    )
    wait: float = option(
        10.0, "seconds to wait for a registry at the start", minimum=0, maximum=3600
    )


@dataclass(frozen=True, slots=True)
class DeployerOptions:
    """Section `deployer`: what brings models into service, and where they run."""

    host: str = option("127.0.0.1", "address to listen on")
    port: int = port_option(8250, "the HTTP API (asectl deploy, /metrics)")
    admin_hosts: list[str] = admin_hosts_option()
    store: str = option(
        "deploy.sqlite",
        "file of what is wanted, by this file; not used with `registry.etcd`",
        path=True,
    )
    etcd_prefix: str = option("/ase/deploy/", "what the keys in the etcd of `registry` begin with")
    state: str = option(
        "deploy-state", "folder, by this file, of the processes that it has started", path=True
    )
    models: str = option(
        ".", "folder, by this file, that wrappers and models must be in", path=True
    )
    model_sources: list[str] = option(
        [],
        "URLs below which the files of models may be pulled (`modelUrl`), as https://host/models/",
        pattern=(r"https?://[^\s@]+", "http://host/path or https://host/path, without a user"),
    )
    max_model: str = option(
        "64Gi",
        "size of a file that is pulled, at most",
        pattern=(r"\d{1,15}(?:\.\d{1,3})?(?:[KMGT]i?|k)?", "a size, as 16Gi"),
    )
    subscribe: str = option(
        "",
        "URL of a deployer whose applications and models are taken over, as http://host:8250",
        pattern=(r"(?:https?://[^\s@]+)?", "http://host:port or https://host:port"),
    )
    subscribe_key: str = option("", "key for that deployer, with the role reader", secret=True)
    subscribe_applications: list[str] = option(
        [], "applications that are taken over; empty: all that the key may see"
    )
    auth: str = option(
        "",
        "key: callers need a key of `auth.keys` with a role; none: anyone may do everything. "
        "Empty: anyone, but only on a loopback address",
        choices=("", "key", "none"),
    )
    shimlet: str = option("process", "where models run if their specification does not say it")
    pipeline: str = option(
        "wrapper", "how they are deployed if it does not say it; FILE.py:NAME for one of your own"
    )
    hubs: str = option(
        "127.0.0.1:8220", "host:port of the hubs that loaders report to, with commas", pattern=ADDRS
    )
    gateway: str = option("http://127.0.0.1:8200", "URL by which services are called")
    loader_host: str = option("127.0.0.1", "address of this host at which gateways reach loaders")
    activator: str = option(
        "127.0.0.1:0",
        "host:port at which gateways reach what wakes deployments without replicas; 0: any port",
        pattern=(r".+:\d+", "host:port"),
    )
    activator_advertise: str = option(
        "",
        "the same address as gateways dial it, if it is another one",
        pattern=(r"(?:.+:\d+)?", "host:port"),
    )
    wake_timeout: float = option(
        60.0, "seconds that a request waits for the first replica", minimum=0.1, maximum=3600
    )
    wake_waiting: int = option(
        256, "requests of a deployment that wait for its first replica", minimum=1, maximum=10_000
    )
    docker: str = option(
        "unix:///var/run/docker.sock",
        "where the engine of the shimlet docker listens; podman's is unix:///run/podman/podman.sock",
        pattern=(r"unix:///.+|tcp://.+:\d+", "unix:///path or tcp://host:port"),
    )
    docker_network: str = option(
        "host",
        "network of containers: host, or one of the engine, as bridge; then `hubs` must be an "
        "address that containers reach",
    )
    kubeconfig: str = option(
        "",
        "kubeconfig of the shimlet k8s; empty: that of a pod's account, KUBECONFIG, or the user's",
        path=True,
    )
    namespace: str = option(
        "default",
        "namespace of the shimlet k8s",
        pattern=(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", "lower-case letters, digits and '-'"),
    )
    token_secret: str = option(
        "", "Secret of that namespace whose `lb-token` is the token of the hubs, for pods"
    )
    ray: str = option(
        "http://127.0.0.1:8265",
        "the dashboard of the cluster of the shimlet ray",
        pattern=(r"https?://.+", "http://host:port"),
    )
    supervisor: str = option(
        "unix:///var/run/supervisor.sock",
        "where supervisord listens, for the shimlet supervisor: unix:///path, or "
        "http://user:password@host:port",
        pattern=(r"unix:///.+|http://.+:\d+", "unix:///path or http://host:port"),
        secret=True,
    )
    supervisor_folder: str = option(
        "deploy-supervisor",
        "folder, by this file, of the programs of the shimlet supervisor; supervisord's "
        "configuration has to include its *.conf",
        path=True,
    )
    replicas: int = option(100, "replicas of all deployments together", minimum=1, maximum=10_000)
    cpu: float = option(0.0, "CPUs that all replicas may ask for together; 0: any", minimum=0)
    memory: str = option(
        "",
        "memory that all replicas may ask for together, as 16Gi; empty: any",
        pattern=(r"\d{1,15}(?:\.\d{1,3})?(?:[KMGT]i?|k)?", "a size, as 16Gi"),
    )
    accelerators: int = option(
        0, "accelerators that all replicas may ask for together", minimum=0, maximum=100_000
    )
    grace: float = option(35.0, "seconds for the requests of a loader that is stopped", minimum=0)
    max_log: int = option(
        10 * 1024 * 1024, "bytes of a replica's log; the one before is kept", minimum=1024
    )
    resync: float = option(
        10.0, "seconds after which what runs is looked at again", minimum=0.1, maximum=3600
    )
    retention: float = option(3600.0, "seconds that a deleted deployment is still shown", minimum=0)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration: the root of `ase.yaml`."""

    gateway: GatewayOptions = field(default_factory=GatewayOptions)
    session: SessionOptions = field(default_factory=SessionOptions)
    lb: LbOptions = field(default_factory=LbOptions)
    auth: AuthOptions = field(default_factory=AuthOptions)
    usage: UsageOptions = field(default_factory=UsageOptions)
    traces: TracesOptions = field(default_factory=TracesOptions)
    kong: KongOptions = field(default_factory=KongOptions)
    registry: RegistryOptions = field(default_factory=RegistryOptions)
    deployer: DeployerOptions = field(default_factory=DeployerOptions)
    schemas: str = option("", "folder of schema documents, relative to this file", path=True)
    services: Mapping[str, ServiceOptions] = option({}, "options of single services, by id")
    apps: Mapping[str, AppOptions] = option({}, "limits of applications, by app id")
    instances: list[InstanceOptions] = option([], "loaders that do not report")
    log_level: str = option(
        "info", "least level that is logged", choices=("debug", "info", "warning", "error")
    )
    log_format: str = option(
        "json", "how lines are logged: for programs, or for people", choices=("json", "text")
    )


SECTIONS: dict[str, type[Any]] = {
    "gateway": GatewayOptions,
    "session": SessionOptions,
    "lb": LbOptions,
    "auth": AuthOptions,
    "usage": UsageOptions,
    "traces": TracesOptions,
    "kong": KongOptions,
    "registry": RegistryOptions,
    "deployer": DeployerOptions,
}

# Sections that may be the value of one of their options.
SHORTHANDS: dict[str, str] = {"auth": "methods"}

ITEM_SECTIONS: dict[str, type[Any]] = {
    "services": ServiceOptions,
    "apps": AppOptions,
    "instances": InstanceOptions,
}
# The keys of the entries of a section that is a mapping: a pattern, and what it means.
ITEM_KEYS: dict[str, tuple[str, str]] = {
    "services": SERVICE,
    "apps": (r"[^\x00-\x1f]{1,256}", "an app id"),
}


def option_fields(section: type[Any]) -> list[Field[Any]]:
    """Return the fields of a section that `option` declared.

    Of `Config` these include `services` and `instances`, but not the nested sections.
    """
    return [option_field for option_field in fields(section) if "option" in option_field.metadata]
