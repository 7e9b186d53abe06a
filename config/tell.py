"""The options told: with value and origin, as JSON Schema for editors, as a table. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from config.options import (
    ITEMS,
    SECTIONS,
    SERVICE,
    Config,
    default_of,
    kind_of,
    meta_of,
    plain_fields,
)

DEFAULT = "default"
HIDDEN = "********"


@dataclass(frozen=True, slots=True)
class Told:
    """One option: its dotted name, its value, and where that comes from."""

    name: str
    value: Any
    origin: str


def effective(config: Config, origins: Mapping[str, str]) -> list[Told]:
    """Return every option of a config with its origin; secrets are not shown."""
    found: list[Told] = []
    for told in fields(Config):
        value = getattr(config, told.name)
        if told.name in SECTIONS:
            found += _section(told.name, value, origins)
        elif told.name in ITEMS:
            pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, item in pairs:
                found += _section(f"{told.name}.{key}", item, origins)
        else:
            found.append(Told(told.name, value, origins.get(told.name, DEFAULT)))
    return found


def _section(name: str, section: Any, origins: Mapping[str, str]) -> Iterator[Told]:
    for told in plain_fields(type(section)):
        dotted = f"{name}.{told.name}"
        value = getattr(section, told.name)
        hidden = meta_of(told).secret and value
        yield Told(dotted, HIDDEN if hidden else value, origins.get(dotted, DEFAULT))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema 2020-12 of `ase.yaml`, for editors."""
    root = _object(Config)
    for name, section in SECTIONS.items():
        root["properties"][name] = _object(section)
    root["properties"]["services"] = {
        "type": "object",
        "propertyNames": {"pattern": f"^{SERVICE[0]}$"},
        "additionalProperties": _object(ITEMS["services"]),
    }
    item = {**_object(ITEMS["instances"]), "required": ["service", "addr"]}
    root["properties"]["instances"] = {"type": "array", "items": item}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ase.yaml", **root}


def _object(section: type[Any]) -> dict[str, Any]:
    properties = {told.name: _value(told) for told in plain_fields(section)}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(told: Field[Any]) -> dict[str, Any]:
    meta, kind = meta_of(told), kind_of(told)
    schema: dict[str, Any] = {"description": meta.help}
    bounds = {"minimum": meta.least, "maximum": meta.most}
    rules: dict[str, Any] = {key: bound for key, bound in bounds.items() if bound is not None}
    if meta.words:
        rules["enum"] = list(meta.words)
    if meta.form:
        rules["pattern"] = f"^(?:{meta.form})?$"
    if kind is list:
        schema |= {"type": "array", "items": {"type": "string", **rules}}
    else:
        schema |= {"type": _TYPES.get(kind, "number"), **rules}
    default = default_of(told)
    return schema | ({"default": default} if default is not None else {})


_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", str: "string"}


def table() -> str:
    """Return every option as a Markdown table: name, default, variable, what it is."""
    lines = ["| option | default | variable | what |", "|---|---|---|---|"]
    sections: dict[str, type[Any]] = {**SECTIONS, "": Config}
    for section, kind in sections.items():
        for told in plain_fields(kind):
            if told.name not in ITEMS:
                dotted = f"{section}.{told.name}" if section else told.name
                variable = f"ASE_{dotted.replace('.', '_').upper()}"
                lines.append(_row(dotted, variable, told))
    for section, kind in ITEMS.items():
        lines += [_row(f"{section}.*.{told.name}", "", told) for told in plain_fields(kind)]
    return "\n".join(lines) + "\n"


def _row(dotted: str, variable: str, told: Field[Any]) -> str:
    meta, default = meta_of(told), default_of(told)
    shown = "" if default in ("", [], None) else f"`{shown_value(default)}`"
    words = [meta.help.replace("|", "\\|")]
    words += [f"one of {', '.join(meta.words)}"] if meta.words else []
    if meta.least is not None or meta.most is not None:
        low = f"{meta.least:g}" if meta.least is not None else ""
        high = f"{meta.most:g}" if meta.most is not None else ""
        words.append(f"{low}..{high}")
    name = f"`{variable}`" if variable else ""
    return f"| `{dotted}` | {shown} | {name} | {'; '.join(words)} |"


def shown_value(value: Any) -> str:
    """Return a value as the file has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
