"""A schema made ready to judge bodies, and to change those that are valid as it says. Pure."""

from collections.abc import Mapping
from typing import Any

from schemas import effects
from schemas.compile import compile_input
from schemas.cost import check, costs_of, most_values
from schemas.document import DocumentError, Path
from schemas.explain import Violation
from schemas.validate import Validator


class Judge:
    """The judge of one schemainput. Raises DocumentError with all that is wrong with it.

    `at` is where it stands, for messages. `schema` is what it compiles to: JSON Schema 2020-12, for
    who has to read it. `max_values` is how many values a body may have to be judged in 100 ms,
    `changes` whether a body may be changed, `apart` whether its payload is by `judge_payload`.
    """

    def __init__(self, tree: Mapping[str, Any], at: Path = ("schemainput",)) -> None:
        self.schema = compile_input(tree, at)
        costs = costs_of(self.schema, at)
        problems = check(costs)
        if problems:
            raise DocumentError(problems)
        self._validator = Validator(self.schema, at)
        changes, problems = effects.read(tree, at)
        if problems:
            raise DocumentError(problems)
        self._effects = changes or None
        self._on_payload = changes.of("payload")
        self.changes = bool(changes)
        self.apart = self._on_payload is not None
        self.max_values = min(most_values(costs), changes.most_values())

    def check(self, body: dict[str, Any]) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body, which stays as it is."""
        return self._validator.violations(body)

    def judge(self, body: dict[str, Any], ascii_only: bool = False, /) -> tuple[Violation, ...]:
        """Return the first 20 violations of a body; when there are none, it was changed in place.

        `ascii_only`: no text in it has a character beyond ASCII.
        """
        found = self._validator.violations(body, ascii_only)
        if found or self._effects is None:
            return found
        return self._effects.apply(body)

    def judge_payload(
        self, body: dict[str, Any], ascii_only: bool = False, /
    ) -> tuple[Violation, ...]:
        """Judge a body; when it is valid, only its payload was changed.

        It is for the frames of a session: the changes to a header and parameters that stay as they
        are were made with the first. Where the payload is not `apart` there is no telling them so.
        """
        found = self._validator.violations(body, ascii_only)
        if found or not self._on_payload:
            return found
        return self._on_payload.apply(body)
