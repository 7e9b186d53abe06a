"""What a schema does to a body that it found valid: defaults, constants, names, types. Pure.

The original changes a body while it judges it (reference "ase-wire" 2.2: `defaultVal`, `constVal`,
`replaceKey`, `formatVal`, `setVal`, `delete`); here it is judged first, as the client sent it, and
then changed: members before what holds them, and in one object in the order of `_ORDER`. What
stands under `then`, `else`, a `case` or an `anyOf` is done where that branch held of what was sent.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from schemas.compile import case_guard, compile_input, switch_default
from schemas.document import Problem
from schemas.explain import Violation, json_path
from schemas.text import as_text
from schemas.validate import Validator

_Path = tuple[str | int, ...]
_Object = dict[str, Any]
_Do = Callable[[_Object], None]

_ORDER = ("default", "const", "rename", "cast", "set", "delete")
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_MOST = 1000  # effects of one schema


class _CastError(Exception):
    """A value that cannot be made another type; `str()` says what it must be."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One change of an object: `kind` is a word of `_ORDER`, `member` what is changed.

    `value` is what it is changed to or by: a value, another name, a type, the path of a value.
    """

    kind: str
    member: str
    value: Any = None


@dataclass(slots=True)
class _Branch:
    """What is done where a schema (None: any) holds, and where it does not.

    `first`: where it holds, no branch behind it is looked at.
    """

    guard: Validator | None
    then: "_Node | None"
    otherwise: "_Node | None" = None
    first: bool = False


@dataclass(slots=True)
class _Node:
    """What is done to a value: to its members, by branches, and to itself."""

    members: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None
    branches: list[_Branch] = field(default_factory=list)
    own: list[Effect] = field(default_factory=list)

    def works(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.members or self.items or self.branches or self.own)


class Effects:
    """The effects of one schema; false when it has none."""

    def __init__(self, root: _Node | None) -> None:
        self._root = root

    def __bool__(self) -> bool:
        return self._root is not None

    def apply(self, body: _Object) -> tuple[Violation, ...]:
        """Change a valid body in place; return what could not be cast, and then it is half done."""
        if self._root is None:
            return ()
        violations: list[Violation] = []
        for path, value, effect in list(_planned(self._root, body, ())):
            try:
                _DO[effect.kind](value, effect)
            except _CastError as error:
                violations.append(Violation(json_path((*path, effect.member)), str(error)))
        return tuple(violations)

    def listed(self) -> list[tuple[_Path, Effect]]:
        """Return every effect with where it works; branches among the others."""
        return list(_all(self._root, ())) if self._root is not None else []


def read(tree: Mapping[str, Any], at: _Path = ("schemainput",)) -> tuple[Effects, list[Problem]]:
    """Return the effects of a schema that `compile_input` takes, and what is wrong with them."""
    problems: list[Problem] = []
    root = _node(tree, at, problems)
    effects = Effects(root)
    if len(effects.listed()) > _MOST:
        problems.append(Problem(at, f"has more than {_MOST} effects"))
    return effects, problems


def _planned(node: _Node, value: Any, path: _Path) -> Iterator[tuple[_Path, _Object, Effect]]:
    """Yield what is to be done, in order; nothing is changed meanwhile."""
    if isinstance(value, dict):
        for name, member in node.members.items():
            if name in value:
                yield from _planned(member, value[name], (*path, name))
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            yield from _planned(node.items, item, (*path, index))
    for branch in node.branches:
        holds = branch.guard is None or not branch.guard.violations(value)
        way = branch.then if holds else branch.otherwise
        if way is not None:
            yield from _planned(way, value, path)
        if holds and branch.first:
            break
    if isinstance(value, dict):
        for effect in node.own:
            yield path, value, effect


def _all(node: _Node, path: _Path) -> Iterator[tuple[_Path, Effect]]:
    for name, member in node.members.items():
        yield from _all(member, (*path, name))
    if node.items is not None:
        yield from _all(node.items, (*path, "*"))
    for branch in node.branches:
        for way in (branch.then, branch.otherwise):
            if way is not None:
                yield from _all(way, path)
    for effect in node.own:
        yield path, effect


def _node(tree: Any, at: _Path, problems: list[Problem]) -> _Node | None:
    """Return what a schema does to a value, None for nothing."""
    if isinstance(tree, list):
        tree = {"anyOf": tree}
    if not isinstance(tree, Mapping):
        return None
    node = _Node()
    own: list[Effect] = []
    for keyword in ("properties", "children"):
        members = tree.get(keyword)
        for name, told in (members if isinstance(members, Mapping) else {}).items():
            where = (*at, keyword, name)
            below = _node(told, where, problems)
            if below is not None:
                node.members[name] = below
            if isinstance(told, Mapping):
                own += _of_member(name, told, where, problems)
    node.items = _node(tree.get("items"), (*at, "items"), problems)
    node.branches = list(_branches(tree, at, problems))
    own += _of_object(tree, at, problems)
    node.own = sorted(own, key=lambda effect: _ORDER.index(effect.kind))
    for keyword in ("not", "if"):
        if _node(tree.get(keyword), at, []) is not None:
            words = "what changes a body must not stand where it only asks"
            problems.append(Problem((*at, keyword), words))
    return node if node.works() else None


def _branches(tree: Mapping[str, Any], at: _Path, problems: list[Problem]) -> Iterator[_Branch]:
    then, otherwise = (_node(tree.get(k), (*at, k), problems) for k in ("then", "else"))
    if "if" in tree and (then or otherwise):
        yield _Branch(_guard(tree["if"], (*at, "if")), then, otherwise)
    for index, told in enumerate(_listed(tree.get("allOf"))):
        below = _node(told, (*at, "allOf", index), problems)
        if below is not None:
            yield _Branch(None, below)
    for keyword in ("anyOf", "oneOf"):
        listed = _listed(tree.get(keyword))
        below_each = [_node(v, (*at, keyword, i), problems) for i, v in enumerate(listed)]
        if any(below_each):
            for index, told in enumerate(listed):
                yield _Branch(_guard(told, (*at, keyword, index)), below_each[index], first=True)
    cases = tree.get("case")
    if isinstance(tree.get("switch"), str):
        yield from _cases(tree, cases if isinstance(cases, Mapping) else {}, at, problems)


def _cases(
    tree: Mapping[str, Any], cases: Mapping[str, Any], at: _Path, problems: list[Problem]
) -> Iterator[_Branch]:
    for name, told in cases.items():
        below = _node(told, (*at, "case", name), problems)
        if below is not None:
            yield _Branch(Validator(case_guard(tree["switch"], [name])), below)
    keyword = switch_default(tree)
    below = _node(tree.get(keyword), (*at, keyword), problems) if keyword else None
    if below is not None:
        yield _Branch(Validator(case_guard(tree["switch"], list(cases))), None, below)


def _guard(tree: Any, at: _Path) -> Validator:
    return Validator(compile_input(tree, at))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _of_member(
    name: str, told: Mapping[str, Any], at: _Path, problems: list[Problem]
) -> Iterator[Effect]:
    """Return the effects that a member's schema has on the object it stands in."""
    for keyword in ("defaultVal", "default"):
        if keyword in told and not (keyword == "default" and "switch" in told):
            yield Effect("default", name, told[keyword])
            break
    if "constVal" in told:
        yield Effect("const", name, told["constVal"])
    if "replaceKey" in told:
        if isinstance(told["replaceKey"], str) and told["replaceKey"]:
            yield Effect("rename", name, told["replaceKey"])
        else:
            problems.append(Problem((*at, "replaceKey"), "must be a text: the new name"))
    if "formatVal" in told:
        if told["formatVal"] in _CASTS:
            yield Effect("cast", name, told["formatVal"])
        else:
            words = f"must be one of {', '.join(_CASTS)}"
            problems.append(Problem((*at, "formatVal"), words))


def _of_object(tree: Mapping[str, Any], at: _Path, problems: list[Problem]) -> Iterator[Effect]:
    changes = tree.get("setVal", {})
    if not isinstance(changes, Mapping):
        problems.append(Problem((*at, "setVal"), "must be an object"))
        changes = {}
    for name, value in changes.items():
        if isinstance(value, Mapping) and "func" in value:
            words = "functions are not supported: a value, or ${member}"
            problems.append(Problem((*at, "setVal", name), words))
        else:
            yield Effect("set", name, value)
    names = tree.get("delete", [])
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        yield from (Effect("delete", name) for name in names)
    else:
        problems.append(Problem((*at, "delete"), "must be a list of names"))


def _default(value: _Object, effect: Effect) -> None:
    if effect.member not in value:
        value[effect.member] = deepcopy(effect.value)


def _set_const(value: _Object, effect: Effect) -> None:
    value[effect.member] = deepcopy(effect.value)


def _rename(value: _Object, effect: Effect) -> None:
    """Give a member its other name; one that is there already stays."""
    if effect.member in value:
        told = value.pop(effect.member)
        value.setdefault(effect.value, told)


def _cast(value: _Object, effect: Effect) -> None:
    """Make a member another type; null stays null."""
    told = value.get(effect.member)
    if told is not None:
        value[effect.member] = _CASTS[effect.value](told)


def _set(value: _Object, effect: Effect) -> None:
    """Set a member, by its path; on the way there, what is no object becomes one."""
    *way, last = effect.member.removeprefix("$.").split(".")
    at = value
    for name in way:
        below = at.get(name)
        if not isinstance(below, dict):
            below = at[name] = {}
        at = below
    at[last] = _referred(value, effect.value)


def _referred(value: _Object, told: Any) -> Any:
    """Return the value that `${a.b}` names, null for none; any other stands for itself."""
    if not (isinstance(told, str) and told.startswith("${") and told.endswith("}")):
        return deepcopy(told)
    found: Any = value
    for name in told[2:-1].removeprefix("$.").split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _delete(value: _Object, effect: Effect) -> None:
    value.pop(effect.member, None)


_DO: dict[str, Callable[[_Object, Effect], None]] = {
    "default": _default,
    "const": _set_const,
    "rename": _rename,
    "cast": _cast,
    "set": _set,
    "delete": _delete,
}


def _number(told: Any) -> float:
    try:
        number = float(told) if isinstance(told, str | int | float) else float("nan")
    except (ValueError, OverflowError):
        number = float("nan")
    if not abs(number) < float("inf"):
        raise _CastError("must be a number, or a text that is one")
    whole = int(number) if number.is_integer() else number
    return int(told) if isinstance(told, int) else whole


def _integer(told: Any) -> int:
    words = "must be a whole number, or a text that is one"
    try:
        number = _number(told)
    except _CastError:
        raise _CastError(words) from None
    if number != int(number):
        raise _CastError(words)
    return int(number)


def _truth(told: Any) -> bool:
    word = _WORDS.get(as_text(told).lower()) if isinstance(told, str | int | bool) else None
    if word is None:
        raise _CastError("must be true or false, or a text that says so")
    return word


_CASTS: dict[str, Callable[[Any], Any]] = {
    "string": as_text,
    "number": _number,
    "integer": _integer,
    "bool": _truth,
    "boolean": _truth,
    "lower": lambda told: as_text(told).lower(),
    "upper": lambda told: as_text(told).upper(),
}
