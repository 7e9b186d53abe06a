"""What OpenAPI says of the ways in which callers prove who they are."""

import pytest

from config.options import AUTH_METHODS
from schemas.output.security_schemes import security_requirements, security_schemes, takes_bearer


@pytest.mark.parametrize(
    ("methods", "requirements", "bearer"),
    [
        ([], [], False),
        (["none"], [], False),
        (["proxy"], [], False),
        (["key"], [{"key": []}], True),
        (["jwt", "mtls"], [{"jwt": []}, {"mtls": []}], True),
        (["mtls"], [{"mtls": []}], False),
        (["hmac"], [{"hmac": []}], False),
        (["key", "none"], [{"key": []}, {}], False),
        (["key", "proxy"], [{"key": []}, {}], False),
    ],
)
def test_requirements(methods: list[str], requirements: list[object], bearer: bool) -> None:
    assert security_requirements(methods) == requirements
    assert takes_bearer(methods) is bearer


def test_every_method_that_a_client_can_use_has_a_scheme() -> None:
    assert security_schemes(AUTH_METHODS).keys() == set(AUTH_METHODS) - {"proxy", "none"}
