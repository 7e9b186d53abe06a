"""What a check has found."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Level(Enum):
    """How bad a result is: FAILED makes the command fail, WARNING does not."""

    OK = "ok"
    WARNING = "warn"
    FAILED = "FAIL"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check of a `subject`: what is so, and the cure if it is not well."""

    level: Level
    subject: str
    text: str
    cure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the members by name; the level in lower case."""
        return {**asdict(self), "level": self.level.value.lower()}


def format_results(results: Sequence[CheckResult]) -> list[str]:
    """Return the lines of a report: one for each result, one for its cure, and the sum."""
    width = max((len(result.subject) for result in results), default=0)
    lines = []
    for result in results:
        lines.append(f"{result.level.value:<4}  {result.subject:<{width}}  {result.text}")
        if result.cure:
            lines.append(f"      {'':<{width}}  {result.cure}")
    failed = sum(result.level is Level.FAILED for result in results)
    warnings = sum(result.level is Level.WARNING for result in results)
    return [*lines, f"{len(results)} checks: {failed} failed, {warnings} warnings"]
