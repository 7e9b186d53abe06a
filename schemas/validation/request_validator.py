"""A schema made ready to judge bodies, and to change those that are valid as it says. Pure."""

from collections.abc import Mapping
from typing import Any

from schemas.model.document import DocumentError, DocumentPath
from schemas.transforms import plan
from schemas.validation.compile import compile_input
from schemas.validation.cost import check_costs, max_body_values, schema_costs
from schemas.validation.explain import Violation
from schemas.validation.validate import Validator


class RequestValidator:
    """The judge of one schemainput. Raises DocumentError with all that is wrong with it.

    `at` is where it stands, for messages. `schema` is what it compiles to: JSON Schema 2020-12, for
    who has to read it. `max_values` is how many values a body may have to be judged in 100 ms,
    `changes` whether a body may be changed, `apart` whether its payload is by `judge_payload`.
    """

    def __init__(self, tree: Mapping[str, Any], path: DocumentPath = ("schemainput",)) -> None:
        self.schema = compile_input(tree, path)
        costs = schema_costs(self.schema, path)
        problems = check_costs(costs)
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
        """Return the first 20 violations of a body, which stays as it is."""
        return self._validator.violations(body)

    def validate_and_transform(
        self, body: dict[str, Any], ascii_only: bool = False, /
    ) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body; when there are none, it was changed in place.

        `ascii_only`: no text in it has a character beyond ASCII.
        """
        violations = self._validator.violations(body, ascii_only)
        if violations or self._transforms is None:
            return violations
        return self._transforms.apply_in_place(body)

    def validate_and_transform_payload(
        self, body: dict[str, Any], ascii_only: bool = False, /
    ) -> tuple[Violation, ...]:
        """Judge a body; when it is valid, only its payload was changed.

        It is for the frames of a session: the changes to a header and parameters that stay as they
        are were made with the first. Where the payload is not `apart` there is no telling them so.
        """
        violations = self._validator.violations(body, ascii_only)
        if violations or not self._payload_transforms:
            return violations
        return self._payload_transforms.apply_in_place(body)
