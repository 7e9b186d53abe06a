"""The mapping from gRPC errors of loader calls to rows of the error table. Pure."""

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

# A whole word: another message of RESOURCE_EXHAUSTED may have a length with these digits.
_FULL_PATTERN: Final = re.compile(rf"\b{LOADER_FULL.code}\b")


def to_ase_error(error: RpcError) -> AseError:
    """Return the error for a failed call to a loader.

    - 10222 (unreachable) if the loader did not process the call.
    - 10102 if the deadline passed.
    - 10110 if the loader reported with RESOURCE_EXHAUSTED that it is full.
    - 10222 (lost) otherwise.
    """
    error_spec = _error_spec(error)
    return AseError(error_spec, _message(error, error_spec))


def _error_spec(error: RpcError) -> ErrorSpec:
    if not error.may_have_run:
        return UNREACHABLE
    if error.status is Status.DEADLINE_EXCEEDED:
        return DEADLINE
    if error.status is Status.RESOURCE_EXHAUSTED and _FULL_PATTERN.search(error.details):
        return LOADER_FULL
    return LOADER_LOST


def _message(error: RpcError, error_spec: ErrorSpec) -> str:
    """Return the message, "" for the default of the table. Transport details are not exposed."""
    use_default = error_spec is not LOADER_LOST or error.status is Status.UNAVAILABLE
    return "" if use_default else f"loader call ended with {error.status.name}"
