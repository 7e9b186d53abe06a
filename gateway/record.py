"""What is noted of one request on its way, for its headers, its log line and its metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Record:
    """One request.

    `accepted` and `received` (when the body was whole) are seconds of the gateway's clock,
    `upstream` the seconds spent waiting for loaders. `service` is empty until one was found;
    `code` and `status` stand once it was answered.
    """

    sid: str
    accepted: float
    method: str = ""
    path: str = ""
    client: str = ""
    received: float = 0.0
    service: str = ""
    code_map: Mapping[int, int] = field(default_factory=dict)
    instance: str = ""
    attempts: int = 0
    retried: list[str] = field(default_factory=list)
    upstream: float = 0.0
    code: int = 0
    status: int = 0
    fault: str = ""
    detail: str = ""
    answered: float = 0.0

    @property
    def overhead(self) -> float:
        """Return the seconds the gateway itself took, receiving the body not counted."""
        return max(0.0, self.answered - (self.received or self.accepted) - self.upstream)
