"""What a call of a position may raise. Values only."""


class InferenceError(Exception):
    """A call that has no result; `str()` says why.

    `status` is the HTTP status, 0 if there was no answer; `code` is that of the gateway's table of
    errors, 0 if the answer has none.
    """

    def __init__(self, message: str, status: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class InputRefusedError(InferenceError):
    """The value is not what the model takes; the same call fails again."""


class CredentialError(InferenceError):
    """The application's token is not accepted, or is not for the position."""


class UnavailableError(InferenceError):
    """No replica of the model had a place for the call in time, or the edge was not reached.

    The model has not run. `retry_after` are the seconds after which the gateway would have it
    tried again.
    """

    def __init__(
        self, message: str, status: int = 0, code: int = 0, retry_after: float = 1.0
    ) -> None:
        super().__init__(message, status, code)
        self.retry_after = retry_after
