"""Merge file, environment and flags into one `Config`. Pure.

A flag overrides an environment variable, which overrides the file, which overrides the default.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from config.options import (
    ITEM_KEYS,
    ITEM_SECTIONS,
    SECTIONS,
    SHORTHANDS,
    Config,
    meta_of,
    option_fields,
    value_type_of,
)
from config.source import ConfigError, ConfigPath, Diagnostic, SourceFile, SourceLocation
from schemas.model.suggestion import did_you_mean

PREFIX = "ASE_"
# The kubelet sets these for a Service such as `ase-gateway`, in every pod of its namespace
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_SERVICE_LINK_NAME = re.compile(
    r"[A-Z0-9_]+_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SECRET_REFERENCE = re.compile(r"\$\{(file|env):([^}]+)\}")
_SERVICE_LINK_URL = re.compile(r"(?:tcp|udp|sctp)://")


def resolve(
    source: SourceFile | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    read_file: Callable[[str], str] | None = None,
) -> Config:
    """Return the configuration merged from the file, the environment and the flags.

    `source` is the parsed file, None if there is none. `environ` maps variables such as
    ASE_GATEWAY_PORT to their text. `flags` maps dotted option names to text, such as
    {"gateway.port": "0"}. Raises ConfigError that lists every unknown key, unknown variable and
    invalid value; errors in the file carry line and column.
    """
    return resolve_with_origins(source, environ, flags, read_file)[0]


def resolve_with_origins(
    source: SourceFile | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    read_file: Callable[[str], str] | None = None,
) -> tuple[Config, dict[str, str]]:
    """Return the configuration, and the origin of each option that is set explicitly.

    Origins are keyed by dotted option name. An origin is a location in the file (`ase.yaml:3:9`),
    an environment variable or a flag; an option left at its default has none. Raises ConfigError
    like `resolve`. The variables of `service_links` are not read.

    A secret may be `${file:PATH}` or `${env:NAME}`; `read_file` returns the text of a file by its
    path, or raises OSError or UnicodeDecodeError.
    """
    links = service_links(environ)
    environ = {name: text for name, text in environ.items() if name not in links}
    reader = _ConfigReader(source or SourceFile("flags and environment"), environ, read_file)
    config = reader.read_config(environ, flags)
    reader.check_unknown_variables(environ)
    if reader.diagnostics:
        raise ConfigError(reader.source.name, reader.source.lines, reader.diagnostics)
    return config, reader.origins


def service_links(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the variables with our prefix that Kubernetes has set, as links to a Service.

    `ASE_GATEWAY_PORT` is one if it is a URL such as `tcp://10.0.0.1:8200`, else it is our option.
    """
    return frozenset(
        name
        for name, text in environ.items()
        if name.startswith(PREFIX)
        and (
            _SERVICE_LINK_NAME.fullmatch(name)
            or (name.endswith("_PORT") and _SERVICE_LINK_URL.match(text))
        )
    )


def flag_name(dotted: str) -> str:
    """Return the flag of an option: `--gateway-max-body` for `gateway.max_body`."""
    return "--" + dotted.replace(".", "-").replace("_", "-")


def variable_name(dotted: str) -> str:
    """Return the environment variable of an option: `ASE_GATEWAY_MAX_BODY`."""
    return PREFIX + dotted.replace(".", "_").upper()


def _expand_shorthand(section: str, tree: Any) -> Any:
    """Return the mapping that a value such as `auth: none` or `auth: [key]` stands for."""
    if section not in SHORTHANDS or not isinstance(tree, str | list):
        return tree
    return {SHORTHANDS[section]: [tree] if isinstance(tree, str) else tree}


class _ConfigReader:
    """Reads one configuration and collects all its errors instead of stopping at the first.

    `diagnostics` holds the errors found so far. An invalid value is left out of the result, so the
    config is usable only if `diagnostics` is empty. `origins` maps the dotted name of each option
    that is set to the origin with the highest precedence.
    """

    def __init__(
        self,
        source: SourceFile,
        environ: Mapping[str, str],
        read_file: Callable[[str], str] | None,
    ) -> None:
        self.source = source
        self._environ = environ
        self._read_file = read_file
        self.diagnostics: list[Diagnostic] = []
        self.origins: dict[str, str] = {}

    def read_config(self, environ: Mapping[str, str], flags: Mapping[str, str]) -> Config:
        tree = self._read_mapping(self.source.tree, ())
        self._check_unknown_keys(tree, {field.name for field in fields(Config)}, ())
        values: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            subtree = self._read_mapping(_expand_shorthand(name, tree.get(name)), (name,))
            values[name] = self._read_section(section, subtree, (name,), environ, flags)
        for field in option_fields(Config):
            if field.name in ITEM_SECTIONS:
                values |= self._read_items(field.name, tree)
            else:
                values |= self._read_option(field, tree, (), environ, flags)
        return Config(**values)

    def check_unknown_variables(self, environ: Mapping[str, str]) -> None:
        """Report each variable that has the prefix of a section but names no option of it.

        Variables without such a prefix (`ASE_GATEWAY_`, `ASE_LB_`, ...) are not checked.
        """
        for section, section_type in SECTIONS.items():
            prefix = f"{PREFIX}{section.upper()}_"
            known_variables = {prefix + field.name.upper() for field in option_fields(section_type)}
            for name in environ:
                if name.startswith(prefix) and name not in known_variables:
                    hint = did_you_mean(name, known_variables)
                    self.diagnostics.append(Diagnostic(f"unknown variable {name}", None, hint))

    def _read_section(
        self,
        section: type[Any],
        tree: Mapping[str, Any],
        path: ConfigPath,
        environ: Mapping[str, str],
        flags: Mapping[str, str],
    ) -> Any:
        self._check_unknown_keys(tree, {field.name for field in fields(section)}, path)
        values: dict[str, Any] = {}
        for field in option_fields(section):
            values |= self._read_option(field, tree, path, environ, flags)
        return section(**values)

    def _read_option(
        self,
        field: Any,
        tree: Mapping[str, Any],
        path: ConfigPath,
        environ: Mapping[str, str],
        flags: Mapping[str, str],
    ) -> dict[str, Any]:
        """Return {name: value} from the origin of highest precedence, {} if none sets the option.

        Every origin is validated, even if another one overrides it.
        """
        option_path = (*path, field.name)
        dotted = ".".join(map(str, option_path))
        value_type = value_type_of(field)
        values: dict[str, Any] = {}
        if field.name in tree:
            value = _whole_number(tree[field.name]) if value_type is int else tree[field.name]
            error = _validation_error(field, value_type, value)
            if error:
                self.diagnostics.append(
                    Diagnostic(f"{dotted} {error}", self._location(option_path))
                )
            else:
                value = self._read_secret(field, value, dotted, self._location(option_path))
                values[field.name] = float(value) if value_type is float else value
                self.origins[dotted] = self._file_origin(option_path)
        variable = variable_name(dotted)
        if variable in environ:
            values |= self._read_text(field, value_type, environ[variable], variable, dotted)
        if dotted in flags:
            values |= self._read_text(field, value_type, flags[dotted], flag_name(dotted), dotted)
        return values

    def _location(self, option_path: ConfigPath) -> SourceLocation | None:
        """Return where an option is, or its section if that stands for the option."""
        locations = self.source.locations
        return locations.get(option_path) or locations.get(option_path[:-1])

    def _file_origin(self, option_path: ConfigPath) -> str:
        location = self.source.locations.get((*option_path, "")) or self._location(option_path)
        return (
            f"{self.source.name}:{location.line}:{location.column}"
            if location
            else self.source.name
        )

    def _read_text(
        self, field: Any, value_type: Any, text: str, origin: str, dotted: str
    ) -> dict[str, Any]:
        """Return {name: value} from the text of a flag or a variable, {} if the text is invalid."""
        value = _parse_text(value_type, text)
        error = _validation_error(field, value_type, value)
        if error:
            self.diagnostics.append(Diagnostic(f"{origin} {error}"))
            return {}
        self.origins[dotted] = origin
        return {field.name: self._read_secret(field, value, origin, None)}

    def _read_secret(
        self, field: Any, value: Any, name: str, location: SourceLocation | None
    ) -> Any:
        """Return the secret that a reference stands for; other values are returned as they are."""
        match = _SECRET_REFERENCE.fullmatch(value) if meta_of(field).secret else None
        if match is None:
            return value
        kind, place = match.groups()
        problem, text = f"the variable {place} is not set", self._environ.get(place, "")
        if kind == "file":
            try:
                text = self._read_file(place).strip() if self._read_file is not None else ""
                problem = f"{place} is empty"
            except (OSError, UnicodeDecodeError) as error:
                problem, text = str(error), ""
        if not text:
            self.diagnostics.append(Diagnostic(f"{name}: {problem}", location))
        return text

    def _read_items(self, name: str, tree: Mapping[str, Any]) -> dict[str, Any]:
        """Read `services` and `apps` (mappings by id) or `instances` (a list).

        Only the file can set their entries; variables and flags cannot.
        """
        raw_items, section = tree.get(name), ITEM_SECTIONS[name]
        if raw_items is None:
            return {}
        is_list = name not in ITEM_KEYS
        if not isinstance(raw_items, list if is_list else dict):
            expectation = "a list" if is_list else f"a mapping from {ITEM_KEYS[name][1]}"
            self.diagnostics.append(
                Diagnostic(f"{name} must be {expectation}", self.source.locations.get((name,)))
            )
            return {}
        pairs: dict[Any, Any] = (
            dict(enumerate(raw_items)) if isinstance(raw_items, list) else raw_items
        )
        items = {
            key: self._read_section(
                section, self._read_mapping(item, (name, key)), (name, key), {}, {}
            )
            for key, item in pairs.items()
        }
        for key, item in items.items():
            if is_list:
                self._check_required(item, ("service", "addr"), (name, key))
            elif not re.fullmatch(ITEM_KEYS[name][0], str(key)):
                message = f"{name}.{key} must be {ITEM_KEYS[name][1]}"
                self.diagnostics.append(
                    Diagnostic(message, self.source.locations.get((name, key, "")))
                )
        if is_list:
            self._check_duplicates(list(items.values()))
        return {name: list(items.values()) if is_list else items}

    def _check_duplicates(self, instances: list[Any]) -> None:
        seen = set()
        for index, item in enumerate(instances):
            if (item.service, item.addr) in seen:
                location = self.source.locations.get(("instances", index))
                self.diagnostics.append(Diagnostic(f"instances.{index} occurs twice", location))
            seen.add((item.service, item.addr))

    def _check_required(self, item: Any, names: tuple[str, ...], path: ConfigPath) -> None:
        for name in names:
            if not getattr(item, name):
                dotted = ".".join(map(str, (*path, name)))
                self.diagnostics.append(
                    Diagnostic(f"{dotted} is missing", self.source.locations.get(path))
                )

    def _read_mapping(self, tree: Any, path: ConfigPath) -> Mapping[str, Any]:
        if tree is None:
            return {}
        if isinstance(tree, dict):
            return tree
        name = ".".join(map(str, path)) or "the file"
        self.diagnostics.append(
            Diagnostic(f"{name} must be a mapping", self.source.locations.get(path))
        )
        return {}

    def _check_unknown_keys(
        self, tree: Mapping[str, Any], known_keys: set[str], path: ConfigPath
    ) -> None:
        for key in tree:
            if key not in known_keys:
                hint = did_you_mean(key, sorted(known_keys), or_list_all=True)
                location = self.source.locations.get((*path, key, ""))
                self.diagnostics.append(Diagnostic(f"unknown key {key!r}", location, hint))


def _whole_number(value: Any) -> Any:
    """Return 8200 for 8200.0 or 1e6, which are whole numbers in JSON Schema; else `value`."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parse_text(value_type: Any, text: str) -> Any:
    """Return `text` converted to `value_type`; the text itself if it cannot be converted.

    The validation that follows then reports the wrong type.
    """
    if value_type is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.lower(), text
        )
    if value_type is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    if value_type in (int, float):
        try:
            return value_type(text)
        except ValueError:
            return text
    return text


def _validation_error(field: Any, value_type: Any, value: Any) -> str:
    """Return what is wrong with a value, as text that follows the option's name; "" if valid."""
    meta = meta_of(field)
    if not _has_type(value_type, value):
        return f"must be {_type_description(value_type)} (got {value!r})"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if meta.minimum is not None and value < meta.minimum:
            return f"must be at least {meta.minimum:g} (got {value})"
        if meta.maximum is not None and value > meta.maximum:
            return f"must be at most {meta.maximum:g} (got {value})"
    for item in value if isinstance(value, list) else [value]:
        if meta.pattern and item and not re.fullmatch(meta.pattern, str(item)):
            return f"must be {meta.pattern_description} (got {item!r})"
    if meta.choices and value not in meta.choices:
        return f"must be one of {', '.join(meta.choices)} (got {value!r})"
    return ""


def _has_type(value_type: Any, value: Any) -> bool:
    if value_type is bool:
        return isinstance(value, bool)
    if value_type is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if value_type is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and abs(value) < 1e300  # neither NaN nor infinite
    if value_type is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _type_description(value_type: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        str: "a text",
        list: "a list of texts",
    }
    return names.get(value_type, "a number")
