"""Describe the options: value and origin, JSON Schema for editors, Markdown table. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, fields
from typing import Any

from config.options import (
    ITEM_KEYS,
    ITEM_SECTIONS,
    SECTIONS,
    SHORTHANDS,
    Config,
    default_of,
    meta_of,
    option_fields,
    value_type_of,
)

DEFAULT_ORIGIN = "default"
REDACTED = "********"


@dataclass(frozen=True, slots=True)
class EffectiveOption:
    """One option: its dotted `name`, its `value` and its `origin`.

    `origin` is a location in the file, an environment variable, a flag or `DEFAULT_ORIGIN`.
    """

    name: str
    value: Any
    origin: str


def effective_options(config: Config, origins: Mapping[str, str]) -> list[EffectiveOption]:
    """Return every option of `config` with its origin; the value of a secret is redacted.

    `origins` maps dotted option names to origins, as `config.resolve` returns them. An option
    without an entry has `DEFAULT_ORIGIN`.
    """
    options: list[EffectiveOption] = []
    for field in fields(Config):
        value = getattr(config, field.name)
        if field.name in SECTIONS:
            options += _section_options(field.name, value, origins)
        elif field.name in ITEM_SECTIONS:
            pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
            for key, item in pairs:
                options += _section_options(f"{field.name}.{key}", item, origins)
        else:
            options.append(
                EffectiveOption(field.name, value, origins.get(field.name, DEFAULT_ORIGIN))
            )
    return options


def _section_options(
    name: str, section: Any, origins: Mapping[str, str]
) -> Iterator[EffectiveOption]:
    for field in option_fields(type(section)):
        dotted = f"{name}.{field.name}"
        value = getattr(section, field.name)
        is_hidden = meta_of(field).secret and value
        yield EffectiveOption(
            dotted, REDACTED if is_hidden else value, origins.get(dotted, DEFAULT_ORIGIN)
        )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of `ase.yaml`, for editors.

    A section, and each entry of `services` and `apps`, may be empty, which is null in YAML. A
    section with a shorthand may be the value of that option, or one item of it.
    """
    root = _section_schema(Config)
    for name, section in SECTIONS.items():
        schema = _section_schema(section)
        if name in SHORTHANDS:
            value_schema = schema["properties"][SHORTHANDS[name]]
            schema = {"anyOf": [schema, value_schema, value_schema["items"]]}
        root["properties"][name] = schema
    for name, (pattern, _) in ITEM_KEYS.items():
        root["properties"][name] = {
            "type": ["object", "null"],
            "propertyNames": {"pattern": f"^{pattern}$"},
            "additionalProperties": _section_schema(ITEM_SECTIONS[name]),
        }
    item = {
        **_section_schema(ITEM_SECTIONS["instances"]),
        "type": "object",
        "required": ["service", "addr"],
    }
    root["properties"]["instances"] = {"type": ["array", "null"], "items": item}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ase.yaml", **root}


def _section_schema(section: type[Any]) -> dict[str, Any]:
    properties = {field.name: _option_schema(field) for field in option_fields(section)}
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _option_schema(field: Field[Any]) -> dict[str, Any]:
    meta, value_type = meta_of(field), value_type_of(field)
    schema: dict[str, Any] = {"description": meta.help}
    bounds = {"minimum": meta.minimum, "maximum": meta.maximum}
    rules: dict[str, Any] = {key: bound for key, bound in bounds.items() if bound is not None}
    if meta.choices:
        rules["enum"] = list(meta.choices)
    if meta.pattern:
        rules["pattern"] = f"^(?:{meta.pattern})?$"
    if value_type is list:
        schema |= {"type": "array", "items": {"type": "string", **rules}}
    else:
        schema |= {"type": _TYPES.get(value_type, "number"), **rules}
    default = default_of(field)
    return schema | ({"default": default} if default is not None else {})


_TYPES: dict[Any, str] = {bool: "boolean", int: "integer", str: "string"}


def markdown_table() -> str:
    """Return all options as a Markdown table: name, default, environment variable, description."""
    lines = ["| option | default | variable | what |", "|---|---|---|---|"]
    sections: dict[str, type[Any]] = {**SECTIONS, "": Config}
    for section, section_type in sections.items():
        for field in option_fields(section_type):
            if field.name not in ITEM_SECTIONS:
                dotted = f"{section}.{field.name}" if section else field.name
                variable = f"ASE_{dotted.replace('.', '_').upper()}"
                lines.append(_table_row(dotted, variable, field))
    for section, section_type in ITEM_SECTIONS.items():
        lines += [
            _table_row(f"{section}.*.{field.name}", "", field)
            for field in option_fields(section_type)
        ]
    return "\n".join(lines) + "\n"


def _table_row(dotted: str, variable: str, field: Field[Any]) -> str:
    meta, default = meta_of(field), default_of(field)
    default_text = "" if default in ("", [], None) else f"`{format_value(default)}`"
    remarks = [meta.help.replace("|", "\\|")]
    remarks += [f"one of {', '.join(meta.choices)}"] if meta.choices else []
    if meta.minimum is not None or meta.maximum is not None:
        low = f"{meta.minimum:g}" if meta.minimum is not None else ""
        high = f"{meta.maximum:g}" if meta.maximum is not None else ""
        remarks.append(f"{low}..{high}")
    variable_text = f"`{variable}`" if variable else ""
    return f"| `{dotted}` | {default_text} | {variable_text} | {'; '.join(remarks)} |"


def format_value(value: Any) -> str:
    """Return a value as display text.

    A boolean is `true` or `false`, the items of a list are joined with ", ", None is "".
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
