"""The schema document, `schema_<id>.json` of the original: read into the model, its digest. Pure.

Format: reference "ase-wire" section 2. Every fault of a document is told, each with its path.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.service import DataType, Nick, Service, SubRoute

_CODE = re.compile(r"-?\d{1,9}")
_STATUS = re.compile(r"[0-9]{3}")
_NO_BODY = frozenset({204, 205, 304})
_SHOWN = 160
_TOLD = 10  # the words travel in the metadata of a call
_INPUT_TYPES = {kind.key: kind for kind in DataType}


Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where (a path of members from the root), what, and the cure where there is one."""

    path: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        path = ".".join(map(str, self.path)) or "document"
        shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."
        hint = f"; {self.hint}" if self.hint else ""
        return f"{shown}: {self.message[:_SHOWN]}{hint[:_SHOWN]}"


class DocumentError(Exception):
    """A schema document that cannot be served, with all its problems."""

    def __init__(self, problems: list[Problem]) -> None:
        more = f"; and {len(problems) - _TOLD} more" if len(problems) > _TOLD else ""
        super().__init__("; ".join(str(problem) for problem in problems[:_TOLD]) + more)
        self.problems = tuple(problems)


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the one JSON text of a document: UTF-8, sorted members, no spaces."""
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def digest(canonical_document: bytes) -> str:
    """Return the sha256 of a canonical document, in lower-case hex."""
    return hashlib.sha256(canonical_document).hexdigest()


def parse(text: bytes) -> dict[str, Any]:
    """Return the JSON object of a document's text. Raises DocumentError when it is not one."""
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DocumentError([Problem((), f"is not JSON: {error}")]) from error
    if not isinstance(value, dict):
        raise DocumentError([Problem((), "must be a JSON object")])
    try:
        canonical(value)
    except (ValueError, RecursionError) as error:
        raise DocumentError([Problem((), f"cannot be written as JSON: {error}"[:200])]) from error
    return value


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises ValueError for a member that stands there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, seen = "", set[str]()
        for name, _ in pairs:
            twice = name if name in seen and not twice else twice
            seen.add(name)
        raise ValueError(f"member {twice[:64]!r} stands there twice")
    return found


def read(document: object) -> Service:
    """Return the model of a document.

    Raises DocumentError naming every member that is missing or wrong.
    """
    problems: list[Problem] = []
    root = _object(document, (), problems)
    if problems or "meta" not in root:
        raise DocumentError(problems or [Problem(("meta",), "is missing")])
    meta = _object(root.get("meta"), ("meta",), problems)
    service = Service(
        id=_text(meta, "serviceId", problems, required=True),
        version=_text(meta, "version", problems) or "v1",
        sub=_text(meta, "sub", problems) or "ase",
        nicks=tuple(_nicks(meta, problems)),
        input=_tree(root, "schemainput", problems),
        output=_tree(root, "schemaoutput", problems),
        description=_text(meta, "description", problems),
        deadline=_seconds(meta, "session_timeout", problems),
        read_timeout=_seconds(meta, "read_timeout", problems),
        idempotent=meta.get("idempotent") is True,
        code_map=_code_map(meta.get("codeMap"), problems),
        hosts=tuple(map(str.lower, _strings(meta.get("hosts"), ("meta", "hosts"), problems))),
        routes=tuple(_strings(meta.get("route"), ("meta", "route"), problems)),
        sub_routes=tuple(_sub_routes(meta.get("subRoute"), problems)),
        route_key=tuple(_strings(meta.get("routeKey"), ("meta", "routeKey"), problems)),
    )
    if not service.sub_routes and "schemainput" not in root:
        problems.append(Problem(("schemainput",), "is missing"))
    problems += _clashes(service)
    if problems:
        raise DocumentError(problems)
    return service


def _object(value: object, path: tuple[str | int, ...], problems: list[Problem]) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    problems.append(Problem(path, "must be an object" if value is not None else "is missing"))
    return {}


def _tree(root: Mapping[str, Any], key: str, problems: list[Problem]) -> dict[str, Any]:
    return _object(root[key], (key,), problems) if key in root else {}


def _text(
    meta: Mapping[str, Any], key: str, problems: list[Problem], *, required: bool = False
) -> str:
    value: object = meta.get(key, "")
    if not isinstance(value, str):
        problems.append(Problem(("meta", key), "must be a string"))
        return ""
    if required and not value:
        problems.append(Problem(("meta", key), "is missing or empty"))
    return value


def _seconds(meta: Mapping[str, Any], key: str, problems: list[Problem]) -> float | None:
    if key not in meta:
        return None
    try:
        value = float(meta[key])
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 < value < 86400:
        words = "must be a number of seconds, more than 0 and less than a day"
        problems.append(Problem(("meta", key), words))
    return value


def _strings(value: object, path: tuple[str | int, ...], problems: list[Problem]) -> Iterator[str]:
    if value is None:
        return
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, str):
            yield item
        else:
            problems.append(Problem(path, "must be a string or a list of strings"))


def _nicks(meta: Mapping[str, Any], problems: list[Problem]) -> Iterator[Nick]:
    for name in _strings(meta.get("service"), ("meta", "service"), problems):
        if name not in meta:
            problems.append(Problem(("meta", "service"), f"nick {name!r} has no member in meta"))
            continue
        nick = _object(meta[name], ("meta", name), problems)
        yield Nick(
            name,
            _streams(nick.get("input", {}), ("meta", name, "input"), problems),
            _streams(nick.get("accept", {}), ("meta", name, "accept"), problems),
        )


def _streams(
    value: object, path: tuple[str | int, ...], problems: list[Problem]
) -> dict[str, DataType]:
    """Read {name: {dataType: t}} or {name: t}; the original reads an unknown type as audio."""
    streams = {}
    for name, told in _object(value, path, problems).items():
        kind = told.get("dataType") if isinstance(told, dict) else told
        if isinstance(kind, str):
            streams[name] = _INPUT_TYPES.get(kind, DataType.AUDIO)
        else:
            problems.append(Problem((*path, name), "needs a dataType"))
    return streams


def _code_map(value: object, problems: list[Problem]) -> dict[int, int]:
    if value is None:
        return {}
    path = ("meta", "codeMap")
    statuses = {}
    for code, status in _object(value, path, problems).items():
        number = int(status) if _STATUS.fullmatch(str(status)) else 0
        if not _CODE.fullmatch(code) or not 200 <= number <= 599 or number in _NO_BODY:
            problems.append(
                Problem((*path, code), "must map a code to an HTTP status 200..599 that has a body")
            )
        else:
            statuses[int(code)] = number
    return statuses


def _sub_routes(value: object, problems: list[Problem]) -> list[SubRoute]:
    """Return the ways of a category service, highest priority first."""
    routes = []
    if not isinstance(value, list | None):
        problems.append(Problem(("meta", "subRoute"), "must be a list"))
        return []
    for index, item in enumerate(value or ()):
        path = ("meta", "subRoute", index)
        told = _object(item, path, problems)
        target, priority = told.get("subServiceId"), told.get("priority", 0)
        if not isinstance(target, str) or not isinstance(priority, int):
            problems.append(Problem(path, "needs a subServiceId and an integer priority"))
            continue
        rules = _object(told.get("rules", {}), (*path, "rules"), problems)
        routes.append(
            SubRoute(
                target,
                priority,
                tuple(
                    (_json_path(key), frozenset(map(_as_text, _listed(values))))
                    for key, values in rules.items()
                ),
            )
        )
    return sorted(routes, key=lambda route: -route.priority)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _json_path(text: str) -> tuple[str, ...]:
    """Read `$.header.app_id` (or without the `$.`) as a tuple of members."""
    return tuple(part for part in text.removeprefix("$").split(".") if part)


def _clashes(service: Service) -> Iterator[Problem]:
    """Tell the names that two nicks share: on the wire they would fall into one map."""
    parameters = _properties(_properties(service.input).get("parameter"))
    owner: dict[tuple[str, str], str] = {}
    for nick in service.nicks:
        members = _properties(parameters.get(nick.name))
        named = [("parameter", name) for name in members if name not in nick.accepts]
        named += [("input", name) for name in nick.inputs]
        named += [("accept", name) for name in nick.accepts]
        for key in named:
            if key in owner:
                kind, name = key
                yield Problem(
                    ("meta", nick.name), f"{kind} {name!r} is declared by {owner[key]!r} too"
                )
            owner[key] = nick.name


def _properties(tree: object) -> Mapping[str, Any]:
    """Return the properties of a schema; none of what is not one, which the compiler will tell."""
    found = tree.get("properties") if isinstance(tree, Mapping) else None
    return found if isinstance(found, Mapping) else {}
