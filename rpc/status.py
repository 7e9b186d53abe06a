"""gRPC status codes and the errors of failed calls. Values only."""

from enum import IntEnum


class Status(IntEnum):
    """The gRPC status codes, with their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """The error of a call that ended with a status other than OK.

    `may_have_run` is False if the peer certainly did not process the request: it was not sent, or
    the peer
    refused the stream unprocessed. The call may then be retried at another server.
    """

    def __init__(self, status: Status, details: str = "", *, may_have_run: bool = True) -> None:
        super().__init__(f"{status.name}: {details}" if details else status.name)
        self.status = status
        self.details = details
        self.may_have_run = may_have_run


class MessageTooLargeError(RpcError):
    """A received message, or what it decompresses to, is larger than `limit` bytes."""

    def __init__(self, details: str, limit: int) -> None:
        super().__init__(Status.RESOURCE_EXHAUSTED, details)
        self.limit = limit
