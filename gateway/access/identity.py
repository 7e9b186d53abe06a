"""The caller of a request, as its credential proves it, and what it may do. Values only."""

from dataclasses import dataclass, field
from typing import Final

from config.options import LimitOptions
from schemas.model.errors import SERVICE_NOT_ALLOWED, AseError


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """What one key, application or service may use; 0 means no limit.

    `rate` is in requests per second, `burst` is the number of requests that may come at once (0:
    those of one second), `concurrency` counts requests and sessions in progress, `quota` is the
    number of requests and sessions in `quota_days` days (1: a day, 30: a calendar month).
    `max_body` is the largest request body in bytes, as it is sent.
    """

    rate: float = 0.0
    burst: int = 0
    concurrency: int = 0
    quota: int = 0
    quota_days: int = 1
    max_body: int = 0


NO_LIMITS: Final = CallerLimits()


def limits_of(options: LimitOptions) -> CallerLimits:
    """Return the limits that the configuration gives an application or a service."""
    quota, _, period = options.quota.partition("/")
    return CallerLimits(
        options.rate,
        options.burst,
        options.concurrency,
        int(quota or 0),
        30 if period == "month" else 1,
        options.max_body,
    )


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of a request.

    `app_id` is the application that it may speak for; "" is any. `key_id` names the credential in
    logs and usage, "" if there is none. `services` are the service ids that it may call; empty
    means all. `method` is how it was proved: one of `AUTH_METHODS` of the config. `expires_at` is
    the Unix time at which a token or certificate ends, 0 for other credentials. `roles` are what it
    may do in a registry, such as `editor@shop`; a credential with roles calls no service that it
    does not name.
    """

    app_id: str = ""
    key_id: str = ""
    services: frozenset[str] = frozenset()
    method: str = "none"
    limits: CallerLimits = field(default=NO_LIMITS)
    expires_at: float = 0.0
    roles: frozenset[str] = frozenset()

    def check_service(self, service_id: str) -> None:
        """Raise AseError 11200 unless the caller may call a service."""
        if (self.services or self.roles) and service_id not in self.services:
            raise AseError(
                SERVICE_NOT_ALLOWED, f"this {self.method} credential is not for {service_id}"
            )


ANONYMOUS: Final = Identity()
