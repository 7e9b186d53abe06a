"""File, environment and flags become one Config, the later over the earlier. Pure."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from config.options import ITEMS, SECTIONS, SERVICE, Config, kind_of, meta_of, plain_fields
from config.source import ConfigError, Fault, Path, Source

PREFIX = "ASE_"


def resolve(source: Source | None, environ: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """Return the configuration.

    `environ` holds ASE_GATEWAY_PORT and the like; `flags` are {"gateway.port": "0"}. Raises
    ConfigError naming every unknown key and every bad value, in the file with line and column.
    """
    return resolved(source, environ, flags)[0]


def resolved(
    source: Source | None, environ: Mapping[str, str], flags: Mapping[str, str]
) -> tuple[Config, dict[str, str]]:
    """Return the configuration, and where each option of it that was told comes from.

    An origin is a place in the file (`ase.yaml:3:9`), a variable or a flag. Raises as `resolve`.
    """
    reader = _Reader(source or Source("flags and environment"))
    config = reader.config(environ, flags)
    reader.strangers(environ)
    if reader.faults:
        raise ConfigError(reader.source.name, reader.source.lines, reader.faults)
    return config, reader.origins


def flag_name(dotted: str) -> str:
    """Return the flag of an option: `--gateway-max-body` for `gateway.max_body`."""
    return "--" + dotted.replace(".", "-").replace("_", "-")


def variable_name(dotted: str) -> str:
    """Return the environment variable of an option: `ASE_GATEWAY_MAX_BODY`."""
    return PREFIX + dotted.replace(".", "_").upper()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.faults: list[Fault] = []
        self.origins: dict[str, str] = {}

    def config(self, environ: Mapping[str, str], flags: Mapping[str, str]) -> Config:
        tree = self._mapping(self.source.tree, ())
        self._unknown(tree, {told.name for told in fields(Config)}, ())
        values: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            inner = self._mapping(tree.get(name), (name,))
            values[name] = self._section(section, inner, (name,), environ, flags)
        for told in plain_fields(Config):
            if told.name in ITEMS:
                values |= self._items(told.name, tree)
            else:
                values |= self._option(told, tree, (), environ, flags)
        return Config(**values)

    def strangers(self, environ: Mapping[str, str]) -> None:
        """Tell the variables that look like options of a section and are none."""
        for section, kind in SECTIONS.items():
            prefix = f"{PREFIX}{section.upper()}_"
            known = {prefix + told.name.upper() for told in plain_fields(kind)}
            for name in environ:
                if name.startswith(prefix) and name not in known:
                    near = difflib.get_close_matches(name, known, n=1)
                    hint = f"did you mean {near[0]}?" if near else ""
                    self.faults.append(Fault(f"unknown variable {name}", None, hint))

    def _section(
        self,
        section: type[Any],
        tree: Mapping[str, Any],
        path: Path,
        environ: Mapping[str, str],
        flags: Mapping[str, str],
    ) -> Any:
        self._unknown(tree, {told.name for told in fields(section)}, path)
        values: dict[str, Any] = {}
        for told in plain_fields(section):
            values |= self._option(told, tree, path, environ, flags)
        return section(**values)

    def _option(
        self,
        told: Any,
        tree: Mapping[str, Any],
        path: Path,
        environ: Mapping[str, str],
        flags: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return {name: value} from the strongest origin that tells the option, {} when none."""
        at = (*path, told.name)
        dotted = ".".join(map(str, at))
        kind = kind_of(told)
        found: dict[str, Any] = {}
        if told.name in tree:
            value = tree[told.name]
            wrong = _wrong(told, kind, value)
            if wrong:
                self.faults.append(Fault(f"{dotted} {wrong}", self.source.places.get(at)))
            else:
                found[told.name] = float(value) if kind is float else value
                self.origins[dotted] = self._origin(at)
        variable = variable_name(dotted)
        if variable in environ:
            found |= self._text(told, kind, environ[variable], variable, dotted)
        if dotted in flags:
            found |= self._text(told, kind, flags[dotted], flag_name(dotted), dotted)
        return found

    def _origin(self, at: Path) -> str:
        place = self.source.places.get((*at, "")) or self.source.places.get(at)
        return f"{self.source.name}:{place.line}:{place.column}" if place else self.source.name

    def _text(self, told: Any, kind: Any, text: str, origin: str, dotted: str) -> dict[str, Any]:
        """Read an option from a flag or a variable, whose values are texts."""
        value = _parse(kind, text)
        wrong = _wrong(told, kind, value)
        if wrong:
            self.faults.append(Fault(f"{origin} {wrong}"))
            return {}
        self.origins[dotted] = origin
        return {told.name: value}

    def _items(self, name: str, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Read `services` (a mapping) or `instances` (a list)."""
        given, section = tree.get(name), ITEMS[name]
        if given is None:
            return {}
        listed = name == "instances"
        if not isinstance(given, list if listed else dict):
            wish = "a list" if listed else "a mapping from service ids"
            self.faults.append(Fault(f"{name} must be {wish}", self.source.places.get((name,))))
            return {}
        pairs: dict[Any, Any] = dict(enumerate(given)) if isinstance(given, list) else given
        read = {
            key: self._section(section, self._mapping(item, (name, key)), (name, key), {}, {})
            for key, item in pairs.items()
        }
        for key, item in read.items():
            if listed:
                self._needs(item, ("service", "addr"), (name, key))
            elif not re.fullmatch(SERVICE[0], key):
                words = f"services.{key} must be {SERVICE[1]}"
                self.faults.append(Fault(words, self.source.places.get((name, key, ""))))
        if listed:
            self._twins(list(read.values()))
        return {name: list(read.values()) if listed else read}

    def _twins(self, instances: list[Any]) -> None:
        seen = set()
        for index, item in enumerate(instances):
            if (item.service, item.addr) in seen:
                place = self.source.places.get(("instances", index))
                self.faults.append(Fault(f"instances.{index} stands here twice", place))
            seen.add((item.service, item.addr))

    def _needs(self, item: Any, names: tuple[str, ...], path: Path) -> None:
        for name in names:
            if not getattr(item, name):
                dotted = ".".join(map(str, (*path, name)))
                self.faults.append(Fault(f"{dotted} is missing", self.source.places.get(path)))

    def _mapping(self, tree: Any, path: Path) -> Mapping[str, Any]:
        if tree is None:
            return {}
        if isinstance(tree, dict):
            return tree
        name = ".".join(map(str, path)) or "the file"
        self.faults.append(Fault(f"{name} must be a mapping", self.source.places.get(path)))
        return {}

    def _unknown(self, tree: Mapping[str, Any], known: set[str], path: Path) -> None:
        for key in tree:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = (
                    f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
                )
                place = self.source.places.get((*path, key, ""))
                self.faults.append(Fault(f"unknown key {key!r}", place, hint))


def _parse(kind: Any, text: str) -> Any:
    """Return the value a text holds for an option of that type; the text itself when it is none."""
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.lower(), text
        )
    if kind is list:
        return [part for part in text.split(",") if part]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text


def _wrong(told: Any, kind: Any, value: Any) -> str:
    """Say what is wrong with a value; empty when nothing is."""
    meta = meta_of(told)
    if not _fits(kind, value):
        return f"must be {_name(kind)} (got {value!r})"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if meta.least is not None and value < meta.least:
            return f"must be at least {meta.least:g} (got {value})"
        if meta.most is not None and value > meta.most:
            return f"must be at most {meta.most:g} (got {value})"
    for item in value if isinstance(value, list) else [value]:
        if meta.form and item and not re.fullmatch(meta.form, str(item)):
            return f"must be {meta.wish} (got {item!r})"
    if meta.words and value not in meta.words:
        return f"must be one of {', '.join(meta.words)} (got {value!r})"
    return ""


def _fits(kind: Any, value: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) < 1e300  # neither NaN nor infinite
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _name(kind: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        str: "a text",
        list: "a list of texts",
    }
    return names.get(kind, "a number")
