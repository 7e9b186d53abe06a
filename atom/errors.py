"""The mapping from gRPC errors of loader calls to rows of the error table. Pure."""

import re
from typing import Final

from rpc.status import MessageTooLargeError, RpcError, Status
from schemas.model.errors import (
    DEADLINE,
    LOADER_FULL,
    LOADER_LOST,
    OUTPUT_TOO_LARGE,
    REQUEST_TOO_LARGE,
    UNREACHABLE,
    AseError,
    ErrorSpec,
)

# How servers report a message above their limit: the core and Go ("larger than max (5 vs. 4)"),
# Java ("exceeds maximum size 4: 5"), tonic ("length too large: found 5 bytes, the limit is: 4").
_TOO_LARGE_PATTERN: Final = re.compile(
    r"message (?:after decompression )?(?:larger than max|exceeds maximum size|length too large)"
)
_SENT_PATTERN: Final = re.compile(r"\b(?:send|sent|encoded)\b", re.IGNORECASE)
_SIZES_PATTERN: Final = re.compile(r"\((\d{1,20}) vs\. (\d{1,20})\)")
_LIMIT_STATUSES: Final = (Status.RESOURCE_EXHAUSTED, Status.OUT_OF_RANGE)
# A whole word: another message of RESOURCE_EXHAUSTED may have a length with these digits.
_FULL_PATTERN: Final = re.compile(rf"\b{LOADER_FULL.code}\b")


def to_ase_error(error: RpcError) -> AseError:
    """Return the error for a failed call to a loader.

    - 10106 (too large) if the response exceeds a limit of ours, or what the loader may send.
    - 10163 (too large) if the request exceeds the loader's limit.
    - 10222 (unreachable) if the loader did not process the call.
    - 10102 if the deadline passed.
    - 10110 if the loader reported with RESOURCE_EXHAUSTED that it is full.
    - 10222 (lost) otherwise.
    """
    error_spec = _error_spec(error)
    return AseError(error_spec, _message(error, error_spec))


def _error_spec(error: RpcError) -> ErrorSpec:
    if isinstance(error, MessageTooLargeError):
        return OUTPUT_TOO_LARGE
    if error.status in _LIMIT_STATUSES and _TOO_LARGE_PATTERN.search(error.details):
        return OUTPUT_TOO_LARGE if _SENT_PATTERN.search(error.details) else REQUEST_TOO_LARGE
    if not error.may_have_run:
        return UNREACHABLE
    if error.status is Status.DEADLINE_EXCEEDED:
        return DEADLINE
    if error.status is Status.RESOURCE_EXHAUSTED and _FULL_PATTERN.search(error.details):
        return LOADER_FULL
    return LOADER_LOST


def _message(error: RpcError, error_spec: ErrorSpec) -> str:
    """Return the message, "" for the default of the table. Transport details are not exposed."""
    if isinstance(error, MessageTooLargeError):
        return f"the output has {error.details}; `gateway.max_output` is {error.limit}"
    if error_spec in (REQUEST_TOO_LARGE, OUTPUT_TOO_LARGE):
        sizes = _SIZES_PATTERN.search(error.details)
        subject = "request" if error_spec is REQUEST_TOO_LARGE else "output"
        detail = f": {sizes[1]} bytes, and it takes {sizes[2]}" if sizes else ""
        cure = "; `--max-message` of `asectl loader run` sets it"
        return f"the {subject} is larger than the loader's limit of a message{detail}{cure}"
    use_default = error_spec is not LOADER_LOST or error.status is Status.UNAVAILABLE
    return "" if use_default else f"loader call ended with {error.status.name}"
