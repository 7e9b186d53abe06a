"""The last error of what a stopping gateway ends: a deadline, so that a client may try again."""

from gateway.request.shutdown import drain_timeout_error, shutdown_error
from schemas.model.errors import DEADLINE


def test_both_are_deadlines_and_say_that_the_gateway_stops() -> None:
    for error in (drain_timeout_error(), shutdown_error()):
        assert error.spec is DEADLINE
        assert str(error).startswith("the gateway stops")
    assert str(drain_timeout_error()) != str(shutdown_error())
