"""Reload config and schemas when one of their files changes, or on request.

If a file is invalid, the reload is logged as refused and changes nothing. Otherwise the new options
and contracts replace the old ones in one step, between two requests: no request is validated partly
by old and partly by new schemas.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from config import describe
from config.options import (
    ITEM_SECTIONS,
    Config,
    LimitOptions,
    default_of,
    option_fields,
)
from config.source import ConfigError
from gateway.services import schema_folder
from gateway.services.catalog import Catalog, Contract, ContractChange
from gateway.services.reload_requests import ReloadOutcome, ReloadRequests

_logger = logging.getLogger("ase.gateway")

POLL_INTERVAL_S = 1.0
# Options of a service, of an application or of both that take effect on reload.
_CONTRACT_OPTIONS = ("deadline", "affinity", "get_events")
_LIMIT_OPTIONS = tuple(field.name for field in option_fields(LimitOptions))
# What an option of an application or service is where it is not named.
_ITEM_DEFAULTS = {
    (section, field.name): default_of(field)
    for section, section_type in ITEM_SECTIONS.items()
    for field in option_fields(section_type)
}
ReadConfig = Callable[[], tuple[Config, Path]]


@dataclass(frozen=True, slots=True)
class ConfigSource:
    """Where the config is read from.

    `read_config` reads it and returns it with the directory that its relative paths start from. It
    raises ConfigError or OSError. `config_file` is watched for changes; None if there is no file.
    `requests` are those to reload it before a file has changed.
    """

    read_config: ReadConfig
    config_file: Path | None
    requests: ReloadRequests


class ReloadableCertificate(Protocol):
    """The certificate of the public port."""

    def reload(self, *, force: bool) -> bool:
        """Read its files again if they have changed or if `force`; return whether they were read.

        Raises OSError if they do not fit.
        """


class ConfigReloader:
    """Keeps a catalog up to date with the files of config and schemas, and the certificate.

    The catalog is initially that of `config` and `base_dir`. `apply_limits` takes the limits of a
    config that is valid. `on_reload` is called after each
    reload with its outcome, "done", "same" or "refused", and the changes of contracts.

    `_startup_config` is the
    config at the start: its values stay in effect for options that are not reloadable. `_config` is
    the config of the last successful reload. `_fingerprint` is that of the files at the last
    attempt to reload, so that a refused file is not read again until it changes.
    """

    def __init__(
        self,
        source: ConfigSource,
        config: Config,
        base_dir: Path,
        catalog: Catalog,
        certificate: ReloadableCertificate | None,
        apply_limits: Callable[[Config], None],
        on_reload: Callable[[str, list[ContractChange]], None],
    ) -> None:
        self._source = source
        self._startup_config = self._config = config
        self._base_dir = base_dir
        self._catalog = catalog
        self._certificate = certificate
        self._apply_limits = apply_limits
        self._on_reload = on_reload
        self._fingerprint = self._take_fingerprint()

    async def run(self) -> None:
        """Check for changes every second, forever; reload after a change or on request."""
        while True:
            # A request that comes after this line is for the next iteration, certificate included.
            requested = await self._source.requests.take(POLL_INTERVAL_S)
            certificate_error = self._reload_certificate(force=requested.is_requested)
            fingerprint = await asyncio.to_thread(self._take_fingerprint)
            if fingerprint == self._fingerprint and not requested.is_requested:
                continue
            self._fingerprint = fingerprint
            try:
                outcome = await self._reload()
            except Exception:
                message = "reload failed by a fault of ours; all stays as it was"
                _logger.exception(message)
                outcome = self._refused(message)
            if certificate_error:
                outcome = replace(outcome, certificate=certificate_error)
            requested.finish(outcome)

    def _refused(self, reason: str) -> ReloadOutcome:
        return ReloadOutcome("refused", self._source.requests.generation, reason=reason)

    def _reload_certificate(self, *, force: bool) -> str:
        """Read the certificate again if it is time; return why it is refused, or ""."""
        if self._certificate is None:
            return ""
        try:
            is_read = self._certificate.reload(force=force)
        except OSError as error:
            fields = {"reason": str(error)}
            _logger.error("certificate refused; the old one is served", extra=fields)  # noqa: TRY400
            self._on_reload("refused", [])
            return str(error)
        if is_read:
            _logger.info("certificate reloaded", extra={"files": str(self._certificate)})
        return ""

    async def _reload(self) -> ReloadOutcome:
        """Reload once, log the outcome, call `on_reload` and return it."""
        requests = self._source.requests
        try:
            config, base_dir, contracts = await asyncio.to_thread(self._load)
        except (ConfigError, schema_folder.SchemaFolderError, OSError, UnicodeDecodeError) as error:
            _logger.error("reload refused; all stays as it was", extra={"reason": str(error)})  # noqa: TRY400
            self._on_reload("refused", [])
            return self._refused(str(error))
        changes = self._catalog.reload(contracts, config.services, config.gateway.deadline)
        self._apply_limits(config)
        changed = bool(changes) or _reloadable_values(self._config) != _reloadable_values(config)
        self._config, self._base_dir = config, base_dir
        restart_required = _restart_required(self._startup_config, config)
        if restart_required:
            restart_fields = {"options": ", ".join(restart_required)}
            _logger.warning("changed, and read at the next start alone", extra=restart_fields)
        requests.generation += changed
        outcome = ReloadOutcome(
            "done" if changed else "same",
            requests.generation,
            [s.service for s in changes if not s.old_digest],
            [s.service for s in changes if s.old_digest and s.new_digest],
            [s.service for s in changes if not s.new_digest],
            restart_required,
        )
        log_fields = {
            "generation": outcome.generation,
            "added": outcome.added,
            "changed": outcome.changed,
            "removed": outcome.removed,
        }
        _logger.info("reloaded" if changed else "reloaded; nothing changed", extra=log_fields)
        self._on_reload(outcome.outcome, changes)
        return outcome

    def _load(self) -> tuple[Config, Path, list[Contract]]:
        """Read config and schemas; runs in a thread, because a thousand schemas take a second.

        If no reloadable option changed, the contracts of unchanged documents are used again. The
        contracts are those of schema files alone. Raises ConfigError, SchemaFolderError, OSError or
        UnicodeDecodeError.
        """
        config, base_dir = self._source.read_config()
        if not config.schemas:
            return config, base_dir, []
        reusable = (
            list(self._catalog)
            if _reloadable_values(config) == _reloadable_values(self._config)
            else []
        )
        default_deadline = config.gateway.deadline
        return (
            config,
            base_dir,
            schema_folder.load_folder(
                base_dir / config.schemas, config.services, default_deadline, reusable
            ),
        )

    def _take_fingerprint(self) -> dict[Path, tuple[int, int]]:
        """Return the modification time (ns) and the size (bytes) of each file that exists."""
        fingerprint: dict[Path, tuple[int, int]] = {}
        paths = [self._source.config_file] if self._source.config_file else []
        if self._config.schemas:
            with contextlib.suppress(OSError):
                paths += schema_folder.schema_files(self._base_dir / self._config.schemas)
        for path in paths:
            with contextlib.suppress(OSError):
                stat = path.stat()
                fingerprint[path] = (stat.st_mtime_ns, stat.st_size)
        return fingerprint


def _is_reloadable(name: str) -> bool:
    """Return whether an option takes effect on reload; the others need a restart."""
    section, _, _ = name.partition(".")
    option = name.rpartition(".")[2]
    return (
        name in ("schemas", "gateway.deadline")
        or (section == "services" and option in (*_CONTRACT_OPTIONS, *_LIMIT_OPTIONS, "licences"))
        or (section == "apps" and option in _LIMIT_OPTIONS)
    )


def _default(name: str) -> object:
    """Return the default of an option of an application or service; None of other options."""
    return _ITEM_DEFAULTS.get((name.partition(".")[0], name.rpartition(".")[2]))


def _option_values(config: Config) -> dict[str, object]:
    """Return the value of every option by dotted name; secrets are redacted."""
    return {option.name: option.value for option in describe.effective_options(config, {})}


def _reloadable_values(config: Config) -> dict[str, object]:
    return {name: value for name, value in _option_values(config).items() if _is_reloadable(name)}


def _restart_required(old: Config, new: Config) -> list[str]:
    """Return the names of changed options that need a restart.

    A missing option equals an empty one, and that of an application or service its default. Secrets
    are compared in redacted form, so that the change from one secret to another is not noticed.
    """
    old_values, new_values = _option_values(old), _option_values(new)
    names = sorted({*old_values, *new_values})
    changed = [
        name
        for name in names
        if (old_values.get(name, _default(name)) or None)
        != (new_values.get(name, _default(name)) or None)
    ]
    return [name for name in changed if not _is_reloadable(name)]
