"""What a schema does to a body that it found valid: defaults, constants, names, types. Pure.

The original changes a body while it judges it (reference "ase-wire" 2.2: `defaultVal`, `constVal`,
`replaceKey`, `formatVal`, `setVal`, `delete`); here it is judged first, as the client sent it, and
then changed: members before what holds them, and in one object in the order of `ORDER`. What
stands under `then`, `else`, a `case` or an `anyOf` is done where that branch held of what was sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from schemas.changes import CASTS, ORDER, CastError, Effect
from schemas.compile import case_guard, compile_input, parts_of, switch_default
from schemas.cost import LEAST_VALUES, Cost, costs_of, most_values
from schemas.document import Problem
from schemas.explain import Violation, json_path
from schemas.validate import Validator

_Path = tuple[str | int, ...]
_Object = dict[str, Any]

_MOST = 1000  # effects of one schema
# What they can cost for one body, and what each costs, a part of a value that is copied, a guard.
_MOST_NS = 50e6
_NODE_NS, _EFFECT_NS, _PART_NS, _GUARD_NS = 300.0, 300.0, 100.0, 500.0
_CHOOSING = frozenset({"if", "then", "else", "allOf", "anyOf", "oneOf", "switch"})
_OF_MEMBERS = ("constVal", "defaultVal", "replaceKey", "formatVal")


@dataclass(slots=True)
class _Branch:
    """What is done where a schema (None: any) holds, and where it does not.

    `first`: where it holds, no branch behind it is looked at.
    """

    guard: Validator | None
    then: "_Node | None"
    otherwise: "_Node | None" = None
    first: bool = False
    guard_costs: tuple[Cost, ...] = ()


@dataclass(slots=True)
class _Node:
    """What is done to a value: to its members, by branches, and to itself."""

    members: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None
    many: float = inf  # items that there can be
    choices: list[list[_Branch]] = field(default_factory=list)
    own: list[Effect] = field(default_factory=list)

    def works(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.members or self.items or self.choices or self.own)


_Planned = tuple[_Path, _Object, list[Effect]]


class Effects:
    """The effects of one schema; false when it has none."""

    def __init__(self, root: _Node | None) -> None:
        self._root = root
        # Where nothing hangs on the body, the places are known: no need to look for them each time.
        self._plan = _plan(root, ()) if root is not None and not _hangs(root) else None

    def __bool__(self) -> bool:
        return self._root is not None

    def apply(self, body: _Object) -> tuple[Violation, ...]:
        """Change a valid body in place; return what could not be cast, and then it is half done."""
        if self._root is None:
            return ()
        if self._plan is not None:
            planned = _found(self._plan, body)
        else:
            planned = list(_planned(self._root, body, ()))
        violations: list[Violation] = []
        for path, value, effects in planned:
            for effect in effects:
                try:
                    effect.do(value)
                except CastError as error:
                    where = json_path((*path, effect.member))
                    violations.append(Violation(where, str(error)))
        return tuple(violations)

    def most_values(self) -> int:
        """Return how many values a body may have to be changed in 50 ms at most."""
        if self._root is None:
            return most_values(())
        return most_values(list(_costs(self._root, 1.0)), _MOST_NS)

    def of(self, member: str) -> "Effects | None":
        """Return those on one member of the body; None where they hang on what is beside it."""
        root = self._root
        if root is None:
            return self
        if root.own or root.choices or root.items:
            return None
        told = root.members.get(member)
        return Effects(_Node({member: told}) if told is not None else None)

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
    elif root is not None and not problems:
        cost = sum(told.ns(LEAST_VALUES) for told in _costs(root, 1.0))
        if cost > _MOST_NS:
            words = f"its effects could cost {cost / 1e6:,.0f} ms for one body"
            cure = "bound how many values they can meet: maxItems of the array around them"
            problems.append(Problem(at, words, cure))
    return effects, problems


def _costs(node: _Node, meets: float) -> Iterator[Cost]:
    """Yield what effects can cost where so many values can come."""
    yield Cost((), _NODE_NS, meets)
    for effect in node.own:
        yield Cost((), _EFFECT_NS + _PART_NS * parts_of(effect.value), meets)
    for member in node.members.values():
        yield from _costs(member, meets)
    if node.items is not None:
        yield from _costs(node.items, meets * node.many if meets and node.many else 0.0)
    for branch in [branch for choice in node.choices for branch in choice]:
        yield Cost((), _GUARD_NS, meets)
        for told in branch.guard_costs:
            yield replace(told, most=meets * told.most if meets and told.most else 0.0)
        for way in (branch.then, branch.otherwise):
            if way is not None:
                yield from _costs(way, meets)


def _hangs(node: _Node) -> bool:
    """Return whether it hangs on a body where a node's effects work."""
    return bool(node.items or node.choices) or any(map(_hangs, node.members.values()))


def _plan(node: _Node, path: _Path) -> list[tuple[_Path, list[Effect]]]:
    below = [step for name, told in node.members.items() for step in _plan(told, (*path, name))]
    return [*below, (path, node.own)] if node.own else below


def _found(plan: list[tuple[_Path, list[Effect]]], body: _Object) -> list[_Planned]:
    """Return what is to be done; nothing is changed meanwhile."""
    found: list[_Planned] = []
    for path, own in plan:
        at: Any = body
        for name in path:
            at = at.get(name) if type(at) is dict else None
        if type(at) is dict:
            found.append((path, at, own))
    return found


def _planned(node: _Node, value: Any, path: _Path) -> Iterator[_Planned]:
    """Yield what is to be done, in order; nothing is changed meanwhile."""
    if isinstance(value, dict):
        for name, member in node.members.items():
            if name in value:
                yield from _planned(member, value[name], (*path, name))
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            yield from _planned(node.items, item, (*path, index))
    for choice in node.choices:
        for branch in choice:
            holds = branch.guard is None or branch.guard.holds(value)
            way = branch.then if holds else branch.otherwise
            if way is not None:
                yield from _planned(way, value, path)
            if holds and branch.first:
                break
    if isinstance(value, dict) and node.own:
        yield path, value, node.own


def _all(node: _Node, path: _Path) -> Iterator[tuple[_Path, Effect]]:
    for name, member in node.members.items():
        yield from _all(member, (*path, name))
    if node.items is not None:
        yield from _all(node.items, (*path, "*"))
    for branch in [branch for choice in node.choices for branch in choice]:
        for way in (branch.then, branch.otherwise):
            if way is not None:
                yield from _all(way, path)
    for effect in node.own:
        yield path, effect


def _node(tree: Any, at: _Path, problems: list[Problem], *, member: bool = False) -> _Node | None:
    """Return what a schema does to a value, None for nothing.

    `member`: it is the schema of a member of an object, which alone can have some of them.
    """
    if isinstance(tree, list):
        tree = {"anyOf": tree}
    if not isinstance(tree, Mapping):
        return None
    problems += _misplaced(tree, at, member=member)
    node = _Node()
    own: list[Effect] = []
    for keyword in ("properties", "children"):
        members = tree.get(keyword)
        for name, told in (members if isinstance(members, Mapping) else {}).items():
            where = (*at, keyword, name)
            below = _node(told, where, problems, member=True)
            if below is not None:
                node.members[name] = below
            if isinstance(told, Mapping):
                own += _of_member(name, told, where, problems)
    if "items" in tree:
        node.items = _node(tree["items"], (*at, "items"), problems)
    most = tree.get("maxItems")
    node.many = float(most) if isinstance(most, int) else inf
    node.choices = list(_choices(tree, at, problems))
    own += _of_object(tree, at, problems)
    node.own = sorted(own, key=lambda effect: ORDER.index(effect.kind))
    return node if node.works() else None


def _misplaced(tree: Mapping[str, Any], at: _Path, *, member: bool) -> Iterator[Problem]:
    """Tell what would never work where it stands."""
    for keyword in () if member else _OF_MEMBERS:
        if keyword in tree:
            words = "works for a member of `properties` or `children` alone"
            yield Problem((*at, keyword), words)
    others = tree.get("additionalProperties", False)
    if others is not False and _node(others, at, []) is not None:
        words = "what changes a body must stand under `properties` or `children`"
        yield Problem((*at, "additionalProperties"), words)
    for keyword in ("not", "if"):
        if keyword in tree and _node(tree[keyword], at, []) is not None:
            words = "what changes a body must not stand where it only asks"
            yield Problem((*at, keyword), words)


def _choices(
    tree: Mapping[str, Any], at: _Path, problems: list[Problem]
) -> Iterator[list[_Branch]]:
    """Yield branches, in lists of those of which the first that holds may be the last."""
    if not _CHOOSING.isdisjoint(tree):
        yield from _found_choices(tree, at, problems)


def _found_choices(
    tree: Mapping[str, Any], at: _Path, problems: list[Problem]
) -> Iterator[list[_Branch]]:
    then, otherwise = (_node(tree.get(k), (*at, k), problems) for k in ("then", "else"))
    if "if" in tree and (then or otherwise):
        yield [_branch(compile_input(tree["if"], (*at, "if")), then, otherwise)]
    for index, told in enumerate(_listed(tree.get("allOf"))):
        below = _node(told, (*at, "allOf", index), problems)
        if below is not None:
            yield [_Branch(None, below)]
    for keyword in ("anyOf", "oneOf"):
        listed = _listed(tree.get(keyword))
        below_each = [_node(v, (*at, keyword, i), problems) for i, v in enumerate(listed)]
        if any(below_each):
            yield [
                _branch(compile_input(told, (*at, keyword, index)), below_each[index], first=True)
                for index, told in enumerate(listed)
            ]
    cases = tree.get("case")
    if isinstance(tree.get("switch"), str):
        yield list(_cases(tree, cases if isinstance(cases, Mapping) else {}, at, problems))


def _cases(
    tree: Mapping[str, Any], cases: Mapping[str, Any], at: _Path, problems: list[Problem]
) -> Iterator[_Branch]:
    for name, told in cases.items():
        below = _node(told, (*at, "case", name), problems)
        if below is not None:
            yield _branch(case_guard(tree["switch"], [name]), below)
    keyword = switch_default(tree)
    below = _node(tree.get(keyword), (*at, keyword), problems) if keyword else None
    if below is not None:
        yield _branch(case_guard(tree["switch"], list(cases)), None, below)


def _branch(
    schema: dict[str, Any],
    then: "_Node | None",
    otherwise: "_Node | None" = None,
    *,
    first: bool = False,
) -> _Branch:
    return _Branch(Validator(schema), then, otherwise, first, tuple(costs_of(schema, ())))


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
        if isinstance(told["formatVal"], str) and told["formatVal"] in CASTS:
            renamed = told.get("replaceKey")
            yield Effect("cast", renamed if isinstance(renamed, str) else name, told["formatVal"])
        else:
            words = f"must be one of {', '.join(CASTS)}"
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
