"""What a gateway has open, and to whom, as its start says it."""

from config.options import Config
from rpc.addresses import is_loopback


def describe_exposure(config: Config) -> dict[str, str]:
    """Return who reaches a gateway, who may call, and who may report, by what it is about."""
    gateway, lb = config.gateway, config.lb
    methods = [name for name in config.auth.methods if name != "none"]
    is_open = len(methods) < len(config.auth.methods) or not methods
    if "mtls" in methods:
        is_listed = any(app.certificates for app in config.apps.values())
        methods[methods.index("mtls")] = f"mtls ({'names of apps' if is_listed else 'any name'})"
    exposure = {
        "clients": f"{_reach(gateway.host)}, {'https' if gateway.tls_cert else 'http'}",
        "callers": "anyone" + (f"; or {', '.join(methods)}" if methods else "")
        if is_open
        else f"with {' or '.join(methods)}",
        "admin": _reach(gateway.admin_host) + (", with a token" if gateway.admin_token else ""),
    }
    if not lb.hub:
        proofs = [name for name, value in (("token", lb.token), ("mTLS", lb.tls_ca)) if value]
        exposure["loaders"] = f"{_reach(lb.host)}, with {' and '.join(proofs) or 'no proof'}"
    return exposure


def _reach(host: str) -> str:
    """Return from where a socket that listens on `host` can be reached."""
    return "this machine" if is_loopback(host) else f"the network of {host}"
