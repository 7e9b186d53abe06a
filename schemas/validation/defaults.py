"""Defaults that break the rules of their own member. Pure.

A default is put into a request after its validation, so the loader would receive what no client may
send.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from schemas.model.document import DocumentPath, Problem
from schemas.validation.validate import Validator

# A schema of these keywords alone accepts anything.
_ANNOTATIONS = frozenset({"title", "description", "$comment", "examples", "default", "$schema"})


def check_defaults(schema: Mapping[str, Any], path: DocumentPath) -> list[Problem]:
    """Return a problem for each `default` in the compiled `schema` that its own schema rejects.

    `path` is the location of the schema. The first broken rule is named.
    """
    problems = []
    for member, member_path in _members_with_default(schema, path):
        rules = {keyword: member[keyword] for keyword in member.keys() - {"default"}}
        if not rules.keys() - _ANNOTATIONS:
            continue
        violations = Validator(rules).violations(member["default"])
        if violations:
            message = f"breaks the rules of its own member: {violations[0].rule}"
            problems.append(Problem((*member_path, "default"), message))
    return problems


def _members_with_default(
    schema: object, path: DocumentPath
) -> Iterator[tuple[Mapping[str, Any], DocumentPath]]:
    """Yield each schema with a default among the members of `schema`, and its location."""
    if not isinstance(schema, Mapping):
        return
    if "default" in schema:
        yield schema, path
    for name, member in schema.get("properties", {}).items():
        yield from _members_with_default(member, (*path, "properties", name))
    for keyword in ("items", "then", "else"):
        yield from _members_with_default(schema.get(keyword), (*path, keyword))
    for keyword in ("allOf", "anyOf"):
        for index, part in enumerate(schema.get(keyword, ())):
            yield from _members_with_default(part, (*path, keyword, index))
