"""The caller of a request, and the services that it may call."""

import pytest

from gateway.access.identity import ANONYMOUS, Identity
from schemas.model.errors import SERVICE_NOT_ALLOWED, AseError


def test_caller_without_a_list_may_call_every_service() -> None:
    ANONYMOUS.check_service("echo")
    Identity("shop", services=frozenset({"echo", "ocr"})).check_service("echo")


def test_other_services_are_refused_by_name() -> None:
    identity = Identity("shop", "k1", frozenset({"ocr"}), "key")
    with pytest.raises(AseError, match="this key credential is not for echo") as caught:
        identity.check_service("echo")
    assert caught.value.spec is SERVICE_NOT_ALLOWED


def test_a_key_of_the_registry_calls_no_service_that_it_does_not_name() -> None:
    roles = frozenset({"reader"})
    with pytest.raises(AseError):
        Identity("ops", "k1", method="key", roles=roles).check_service("probe")
    Identity("ops", "k1", frozenset({"probe"}), "key", roles=roles).check_service("probe")
