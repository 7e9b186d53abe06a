"""Two layers of a configuration: the file of a registry, and that of this host above it. Pure.

What a host says itself counts: its flags, then its environment, then its file. What it does not
say comes from the registry.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from config.options import SECTIONS, SHORTHANDS, Config, meta_of, option_fields
from config.source import SourceFile


def merge_sources(shared: SourceFile, own: SourceFile | None) -> SourceFile:
    """Return one source with the values of both files; those of `own` count.

    Mappings are merged, lists and texts replaced. Both have been resolved without an error. The
    result has no locations.
    """
    tree = _merge(_expand(shared.tree), _expand(own.tree if own is not None else None))
    return SourceFile(shared.name, [], tree)


def place_paths(config: Config, place: Callable[[str, str], str]) -> Config:
    """Return the config with each path replaced: `place` maps an option's name and value to it.

    Empty paths and URLs stay as they are.
    """
    sections = {}
    for name, section_type in SECTIONS.items():
        section = getattr(config, name)
        placed = {
            field.name: place(f"{name}.{field.name}", getattr(section, field.name))
            for field in option_fields(section_type)
            if meta_of(field).path and _is_local(getattr(section, field.name))
        }
        sections[name] = replace(section, **placed) if placed else section
    schemas = place("schemas", config.schemas) if config.schemas else ""
    return replace(config, **sections, schemas=schemas)


def _is_local(path: str) -> bool:
    return bool(path) and "://" not in path


def _expand(tree: Any) -> dict[str, Any]:
    """Return a file's mapping with its shorthands in full."""
    expanded = dict(tree) if isinstance(tree, dict) else {}
    for section, option in SHORTHANDS.items():
        value = expanded.get(section)
        if isinstance(value, str | list):
            expanded[section] = {option: [value] if isinstance(value, str) else value}
    return expanded


def _merge(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(shared)
    for key, value in own.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[key] = _merge(below, value)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged
