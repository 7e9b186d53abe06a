"""What the start of a gateway says about who reaches what."""

import pytest

from config.options import AppOptions, AuthOptions, Config, GatewayOptions, LbOptions
from gateway.access.exposure import describe_exposure


def test_default_is_this_machine() -> None:
    assert describe_exposure(Config()) == {
        "clients": "this machine, http",
        "callers": "anyone",
        "admin": "this machine",
        "loaders": "this machine, with no proof",
    }


@pytest.mark.parametrize(
    ("methods", "callers"),
    [
        (["key"], "with key"),
        (["key", "jwt"], "with key or jwt"),
        (["none"], "anyone"),
        (["none", "key"], "anyone; or key"),
        (["mtls"], "with mtls (any name)"),
    ],
)
def test_callers(methods: list[str], callers: str) -> None:
    assert describe_exposure(Config(auth=AuthOptions(methods)))["callers"] == callers


def test_whose_certificates_are_taken_and_who_reads_the_admin_port() -> None:
    config = Config(
        auth=AuthOptions(["mtls"]),
        apps={"a": AppOptions(certificates=["x"])},
        gateway=GatewayOptions(admin_token="t"),
    )
    exposure = describe_exposure(config)
    assert exposure["callers"] == "with mtls (names of apps)"
    assert exposure["admin"] == "this machine, with a token"


def test_what_the_network_reaches() -> None:
    config = Config(
        gateway=GatewayOptions(host="0.0.0.0", admin_host="10.0.0.1", tls_cert="cert.pem"),
        lb=LbOptions(host="::", token="t", tls_ca="ca.pem"),
    )
    assert describe_exposure(config) == {
        "clients": "the network of 0.0.0.0, https",
        "callers": "anyone",
        "admin": "the network of 10.0.0.1",
        "loaders": "the network of ::, with token and mTLS",
    }


def test_hub_elsewhere_says_for_itself_who_may_report() -> None:
    assert "loaders" not in describe_exposure(Config(lb=LbOptions(hub="h:1")))
