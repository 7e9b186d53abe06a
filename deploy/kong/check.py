"""What is wrong with a declarative Kong file, each with its line. Pure.

First the JSON Schema of `deploy/kong/file_schema.py`, then the rules between members and between
entities. Kong rejects what breaks one, or silently changes what the file says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jsonschema_rs

from config.source import ConfigError, ConfigPath, Diagnostic, SourceFile, parse_yaml
from deploy.kong.file_schema import FILE_SCHEMA, OTHER_KINDS, PERIODS
from schemas.model.suggestion import did_you_mean

_GRPC = ("grpc", "grpcs")
# Members by which a route chooses requests; it needs one.
_ROUTE_RULES = frozenset({
    "destinations", "expression", "headers", "hosts", "methods", "paths", "snis", "sources",
})  # fmt: skip
_MAX_PORT = 65535
_Finding = tuple[ConfigPath, str, str]  # the place, the message, the hint or ""


def check_text(text: str, name: str) -> None:
    """Check a Kong file in YAML or JSON; `name` stands for it in messages.

    Raises ConfigError with every error and its place.
    """
    source = parse_yaml(text, name)
    if findings := _find(source.tree):
        diagnostics = [_diagnose(source, *finding) for finding in findings]
        raise ConfigError(name, source.lines, diagnostics)


def find_errors(document: Mapping[str, Any]) -> list[str]:
    """Return the errors of a parsed file, each with the path of its place."""
    return [f"{'.'.join(map(str, path))}: {message}" for path, message, _ in _find(document)]


def _find(tree: Any) -> list[_Finding]:
    """Return what is wrong by the schema, and only if nothing is, by the other rules."""
    tree = _without_nulls(tree)
    return [*_key_findings(tree), *_schema_findings(tree)] or [*_rule_findings(tree)]


def _key_findings(tree: Any) -> Iterator[_Finding]:
    """Yield keys of the file that look like a known one: other keys are those of plugins."""
    if isinstance(tree, dict):
        declared = [*FILE_SCHEMA["properties"], *OTHER_KINDS]
        for key in tree:
            if key in ("_info", "_workspace"):
                yield (key, ""), f"{key} is decK's; Kong rejects it", "remove it"
            elif key not in declared and (hint := did_you_mean(str(key), declared)):
                yield (key, ""), f"unknown key {key!r}", hint


def _without_nulls(value: Any) -> Any:
    """Return a value without members that are null: Kong takes these for members left out."""
    match value:
        case dict():
            return {
                name: _without_nulls(member) for name, member in value.items() if member is not None
            }
        case list():
            return [*map(_without_nulls, value)]
        case _:
            return value


def _diagnose(source: SourceFile, path: ConfigPath, message: str, hint: str) -> Diagnostic:
    """Return the diagnostic at the nearest place that the file has."""
    while path and path not in source.locations:
        path = path[:-1]
    return Diagnostic(message, source.locations.get(path), hint)


def _schema_findings(tree: Any) -> Iterator[_Finding]:
    validator = jsonschema_rs.Draft202012Validator(FILE_SCHEMA)
    for error in validator.iter_errors(tree):
        path = tuple(error.instance_path)
        kind: Any = error.kind
        match kind.name:
            case "additionalProperties":
                declared = _schema_at(error.schema_path[:-1])["properties"]
                for key in kind.unexpected:
                    yield (*path, key, ""), f"unknown key {key!r}", did_you_mean(key, declared)
            case "enum":
                yield path, f"must be one of {', '.join(map(str, kind.options))}", ""
            case "required":
                yield path, f"{kind.property} is missing", ""
            case "anyOf":  # the one of rate-limiting
                yield path, f"names no period: one of {', '.join(PERIODS)}", ""
            case "not":  # the one of names of upstreams
                yield path, "is an IP address; an upstream is named like a host", ""
            case _:
                yield path, str(error.message), ""


def _schema_at(schema_path: Sequence[str | int]) -> Any:
    schema: Any = FILE_SCHEMA
    for key in schema_path:
        schema = schema[key]
    return schema


def _rule_findings(tree: Mapping[str, Any]) -> Iterator[_Finding]:
    for path, upstream in _entities(tree, ("upstreams",)):
        yield from _upstream_findings(path, upstream)
    for path, service in _entities(tree, ("services",)):
        if not {"host", "url"} & service.keys():
            yield path, "has no host and no url", ""
        if service.get("protocol") in _GRPC and service.get("path"):
            yield (*path, "path"), "a grpc service has no path", ""
    for path, route in _entities(tree, ("routes",), ("services", "routes")):
        if {*route.get("protocols", ())} & {*_GRPC} and route.get("strip_path"):
            yield (*path, "strip_path"), "a grpc route strips no path", "strip_path: false"
        if not _ROUTE_RULES & route.keys():
            yield path, f"chooses no requests: by {', '.join(sorted(_ROUTE_RULES))}", ""
    plugin_places = (("plugins",), ("services", "plugins"), ("routes", "plugins"))
    for path, plugin in _entities(tree, *plugin_places, ("services", "routes", "plugins")):
        if plugin["name"] == "rate-limiting":
            yield from _rate_limit_findings((*path, "config"), plugin.get("config", {}))
    for places in (("upstreams",),), (("services",),), (("services", "routes"), ("routes",)):
        yield from _name_findings(_entities(tree, *places), "name")


def _entities(
    tree: Mapping[str, Any], *places: Sequence[str], path: ConfigPath = ()
) -> Iterator[tuple[ConfigPath, dict[str, Any]]]:
    """Yield the entities at `places`, such as ("services", "routes"), with their paths."""
    for kind, *inner_kinds in places:
        for index, entity in enumerate(tree.get(kind, ())):
            entity_path = (*path, kind, index)
            if inner_kinds:
                yield from _entities(entity, inner_kinds, path=entity_path)
            else:
                yield entity_path, entity


def _upstream_findings(path: ConfigPath, upstream: dict[str, Any]) -> Iterator[_Finding]:
    for hash_name in ("hash_on", "hash_fallback"):
        hash_input = upstream.get(hash_name, "none")
        if hash_input in ("header", "query_arg", "uri_capture", "cookie"):
            needed = "hash_on_cookie" if hash_input == "cookie" else f"{hash_name}_{hash_input}"
            if needed not in upstream:
                yield (*path, hash_name), f"needs {needed}", ""
    algorithm = upstream.get("algorithm", "consistent-hashing")
    if upstream.get("hash_on", "none") != "none" and algorithm != "consistent-hashing":
        message = f"Kong makes the algorithm consistent-hashing of it, not {algorithm}"
        yield (*path, "hash_on"), message, "remove hash_on, or the algorithm"
    targets = [*_entities(upstream, ("targets",), path=path)]
    yield from _name_findings(targets, "target")
    for target_path, target in targets:
        port = target["target"].rpartition("]")[2].partition(":")[2]
        if port and not 0 < int(port) <= _MAX_PORT:
            yield (*target_path, "target"), f"port {port} is not 1 to {_MAX_PORT}", ""


def _rate_limit_findings(path: ConfigPath, limits: Mapping[str, Any]) -> Iterator[_Finding]:
    shorter: tuple[str, float] | None = None
    for period in PERIODS:
        if period in limits:
            if shorter and limits[period] < shorter[1]:
                yield (*path, period), f"allows less than {shorter[0]}", ""
            shorter = period, limits[period]
    for value, needed in (("header", "header_name"), ("path", "path")):
        if limits.get("limit_by") == value and needed not in limits:
            yield (*path, "limit_by"), f"needs {needed}", ""
    if limits.get("policy") == "cluster":
        yield (*path, "policy"), "a Kong without a database has no cluster", "local or redis"


def _name_findings(
    entities: Iterable[tuple[ConfigPath, dict[str, Any]]], member: str
) -> Iterator[_Finding]:
    """Yield what shares its name with an entity before it."""
    names: set[str] = set()
    for path, entity in entities:
        name = entity.get(member)
        if name in names:
            yield (*path, member), f"{name!r} is declared twice", ""
        elif name is not None:
            names.add(name)
