"""How a gRPC call ended, in the words of the error table. Pure."""

import re
from typing import Final

from rpc.status import RpcError, Status
from schemas.model.errors import (
    DEADLINE,
    LOADER_FULL,
    LOADER_LOST,
    UNREACHABLE,
    AseError,
    ErrorSpec,
)

# As a word of its own: a length in some other refusal may hold the digits too.
_FULL_PATTERN: Final = re.compile(rf"\b{LOADER_FULL.code}\b")


def to_ase_error(error: RpcError) -> AseError:
    """Return what the end of a call to a loader means: 10110, 10222 or 10102."""
    error_spec = _error_spec(error)
    return AseError(error_spec, _message(error, error_spec))


def _error_spec(error: RpcError) -> ErrorSpec:
    if not error.sent:
        return UNREACHABLE
    if error.status is Status.DEADLINE_EXCEEDED:
        return DEADLINE
    if error.status is Status.RESOURCE_EXHAUSTED and _FULL_PATTERN.search(error.details):
        return LOADER_FULL
    return LOADER_LOST


def _message(error: RpcError, error_spec: ErrorSpec) -> str:
    """Say what happened in the table's words; details of the transport are not for the caller."""
    use_default = error_spec is not LOADER_LOST or error.status is Status.UNAVAILABLE
    return "" if use_default else f"loader call ended with {error.status.name}"
