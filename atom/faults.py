"""How a gRPC call ended, in the words of the error table. Pure."""

import re
from typing import Final

from rpc.status import RpcError, Status
from schemas.errors import DEADLINE, LOADER_FULL, LOADER_LOST, UNREACHABLE, AseError, ErrorSpec

# As a word of its own: a length in some other refusal may hold the digits too.
_SAYS_FULL: Final = re.compile(rf"\b{LOADER_FULL.code}\b")


def fault_of(error: RpcError) -> AseError:
    """Return what the end of a call to a loader means: 10110, 10222 or 10102."""
    fault = _fault(error)
    return AseError(fault, _words(error, fault))


def _fault(error: RpcError) -> ErrorSpec:
    if not error.sent:
        return UNREACHABLE
    if error.status is Status.DEADLINE_EXCEEDED:
        return DEADLINE
    if error.status is Status.RESOURCE_EXHAUSTED and _SAYS_FULL.search(error.details):
        return LOADER_FULL
    return LOADER_LOST


def _words(error: RpcError, fault: ErrorSpec) -> str:
    """Say what happened in the table's words; details of the transport are not for the caller."""
    plain = fault is not LOADER_LOST or error.status is Status.UNAVAILABLE
    return "" if plain else f"loader call ended with {error.status.name}"
