"""Why the registry refuses something. Values only."""

from enum import StrEnum


class Refusal(StrEnum):
    """The kinds of refusals; each has an HTTP status and a gRPC status at the edge."""

    INVALID = "invalid"  # a name, a file or a rule is wrong
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"  # somebody else has changed it meanwhile
    PRECONDITION = "precondition"  # not in this state: nothing to publish, no gray release
    BREAKING = "breaking"  # clients of an API would break
    FORBIDDEN = "forbidden"
    UNAUTHENTICATED = "unauthenticated"
    UNAVAILABLE = "unavailable"  # the store cannot be written now


class RegistryError(Exception):
    """A refusal: `kind`, what was wrong as `str()`, and `cure`, what to do about it, or ""."""

    def __init__(self, kind: Refusal, message: str, cure: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.cure = cure
