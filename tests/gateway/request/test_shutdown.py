"""The last error of what a stopping gateway ends: a deadline, so that a client may try again."""

from gateway.request.shutdown import drain_timeout_error, shutdown_error
from schemas.model.errors import DEADLINE


def test_shutdown_errors_are_deadline_errors() -> None:
    for error in (drain_timeout_error(), shutdown_error()):
        assert error.spec is DEADLINE
        assert str(error).startswith("the gateway stops")
    assert str(drain_timeout_error()) != str(shutdown_error())
