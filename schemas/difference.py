"""Two versions of a schema document compared: what changed, and whether it breaks a client. Pure.

A change of what is taken breaks when a request that was valid may be refused; one of what is given
breaks when an answer may lack what it had.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.document import Path, read

_FLOORS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minB64DLen")
_CEILINGS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxB64DLen")
_WORDS = ("title", "description", "comment", "$comment", "examples", "$schema")
_EFFECTS = ("default", "defaultVal", "constVal", "replaceKey", "formatVal", "setVal", "delete")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: where, what, and whether it breaks a client of the old version."""

    path: Path
    message: str
    breaks: bool

    def __str__(self) -> str:
        word = "breaking" if self.breaks else "compatible"
        return f"{word:<10}  {'.'.join(map(str, self.path))}: {self.message}"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the differences of two documents, breaking ones first.

    Raises DocumentError when one of them is none.
    """
    before, after = read(old), read(new)
    found = list(_meta(old["meta"], new["meta"]))
    found += _streams(before.inputs, after.inputs, "input")
    found += _streams(before.accepts, after.accepts, "accept")
    found += _taken(before.input, after.input, ("schemainput",))
    found += _given(before.output, after.output, ("schemaoutput",))
    return sorted(found, key=lambda change: not change.breaks)


def _meta(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    nicks = {*_listed(old.get("service")), *_listed(new.get("service"))}
    for key in sorted({*old, *new} - nicks):
        if old.get(key) == new.get(key):
            continue
        path = ("meta", key)
        match key:
            case "serviceId" | "service" | "route" | "hosts":
                yield Change(path, f"{old.get(key)!r} became {new.get(key)!r}", breaks=True)
            case "codeMap":
                yield Change(path, "codes have other statuses", breaks=True)
            case _:
                yield Change(path, f"{old.get(key)!r} became {new.get(key)!r}", breaks=False)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _streams(old: Mapping[str, Any], new: Mapping[str, Any], word: str) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        path = ("meta", word, name)
        if name not in new:
            yield Change(path, "is gone", breaks=True)
        elif name not in old:
            yield Change(path, "is new", breaks=False)
        elif old[name] != new[name]:
            yield Change(path, f"{old[name].key} became {new[name].key}", breaks=True)


def _types(told: Any) -> set[str]:
    names = told.split("|") if isinstance(told, str) else _listed(told)
    return {"boolean" if name == "bool" else str(name) for name in names}


def _taken(old: Any, new: Any, path: Path) -> Iterator[Change]:
    """Compare what is taken: whatever the new one refuses that the old one took breaks."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        if old != new:
            yield Change(path, "is another schema", breaks=True)
        return
    yield from _members_taken(old, new, path)
    for keyword in sorted({*old, *new} - {"properties", "required", "additionalProperties"}):
        one, other = old.get(keyword), new.get(keyword)
        if one != other and keyword not in _WORDS:
            yield from _keyword(keyword, one, other, (*path, keyword))
    if "items" in old and "items" in new:
        yield from _taken(old["items"], new["items"], (*path, "items"))


def _members_taken(old: Mapping[str, Any], new: Mapping[str, Any], path: Path) -> Iterator[Change]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed, asked = set(old.get("required", ())), set(new.get("required", ()))
    open_now = new.get("additionalProperties", "properties" not in new) is not False
    for name in sorted({*before, *after}):
        here = (*path, "properties", name)
        if name not in after:
            yield Change(here, "is not known any more", breaks=not open_now)
        elif name not in before:
            words = "is new and required" if name in asked else "is new"
            yield Change(here, words, breaks=name in asked)
        else:
            if (name in asked) != (name in needed):
                words = "is required now" if name in asked else "is not required any more"
                yield Change(here, words, breaks=name in asked)
            yield from _taken(before[name], after[name], here)
    was_open = old.get("additionalProperties", "properties" not in old) is not False
    if was_open != open_now:
        words = "members that are not declared are taken now"
        yield Change(path, words if open_now else "only declared members now", breaks=not open_now)


def _keyword(keyword: str, old: Any, new: Any, path: Path) -> Iterator[Change]:
    if keyword == "items" and old is not None and new is not None:
        return
    told = f"{old!r} became {new!r}"
    if keyword in _EFFECTS:
        words = f"{told}: a request goes on in another way" if new is not None else "is gone"
        yield Change(path, words, breaks=keyword in ("replaceKey", "delete"))
    elif new is None:
        yield Change(path, "is not asked any more", breaks=False)
    elif old is None:
        yield Change(path, f"{new!r} is asked now", breaks=True)
    elif keyword == "type":
        yield Change(path, told, breaks=not _types(old) <= _types(new) | _wider(new))
    elif keyword in ("enum", "enums"):
        gone = [value for value in _listed(old) if str(value) not in map(str, _listed(new))]
        words = f"{', '.join(map(str, gone))} is not among them any more" if gone else "has more"
        yield Change(path, words, breaks=bool(gone))
    elif keyword in _FLOORS:
        yield Change(path, told, breaks=new > old)
    elif keyword in _CEILINGS:
        yield Change(path, told, breaks=new < old)
    else:
        yield Change(path, f"{told}: whether it takes as much cannot be told", breaks=True)


def _wider(told: Any) -> set[str]:
    return {"integer"} if "number" in _types(told) else set()


def _given(old: Any, new: Any, path: Path) -> Iterator[Change]:
    """Compare what is given: what an answer had it must have still."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in sorted({*before, *after}):
        here = (*path, "properties", name)
        if name not in after:
            yield Change(here, "is not given any more", breaks=True)
        elif name not in before:
            yield Change(here, "is new", breaks=False)
        else:
            yield from _given(before[name], after[name], here)
    if "type" in old and _types(old["type"]) != _types(new.get("type")):
        told = f"{old['type']!r} became {new.get('type')!r}"
        narrower = _types(new.get("type")) <= _types(old["type"]) | _wider(old["type"])
        yield Change((*path, "type"), told, breaks=not narrower or "type" not in new)
