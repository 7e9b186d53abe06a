"""The schema document, `schema_<id>.json` of the original: parsing, model and digest. Pure.

`docs/wire.md` describes the format. Every problem of a document is reported with its path.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.model.service import (
    SERVICE_ID,
    SERVICE_ID_RULE,
    DataType,
    Nick,
    Service,
    SubRoute,
)

_CODE = re.compile(r"-?\d{1,9}")
_STATUS = re.compile(r"[0-9]{3}")
_BODYLESS_STATUSES = frozenset({204, 205, 304})
_MAX_SHOWN = 160
_MAX_LISTED_PROBLEMS = 10  # the message is sent in the metadata of a gRPC call
_INPUT_TYPES = {data_type.key: data_type for data_type in DataType}


_META_MEMBERS: Final = frozenset(
    {
        "about", "codeMap", "description", "hosts", "idempotent", "route", "routeKey", "service",
        "serviceId", "session_timeout", "sub", "subRoute", "version",
    }
)  # fmt: skip

DocumentPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a document.

    `path` is its location (members and indices from the root), `message` describes it, and `hint`
    suggests a fix or is empty. `str()` cuts each of them to 160 characters.
    """

    path: DocumentPath
    message: str
    hint: str = ""

    def __str__(self) -> str:
        path = ".".join(map(str, self.path)) or "document"
        shortened = path if len(path) <= _MAX_SHOWN else f"{path[:_MAX_SHOWN]}..."
        hint = f"; {self.hint}" if self.hint else ""
        return f"{shortened}: {self.message[:_MAX_SHOWN]}{hint[:_MAX_SHOWN]}"


class DocumentError(Exception):
    """A schema document that cannot be served.

    `problems` has all problems; `str()` lists the first 10.
    """

    def __init__(self, problems: list[Problem]) -> None:
        omitted = (
            f"; and {len(problems) - _MAX_LISTED_PROBLEMS} more"
            if len(problems) > _MAX_LISTED_PROBLEMS
            else ""
        )
        super().__init__(
            "; ".join(str(problem) for problem in problems[:_MAX_LISTED_PROBLEMS]) + omitted
        )
        self.problems = tuple(problems)


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON text of `document`: UTF-8, sorted members, no spaces.

    Raises ValueError for NaN, infinity and text with lone surrogates.
    """
    return json.dumps(
        document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()


def digest(canonical_document: bytes) -> str:
    """Return the SHA-256 of a canonical document, in lower-case hex."""
    return hashlib.sha256(canonical_document).hexdigest()


def parse(text: bytes) -> dict[str, Any]:
    """Parse `text` as a JSON object.

    Raises DocumentError if it is not valid JSON, has a duplicate member, a NaN or an infinity, is
    not an object, or cannot be written as canonical JSON.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_object_without_duplicates, parse_constant=_reject_constant
        )
    except (ValueError, RecursionError) as error:
        raise DocumentError([Problem((), f"is not JSON: {error}")]) from error
    if not isinstance(value, dict):
        raise DocumentError([Problem((), "must be a JSON object")])
    try:
        canonical(value)
    except (ValueError, RecursionError) as error:
        raise DocumentError([Problem((), f"cannot be written as JSON: {error}"[:200])]) from error
    return value


def _reject_constant(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return `pairs` as an object. Raises ValueError for a duplicate member."""
    members = dict(pairs)
    if len(members) != len(pairs):
        duplicate, seen = "", set[str]()
        for name, _ in pairs:
            duplicate = name if name in seen and not duplicate else duplicate
            seen.add(name)
        raise ValueError(f"member {duplicate[:64]!r} occurs twice")
    return members


def service_from_document(document: object) -> Service:
    """Return the service that `document` describes.

    Raises DocumentError with every member that is missing or invalid.
    """
    problems: list[Problem] = []
    root = _read_object(document, (), problems)
    if problems or "meta" not in root:
        raise DocumentError(problems or [Problem(("meta",), "is missing")])
    meta = _read_object(root.get("meta"), ("meta",), problems)
    service = Service(
        id=_read_service_id(meta, problems),
        version=_read_string(meta, "version", problems) or "v1",
        sub=_read_string(meta, "sub", problems) or "ase",
        nicks=tuple(_read_nicks(meta, problems)),
        input=_read_schema(root, "schemainput", problems),
        output=_read_schema(root, "schemaoutput", problems),
        description=_read_string(meta, "description", problems),
        deadline=_read_seconds(meta, "session_timeout", problems),
        read_timeout=_read_seconds(meta, "read_timeout", problems),
        idempotent=meta.get("idempotent") is True,
        code_map=_read_code_map(meta.get("codeMap"), problems),
        hosts=tuple(map(str.lower, _read_strings(meta.get("hosts"), ("meta", "hosts"), problems))),
        routes=tuple(_read_strings(meta.get("route"), ("meta", "route"), problems)),
        sub_routes=tuple(_read_sub_routes(meta.get("subRoute"), problems)),
        route_key=tuple(_read_strings(meta.get("routeKey"), ("meta", "routeKey"), problems)),
    )
    if not service.sub_routes and "schemainput" not in root:
        problems.append(Problem(("schemainput",), "is missing"))
    problems += _name_clashes(service)
    if problems:
        raise DocumentError(problems)
    return service


def _read_object(
    value: object, path: tuple[str | int, ...], problems: list[Problem]
) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    problems.append(Problem(path, "must be an object" if value is not None else "is missing"))
    return {}


def _read_schema(root: Mapping[str, Any], key: str, problems: list[Problem]) -> dict[str, Any]:
    return _read_object(root[key], (key,), problems) if key in root else {}


def _read_string(
    meta: Mapping[str, Any], key: str, problems: list[Problem], *, required: bool = False
) -> str:
    value: object = meta.get(key, "")
    if not isinstance(value, str):
        problems.append(Problem(("meta", key), "must be a string"))
        return ""
    if required and not value:
        problems.append(Problem(("meta", key), "is missing or empty"))
    return value


def _read_service_id(meta: Mapping[str, Any], problems: list[Problem]) -> str:
    service_id = _read_string(meta, "serviceId", problems, required=True)
    if service_id and not SERVICE_ID.fullmatch(service_id):
        problems.append(Problem(("meta", "serviceId"), SERVICE_ID_RULE))
    if service_id in _META_MEMBERS:  # a nick of the service's name could not be told from it
        message = f"must not be {service_id!r}, which is a member of meta; choose another name"
        problems.append(Problem(("meta", "serviceId"), message))
    return service_id


def _read_seconds(meta: Mapping[str, Any], key: str, problems: list[Problem]) -> float | None:
    if key not in meta:
        return None
    try:
        value = float(meta[key])
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if not 0 < value < 86400:
        message = "must be a number of seconds, more than 0 and less than a day"
        problems.append(Problem(("meta", key), message))
    return value


def _read_strings(
    value: object, path: tuple[str | int, ...], problems: list[Problem]
) -> Iterator[str]:
    if value is None:
        return
    items = value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, str):
            yield item
        else:
            problems.append(Problem(path, "must be a string or a list of strings"))


def _read_nicks(meta: Mapping[str, Any], problems: list[Problem]) -> Iterator[Nick]:
    for name in _read_strings(meta.get("service"), ("meta", "service"), problems):
        if name not in meta:
            problems.append(Problem(("meta", "service"), f"nick {name!r} has no member in meta"))
            continue
        nick = _read_object(meta[name], ("meta", name), problems)
        yield Nick(
            name,
            _read_streams(nick.get("input", {}), ("meta", name, "input"), problems),
            _read_streams(nick.get("accept", {}), ("meta", name, "accept"), problems),
        )


def _read_streams(
    value: object, path: tuple[str | int, ...], problems: list[Problem]
) -> dict[str, DataType]:
    """Read {name: {dataType: t}} or {name: t}.

    An unknown data type becomes AUDIO, as in the original.
    """
    streams = {}
    for name, entry in _read_object(value, path, problems).items():
        data_type = entry.get("dataType") if isinstance(entry, dict) else entry
        if isinstance(data_type, str):
            streams[name] = _INPUT_TYPES.get(data_type, DataType.AUDIO)
        else:
            problems.append(Problem((*path, name), "needs a dataType"))
    return streams


def _read_code_map(value: object, problems: list[Problem]) -> dict[int, int]:
    if value is None:
        return {}
    path = ("meta", "codeMap")
    statuses = {}
    for code, status in _read_object(value, path, problems).items():
        number = int(status) if _STATUS.fullmatch(str(status)) else 0
        if not _CODE.fullmatch(code) or not 200 <= number <= 599 or number in _BODYLESS_STATUSES:
            problems.append(
                Problem((*path, code), "must map a code to an HTTP status 200..599 that has a body")
            )
        else:
            statuses[int(code)] = number
    return statuses


def _read_sub_routes(value: object, problems: list[Problem]) -> list[SubRoute]:
    """Return the sub routes of a category service, highest priority first."""
    routes = []
    if not isinstance(value, list | None):
        problems.append(Problem(("meta", "subRoute"), "must be a list"))
        return []
    for index, item in enumerate(value or ()):
        path = ("meta", "subRoute", index)
        route_object = _read_object(item, path, problems)
        target, priority = route_object.get("subServiceId"), route_object.get("priority", 0)
        if not isinstance(target, str) or not isinstance(priority, int):
            problems.append(Problem(path, "needs a subServiceId and an integer priority"))
            continue
        rules = _read_object(route_object.get("rules", {}), (*path, "rules"), problems)
        routes.append(
            SubRoute(
                target,
                priority,
                tuple(
                    (_parse_member_path(key), frozenset(map(_as_text, _as_list(values))))
                    for key, values in rules.items()
                ),
            )
        )
    return sorted(routes, key=lambda route: -route.priority)


def _as_list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parse_member_path(text: str) -> tuple[str, ...]:
    """Return the member names in a path such as `$.header.app_id` or `header.app_id`."""
    return tuple(part for part in text.removeprefix("$").split(".") if part)


def _name_clashes(service: Service) -> Iterator[Problem]:
    """Yield a problem for each name that two nicks declare.

    The nicks of a service share one map for parameters, one for inputs and one for accepts.
    """
    parameters = _properties(_properties(service.input).get("parameter"))
    owner_by_name: dict[tuple[str, str], str] = {}
    for nick in service.nicks:
        members = _properties(parameters.get(nick.name))
        declared_names = [("parameter", name) for name in members if name not in nick.accepts]
        declared_names += [("input", name) for name in nick.inputs]
        declared_names += [("accept", name) for name in nick.accepts]
        for key in declared_names:
            if key in owner_by_name:
                data_type, name = key
                yield Problem(
                    ("meta", nick.name),
                    f"{data_type} {name!r} is declared by {owner_by_name[key]!r} too",
                )
            owner_by_name[key] = nick.name


def _properties(tree: object) -> Mapping[str, Any]:
    """Return the properties of a schema, or {} if it is malformed, which the compiler reports."""
    properties = tree.get("properties") if isinstance(tree, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}
