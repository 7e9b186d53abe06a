"""The transforms that a schema applies to a valid body: defaults, constants, names, types. Pure.

The keywords are `defaultVal`, `constVal`, `replaceKey`, `formatVal`, `setVal` and `delete`
(`docs/schemas.md`). The original changes a body while it validates it. Here the body is validated
first, as the client sent it, and then changed in the order of the original: of one object first
`setVal` and `delete`, then its members' transforms, then the rest of `TRANSFORM_ORDER`. Transforms
under `then`, `else`, a `case` or an `anyOf` are applied if that branch matches the body as it was
sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from schemas.model.document import Problem
from schemas.transforms.transforms import (
    CASTS,
    EARLY_KINDS,
    TRANSFORM_ORDER,
    CastError,
    Transform,
)
from schemas.validation.compile import (
    case_guard,
    compile_input,
    count_nodes,
    parse_count,
    switch_default_keyword,
)
from schemas.validation.cost import MIN_BODY_VALUES, Cost, max_body_values, schema_costs
from schemas.validation.explain import Violation, json_path
from schemas.validation.validate import Validator

_Path = tuple[str | int, ...]
_JsonObject = dict[str, Any]

_MAX_TRANSFORMS = 1000  # transforms of one schema
# The budget of all transforms for one body, and the cost of a visited value, a transform, each node
# of a value that a transform copies, and the evaluation of a branch guard.
_BUDGET_NS = 50e6
_NODE_NS, _TRANSFORM_NS, _COPIED_NODE_NS, _GUARD_NS = 300.0, 300.0, 100.0, 500.0
_BRANCHING_KEYWORDS = frozenset({"if", "then", "else", "allOf", "anyOf", "oneOf", "switch"})
_MEMBER_KEYWORDS = ("constVal", "defaultVal", "replaceKey", "formatVal")


@dataclass(slots=True)
class _Branch:
    """A branch: `then_node` applies if `guard` accepts a value, `else_node` if it does not.

    A `guard` of None accepts every value. If `stop_on_match` is true and the guard accepts, the
    later branches of the group are skipped. `guard_costs` are the costs of the guard's schema.
    """

    guard: Validator | None
    then_node: "_Node | None"
    else_node: "_Node | None" = None
    stop_on_match: bool = False
    guard_costs: tuple[Cost, ...] = ()


@dataclass(slots=True)
class _Node:
    """The transforms of a value: of its members or items, of its branches, and its own.

    `early_transforms` and `late_transforms` apply before and after those of the members, each
    sorted by `TRANSFORM_ORDER`, and only if the value is an object.
    """

    members: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None
    max_items: float = inf  # maximum length of an array here, for the cost
    branch_groups: list[list[_Branch]] = field(default_factory=list)
    early_transforms: list[Transform] = field(default_factory=list)
    late_transforms: list[Transform] = field(default_factory=list)

    @property
    def own_transforms(self) -> list[Transform]:
        """Return the transforms of the value itself."""
        return [*self.early_transforms, *self.late_transforms]

    def has_transforms(self) -> bool:
        """Return whether the node has anything to apply."""
        return bool(self.members or self.items or self.branch_groups or self.own_transforms)


_Step = tuple[_Path, _JsonObject, list[Transform]]


class TransformPlan:
    """The transforms of one schema; false if it has none.

    `_root` is None for a schema without transforms. If no transform is inside an array or a branch,
    their locations do not depend on the body, and `_static_plan` lists them in the order of
    application. Otherwise it is None, and `apply_in_place` walks each body.
    """

    def __init__(self, root: _Node | None) -> None:
        self._root = root
        self._static_plan = (
            _static_steps(root, ()) if root is not None and not _depends_on_body(root) else None
        )

    def __bool__(self) -> bool:
        return self._root is not None

    def apply_in_place(self, body: _JsonObject) -> tuple[Violation, ...]:
        """Apply the transforms to the valid `body` in place.

        Returns a violation for each value that a transform could not convert; the other transforms
        have been applied then. All branches are selected before the first change.
        """
        if self._root is None:
            return ()
        if self._static_plan is not None:
            steps = _locate_steps(self._static_plan, body)
        else:
            steps = list(_dynamic_steps(self._root, body, ()))
        violations: list[Violation] = []
        for path, target, transforms in steps:
            for transform in transforms:
                try:
                    transform.apply_in_place(target)
                except CastError as error:
                    member_path = json_path((*path, transform.member))
                    violations.append(Violation(member_path, str(error)))
        return tuple(violations)

    def max_body_values(self) -> int:
        """Return the number of values a body may have so that its transforms take at most 50 ms."""
        if self._root is None:
            return max_body_values(())
        return max_body_values(list(_node_costs(self._root, 1.0)), _BUDGET_NS)

    def for_member(self, member: str) -> "TransformPlan | None":
        """Return the plan of the transforms within one member of the body.

        The plan is empty if there are none. Returns None if the body has transforms of its own or
        branches at its root: those may depend on other members.
        """
        root = self._root
        if root is None:
            return self
        if root.own_transforms or root.branch_groups or root.items:
            return None
        node = root.members.get(member)
        return TransformPlan(_Node({member: node}) if node is not None else None)

    def list_transforms(self) -> list[tuple[_Path, Transform]]:
        """Return every transform with the path of the object it applies to.

        Transforms of all branches are included. A "*" in a path stands for the index of an item.
        """
        return list(_walk_transforms(self._root, ())) if self._root is not None else []


def compile_transforms(
    tree: Mapping[str, Any], path: _Path = ("schemainput",)
) -> tuple[TransformPlan, list[Problem]]:
    """Return the transforms of a schema and their problems.

    `tree` must be a schema that `compile_input` accepts, and `path` is its location.
    """
    problems: list[Problem] = []
    root = _compile_node(tree, path, problems)
    plan = TransformPlan(root)
    if len(plan.list_transforms()) > _MAX_TRANSFORMS:
        problems.append(Problem(path, f"has more than {_MAX_TRANSFORMS} effects"))
    elif root is not None and not problems:
        total_ns = sum(
            node_cost.worst_case_ns(MIN_BODY_VALUES) for node_cost in _node_costs(root, 1.0)
        )
        if total_ns > _BUDGET_NS:
            message = f"its effects could cost {total_ns / 1e6:,.0f} ms for one body"
            hint = "bound how many values they can meet: maxItems of the array around them"
            problems.append(Problem(path, message, hint))
    return plan, problems


def _node_costs(node: _Node, value_count: float) -> Iterator[Cost]:
    """Yield the costs of the transforms of a node that can meet `value_count` values."""
    yield Cost((), _NODE_NS, value_count)
    for transform in node.own_transforms:
        yield Cost((), _TRANSFORM_NS + _COPIED_NODE_NS * count_nodes(transform.value), value_count)
    for member in node.members.values():
        yield from _node_costs(member, value_count)
    if node.items is not None:
        yield from _node_costs(
            node.items, value_count * node.max_items if value_count and node.max_items else 0.0
        )
    for branch in [branch for group in node.branch_groups for branch in group]:
        yield Cost((), _GUARD_NS, value_count)
        for guard_cost in branch.guard_costs:
            yield replace(
                guard_cost,
                max_values=value_count * guard_cost.max_values
                if value_count and guard_cost.max_values
                else 0.0,
            )
        for branch_node in (branch.then_node, branch.else_node):
            if branch_node is not None:
                yield from _node_costs(branch_node, value_count)


def _depends_on_body(node: _Node) -> bool:
    """Return whether the locations of a node's transforms depend on the body."""
    return bool(node.items or node.branch_groups) or any(
        map(_depends_on_body, node.members.values())
    )


def _static_steps(node: _Node, path: _Path) -> list[tuple[_Path, list[Transform]]]:
    nested_steps = [
        step
        for name, member in node.members.items()
        for step in _static_steps(member, (*path, name))
    ]
    early_step, late_step = (path, node.early_transforms), (path, node.late_transforms)
    return [step for step in (early_step, *nested_steps, late_step) if step[1]]


def _locate_steps(plan: list[tuple[_Path, list[Transform]]], body: _JsonObject) -> list[_Step]:
    """Return the steps of a static plan whose target is an object in `body`.

    All targets are located before the first change.
    """
    steps: list[_Step] = []
    for path, transforms in plan:
        target: Any = body
        for name in path:
            target = target.get(name) if type(target) is dict else None
        if type(target) is dict:
            steps.append((path, target, transforms))
    return steps


def _dynamic_steps(node: _Node, value: Any, path: _Path) -> Iterator[_Step]:
    """Yield the steps for `value` in order. The caller must not change it before the last step."""
    if isinstance(value, dict) and node.early_transforms:
        yield path, value, node.early_transforms
    if isinstance(value, dict):
        for name, member in node.members.items():
            if name in value:
                yield from _dynamic_steps(member, value[name], (*path, name))
    elif isinstance(value, list) and node.items is not None:
        for index, item in enumerate(value):
            yield from _dynamic_steps(node.items, item, (*path, index))
    for group in node.branch_groups:
        for branch in group:
            holds = branch.guard is None or branch.guard.is_valid(value)
            branch_node = branch.then_node if holds else branch.else_node
            if branch_node is not None:
                yield from _dynamic_steps(branch_node, value, path)
            if holds and branch.stop_on_match:
                break
    if isinstance(value, dict) and node.late_transforms:
        yield path, value, node.late_transforms


def _walk_transforms(node: _Node, path: _Path) -> Iterator[tuple[_Path, Transform]]:
    for name, member in node.members.items():
        yield from _walk_transforms(member, (*path, name))
    if node.items is not None:
        yield from _walk_transforms(node.items, (*path, "*"))
    for branch in [branch for group in node.branch_groups for branch in group]:
        for branch_node in (branch.then_node, branch.else_node):
            if branch_node is not None:
                yield from _walk_transforms(branch_node, path)
    for transform in node.own_transforms:
        yield path, transform


def _compile_node(
    tree: Any, path: _Path, problems: list[Problem], *, is_member: bool = False
) -> _Node | None:
    """Return the transforms of a schema, None if it has none, and append problems to `problems`.

    `is_member` states that it is the schema of an object member. Some keywords are allowed only
    there.
    """
    if isinstance(tree, list):
        tree = {"anyOf": tree}
    if not isinstance(tree, Mapping):
        return None
    problems += _misplaced_keywords(tree, path, is_member=is_member)
    node = _Node()
    own_transforms: list[Transform] = []
    for keyword in ("properties", "children"):
        members = tree.get(keyword)
        for name, member_schema in (members if isinstance(members, Mapping) else {}).items():
            member_path = (*path, keyword, name)
            member_node = _compile_node(member_schema, member_path, problems, is_member=True)
            if member_node is not None:
                node.members[name] = member_node
            if isinstance(member_schema, Mapping):
                own_transforms += _member_transforms(name, member_schema, member_path, problems)
    if "items" in tree:
        node.items = _compile_node(tree["items"], (*path, "items"), problems)
    max_items = parse_count(tree.get("maxItems"))
    node.max_items = float(max_items) if max_items is not None else inf
    node.branch_groups = list(_branch_groups(tree, path, problems))
    own_transforms += _object_transforms(tree, path, problems)
    own_transforms.sort(key=lambda transform: TRANSFORM_ORDER.index(transform.kind))
    node.early_transforms = [t for t in own_transforms if t.kind in EARLY_KINDS]
    node.late_transforms = [t for t in own_transforms if t.kind not in EARLY_KINDS]
    return node if node.has_transforms() else None


def _misplaced_keywords(
    tree: Mapping[str, Any], path: _Path, *, is_member: bool
) -> Iterator[Problem]:
    """Yield a problem for each transform keyword in a location where it would have no effect."""
    for keyword in () if is_member else _MEMBER_KEYWORDS:
        if keyword in tree:
            message = "works for a member of `properties` or `children` alone"
            yield Problem((*path, keyword), message)
    additional = tree.get("additionalProperties", False)
    if additional is not False and _compile_node(additional, path, []) is not None:
        message = "a keyword that changes the body must be under `properties` or `children`"
        yield Problem((*path, "additionalProperties"), message)
    for keyword in ("not", "if"):
        if keyword in tree and _compile_node(tree[keyword], path, []) is not None:
            message = "a keyword that changes the body is not allowed in a condition"
            yield Problem((*path, keyword), message)


def _branch_groups(
    tree: Mapping[str, Any], path: _Path, problems: list[Problem]
) -> Iterator[list[_Branch]]:
    """Yield the groups of branches of a schema, each in the order of evaluation.

    A branch with `stop_on_match` ends the evaluation of its own group only.
    """
    if not _BRANCHING_KEYWORDS.isdisjoint(tree):
        yield from _compile_branch_groups(tree, path, problems)


def _compile_branch_groups(
    tree: Mapping[str, Any], path: _Path, problems: list[Problem]
) -> Iterator[list[_Branch]]:
    then_node, else_node = (
        _compile_node(tree.get(k), (*path, k), problems) for k in ("then", "else")
    )
    if "if" in tree and (then_node or else_node):
        yield [_make_branch(compile_input(tree["if"], (*path, "if")), then_node, else_node)]
    for index, subschema in enumerate(_as_list(tree.get("allOf"))):
        node = _compile_node(subschema, (*path, "allOf", index), problems)
        if node is not None:
            yield [_Branch(None, node)]
    for keyword in ("anyOf", "oneOf"):
        subschemas = _as_list(tree.get(keyword))
        nodes = [_compile_node(v, (*path, keyword, i), problems) for i, v in enumerate(subschemas)]
        if any(nodes):
            yield [
                _make_branch(
                    compile_input(subschema, (*path, keyword, index)),
                    nodes[index],
                    stop_on_match=True,
                )
                for index, subschema in enumerate(subschemas)
            ]
    cases = tree.get("case")
    if isinstance(tree.get("switch"), str):
        yield list(
            _case_branches(tree, cases if isinstance(cases, Mapping) else {}, path, problems)
        )


def _case_branches(
    tree: Mapping[str, Any], cases: Mapping[str, Any], path: _Path, problems: list[Problem]
) -> Iterator[_Branch]:
    for name, case_schema in cases.items():
        node = _compile_node(case_schema, (*path, "case", name), problems)
        if node is not None:
            yield _make_branch(case_guard(tree["switch"], [name]), node)
    keyword = switch_default_keyword(tree)
    node = _compile_node(tree.get(keyword), (*path, keyword), problems) if keyword else None
    if node is not None:
        yield _make_branch(case_guard(tree["switch"], list(cases)), None, node)


def _make_branch(
    schema: dict[str, Any],
    then_node: "_Node | None",
    else_node: "_Node | None" = None,
    *,
    stop_on_match: bool = False,
) -> _Branch:
    return _Branch(
        Validator(schema), then_node, else_node, stop_on_match, tuple(schema_costs(schema, ()))
    )


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _member_transforms(
    name: str, member_schema: Mapping[str, Any], path: _Path, problems: list[Problem]
) -> Iterator[Transform]:
    """Yield the transforms that a member's schema applies to the object that contains it."""
    for keyword in ("defaultVal", "default"):
        if keyword in member_schema and not (keyword == "default" and "switch" in member_schema):
            yield Transform("default", name, member_schema[keyword])
            break
    if "constVal" in member_schema:
        yield Transform("const", name, member_schema["constVal"])
    if "replaceKey" in member_schema:
        if isinstance(member_schema["replaceKey"], str) and member_schema["replaceKey"]:
            yield Transform("rename", name, member_schema["replaceKey"])
        else:
            problems.append(Problem((*path, "replaceKey"), "must be a text: the new name"))
    if "formatVal" in member_schema:
        if isinstance(member_schema["formatVal"], str) and member_schema["formatVal"] in CASTS:
            new_name = member_schema.get("replaceKey")
            yield Transform(
                "cast", new_name if isinstance(new_name, str) else name, member_schema["formatVal"]
            )
        else:
            message = f"must be one of {', '.join(CASTS)}"
            problems.append(Problem((*path, "formatVal"), message))


def _object_transforms(
    tree: Mapping[str, Any], path: _Path, problems: list[Problem]
) -> Iterator[Transform]:
    assignments = tree.get("setVal", {})
    if not isinstance(assignments, Mapping):
        problems.append(Problem((*path, "setVal"), "must be an object"))
        assignments = {}
    for name, value in assignments.items():
        if isinstance(value, Mapping) and "func" in value:
            message = "functions are not supported: a value, or ${member}"
            problems.append(Problem((*path, "setVal", name), message))
        else:
            yield Transform("set", name, value)
    names = tree.get("delete", [])
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        yield from (Transform("delete", name) for name in names)
    else:
        problems.append(Problem((*path, "delete"), "must be a list of names"))
