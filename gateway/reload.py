"""Config and schemas read anew: when a file of theirs changed, or on a signal.

What is wrong leaves everything as it was, and is told. What is good takes the place of the old in
one step, between two requests: none is ever judged by halves of two.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from config import tell
from config.options import Config
from config.source import ConfigError
from gateway import folder
from gateway.contracts import Catalog, Contract, Switch

_logger = logging.getLogger("ase.gateway")

PERIOD_S = 1.0
Read = Callable[[], tuple[Config, Path]]


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a config is read from: `read` does it anew, `file` is the one to look at, if any.

    `asked` is set when somebody asks for it. `read` raises ConfigError or OSError.
    """

    read: Read
    file: Path | None
    asked: asyncio.Event


class Reload:
    """Keeps a catalog as the files say, which at first are those of `config` and `base`.

    `told` hears of each outcome, "done", "same" or "refused", and of the services it changed.
    """

    def __init__(
        self,
        sources: Sources,
        config: Config,
        base: Path,
        catalog: Catalog,
        told: Callable[[str, list[Switch]], None],
    ) -> None:
        self._sources = sources
        self._started = self._config = config
        self._base = base
        self._catalog = catalog
        self._told = told
        self.generation = 1
        self._seen = self._look()

    async def run(self) -> None:
        """Look for changes each second, for ever."""
        asked = self._sources.asked
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD_S):
                    await asked.wait()
            seen = await asyncio.to_thread(self._look)
            if seen == self._seen and not asked.is_set():
                continue
            asked.clear()
            self._seen = seen
            try:
                await self._renew()
            except Exception:
                _logger.exception("reload failed by a fault of ours; all stays as it was")

    async def _renew(self) -> None:
        try:
            config, base, contracts = await asyncio.to_thread(self._read)
        except (ConfigError, folder.FolderError, OSError, UnicodeDecodeError) as error:
            _logger.error("reload refused; all stays as it was", extra={"reason": str(error)})  # noqa: TRY400
            self._told("refused", [])
            return
        switches = self._catalog.renew(contracts, config.services, config.gateway.deadline)
        changed = bool(switches) or _at_once(self._config) != _at_once(config)
        self._config, self._base = config, base
        waiting = _waiting(self._started, config)
        if waiting:
            late = {"options": ", ".join(waiting)}
            _logger.warning("changed, and read at the next start alone", extra=late)
        if changed:
            self.generation += 1
        facts: dict[str, object] = {
            "generation": self.generation,
            "added": [s.service for s in switches if not s.before],
            "changed": [s.service for s in switches if s.before and s.after],
            "removed": [s.service for s in switches if not s.after],
        }  # fmt: skip
        _logger.info("reloaded" if changed else "reloaded; nothing changed", extra=facts)
        self._told("done" if changed else "same", switches)

    def _read(self) -> tuple[Config, Path, list[Contract]]:
        """Read everything; in a thread, for a thousand schemas take a second."""
        config, base = self._sources.read()
        if not config.schemas:
            return config, base, []
        known = list(self._catalog) if _at_once(config) == _at_once(self._config) else []
        default = config.gateway.deadline
        return config, base, folder.load(base / config.schemas, config.services, default, known)

    def _look(self) -> dict[Path, tuple[int, int]]:
        """Return what can be seen of the files without reading them."""
        seen: dict[Path, tuple[int, int]] = {}
        paths = [self._sources.file] if self._sources.file else []
        if self._config.schemas:
            with contextlib.suppress(OSError):
                paths += folder.files_of(self._base / self._config.schemas)
        for path in paths:
            with contextlib.suppress(OSError):
                told = path.stat()
                seen[path] = (told.st_mtime_ns, told.st_size)
        return seen


def _takes_effect(name: str) -> bool:
    """Return whether an option takes effect at once; all others are read at the start alone."""
    of_service = name.startswith("services.") and name.endswith((".deadline", ".affinity"))
    return of_service or name in ("schemas", "gateway.deadline")


def _values(config: Config) -> dict[str, object]:
    return {line.name: line.value for line in tell.effective_options(config, {})}


def _at_once(config: Config) -> dict[str, object]:
    return {name: value for name, value in _values(config).items() if _takes_effect(name)}


def _waiting(old: Config, new: Config) -> list[str]:
    """Return the options that differ and are not read anew; what is not there is nothing."""
    before, after = _values(old), _values(new)
    names = sorted({*before, *after})
    differ = [n for n in names if (before.get(n) or None) != (after.get(n) or None)]
    return [name for name in differ if not _takes_effect(name)]
