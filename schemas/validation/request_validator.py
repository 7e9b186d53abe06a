"""Validation of request bodies, and the transforms that a schema applies to valid ones. Pure."""

from collections.abc import Mapping
from typing import Any

from schemas.model.document import DocumentError, DocumentPath
from schemas.transforms import plan
from schemas.validation.compile import compile_input
from schemas.validation.cost import check_costs, max_body_values, schema_costs
from schemas.validation.defaults import check_defaults
from schemas.validation.explain import Violation
from schemas.validation.validate import Validator


class RequestValidator:
    """The compiled validator and transforms of one schemainput.

    `path` is the location of the schemainput `tree` in its document, for messages. Raises
    DocumentError with every problem of the schema.

    Attributes:
        schema: the JSON Schema 2020-12 that `tree` compiles to.
        max_values: the number of JSON values a body may have so that validation stays within its
            budget of 80 ms and the transforms within theirs of 50 ms.
        has_transforms: whether the schema can change a body.
        has_independent_payload: whether the transforms of the payload do not depend on the rest
            of the body, so that `validate_and_transform_payload` may be used.
    """

    def __init__(self, tree: Mapping[str, Any], path: DocumentPath = ("schemainput",)) -> None:
        self.schema = compile_input(tree, path)
        costs = schema_costs(self.schema, path)
        problems = check_costs(costs)
        if problems:
            raise DocumentError(problems)
        problems = check_defaults(self.schema, path)
        if problems:
            raise DocumentError(problems)
        self._validator = Validator(self.schema, path)
        transform_plan, problems = plan.compile_transforms(tree, path)
        if problems:
            raise DocumentError(problems)
        self._transforms = transform_plan or None
        self._payload_transforms = transform_plan.for_member("payload")
        self.has_transforms = bool(transform_plan)
        self.has_independent_payload = self._payload_transforms is not None
        self.max_values = min(max_body_values(costs), transform_plan.max_body_values())

    def validate(self, body: dict[str, Any]) -> tuple[Violation, ...]:
        """Return the first 20 violations of `body`, without changing it."""
        return self._validator.violations(body)

    def validate_and_transform(
        self, body: dict[str, Any], ascii_only: bool = False, /
    ) -> tuple[Violation, ...]:
        """Validate `body` and, if it is valid, apply the transforms in place.

        Returns the first 20 violations; an invalid body is not changed. If a valid body has values
        that a transform cannot convert, the violations name them and the body is partly changed.
        `ascii_only` states that every string in `body` is ASCII.
        """
        violations = self._validator.violations(body, ascii_only)
        if violations or self._transforms is None:
            return violations
        return self._transforms.apply_in_place(body)

    def validate_and_transform_payload(
        self, body: dict[str, Any], ascii_only: bool = False, /
    ) -> tuple[Violation, ...]:
        """Validate `body` and, if it is valid, apply only the transforms of its payload in place.

        Meant for session frames whose header and parameters repeat those of an earlier frame, which
        was transformed as a whole. If `has_independent_payload` is false, this method only
        validates: the payload cannot then be transformed separately.
        """
        violations = self._validator.violations(body, ascii_only)
        if violations or not self._payload_transforms:
            return violations
        return self._payload_transforms.apply_in_place(body)
