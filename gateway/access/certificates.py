"""The application that a client's certificate speaks for (mTLS). Pure: no I/O."""

from collections.abc import Iterable, Mapping
from typing import Final

from gateway.access.identity import Identity
from rpc.client_certificate import ClientCertificate

_MAX_NAME_CHARS: Final = 256
_MAX_NAMES_SHOWN: Final = 3


class CertificateError(Exception):
    """A certificate that is not accepted; `str()` says why."""


class CallerCertificates:
    """Finds the caller of a certificate, which TLS has verified, by one of its names.

    `kind` is one of `rpc.client_certificate.NAME_KINDS`. `names_by_app` are the names that speak
    for each application. If none has any, the first name is itself the app id.
    """

    def __init__(self, kind: str, names_by_app: Mapping[str, Iterable[str]]) -> None:
        self._kind = kind
        self._app_by_name = {name: app for app, names in names_by_app.items() for name in names}

    def identify(self, certificate: ClientCertificate, now: float) -> Identity:
        """Return the caller at the Unix time `now`. Raises CertificateError.

        TLS checks the dates of a certificate once; a connection can outlive it.
        """
        if now >= certificate.not_after:
            raise CertificateError("it has expired")
        names = certificate.names(self._kind)
        app_id = self._find_app(names)
        if not app_id:
            known_names = ", ".join(names[:_MAX_NAMES_SHOWN]) or "none"
            raise CertificateError(f"no application has its name ({self._kind}: {known_names})")
        return Identity(
            app_id=app_id,
            key_id=certificate.serial,
            method="mtls",
            expires_at=certificate.not_after,
        )

    def _find_app(self, names: tuple[str, ...]) -> str:
        if self._app_by_name:
            return next(
                (self._app_by_name[name] for name in names if name in self._app_by_name), ""
            )
        name = names[0] if names else ""
        return name if name.isprintable() and len(name) <= _MAX_NAME_CHARS else ""
