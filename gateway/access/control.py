"""The parts that decide who may call and how much, as the configuration asks for them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.options import AuthOptions, Config
from gateway.access.authenticator import Authenticator
from gateway.access.certificates import CallerCertificates
from gateway.access.identity import NO_LIMITS, CallerLimits, limits_of
from gateway.access.key_store import KeyFile, KeyStore
from gateway.access.key_table import KeySource, StaticKeys
from gateway.access.key_watch import watch_keys
from gateway.access.lease_client import share_limits
from gateway.access.leases import LimitShares
from gateway.access.limits import UsageLimiter
from gateway.access.proxies import TrustedProxies

if TYPE_CHECKING:
    from gateway.access.jwks import Jwks


@dataclass(frozen=True, slots=True)
class AccessControl:
    """Who may call, and how much: what requests use, and what has to be kept up to date.

    `keys` is None if no method needs the file of keys, `jwks` None if no tokens are taken.
    """

    authenticator: Authenticator
    limiter: UsageLimiter
    proxies: TrustedProxies
    keys: KeySource | None
    jwks: "Jwks | None"

    @classmethod
    def open(
        cls, config: Config, base_dir: Path, used_by_key: Mapping[str, tuple[int, int]]
    ) -> "AccessControl":
        """Read the keys; paths are relative to `base_dir`.

        `used_by_key` are the requests of each key in the present day and month. Raises
        KeySourceError.
        """
        options = config.auth
        needs_keys = not {"key", "hmac", "certificate"}.isdisjoint(options.methods)
        keys = KeyFile(KeyStore(base_dir / options.keys)) if needs_keys else None
        jwks = _open_jwks(options, base_dir)
        proxies = TrustedProxies(config.gateway.trusted_proxies, config.gateway.client_header)
        authenticator = Authenticator(
            options,
            config.gateway.consumer_header,
            proxies,
            keys or StaticKeys(),
            jwks.verifier(options) if jwks is not None else None,
            _caller_certificates(config),
            time.time,
        )
        return cls(authenticator, _limiter(config, used_by_key), proxies, keys, jwks)

    def watchers(
        self, gateway_name: str, lease: Callable[[bytes], Awaitable[bytes]]
    ) -> list[Coroutine[Any, Any, None]]:
        """Return what has to run as long as requests are served.

        `lease` sends a LeaseRequest to the hub, where `gateway_name` is the name of this gateway.
        """
        watchers = [] if self.keys is None else [watch_keys(self.keys)]
        if self.jwks is not None:
            watchers.append(self.jwks.watch())
        is_requested = asyncio.Event()
        self.limiter.on_new_meter = is_requested.set
        shares = LimitShares(self.limiter, gateway_name, time.monotonic)
        is_limited = self.keys is not None or self.limiter.has_limits()
        watchers.append(_share_limits(shares, lease, is_requested, is_limited=is_limited))
        return watchers

    def apply_limits(self, config: Config) -> None:
        """Take the limits of a reloaded configuration."""
        self.limiter.set_limits(*_limits(config))


def _open_jwks(options: AuthOptions, base_dir: Path) -> "Jwks | None":
    """Return the public keys of tokens, if any are taken. Raises KeySourceError.

    The packages for them are imported here: they are an extra.
    """
    if "jwt" not in options.methods:
        return None
    from gateway.access.jwks import Jwks

    return Jwks(options.jwks, base_dir, options.jwks_refresh)


def _caller_certificates(config: Config) -> CallerCertificates | None:
    """Return what finds the callers of certificates, None if they are not asked for."""
    if "mtls" not in config.auth.methods:
        return None
    names_by_app = {name: options.certificates for name, options in config.apps.items()}
    return CallerCertificates(config.auth.mtls_name, names_by_app)


async def _share_limits(
    shares: LimitShares,
    lease: Callable[[bytes], Awaitable[bytes]],
    is_requested: asyncio.Event,
    *,
    is_limited: bool,
) -> None:
    """Share limits with the other gateways, forever; if there are none yet, from the first on."""
    if not is_limited:
        await is_requested.wait()
    await share_limits(shares, lease, is_requested, time.monotonic)


def _limits(
    config: Config,
) -> tuple[dict[str, CallerLimits], dict[str, CallerLimits], dict[str, int]]:
    """Return the limits of applications, those of services, and the licences of services."""
    apps = {name: limits_of(options) for name, options in config.apps.items()}
    services = {name: limits_of(options) for name, options in config.services.items()}
    limited = {name: limits for name, limits in services.items() if limits != NO_LIMITS}
    licences = {name: o.licences for name, o in config.services.items() if o.licences}
    return apps, limited, licences


def _limiter(config: Config, used_by_key: Mapping[str, tuple[int, int]]) -> UsageLimiter:
    """Return the limiter of the applications and services that have limits, and of keys."""
    apps, services, licences = _limits(config)
    return UsageLimiter(apps, services, time.monotonic, time.time, used_by_key, licences)
