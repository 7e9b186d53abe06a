"""Commands that ask for services: what answers may be no gateway, and a page of any kind."""

import argparse

import httpx
import pytest

from asectl import gateway_apis
from asectl.api import list as api_list
from asectl.api import show
from asectl.main import Failure
from tests.asectl.test_call import DOCUMENT, OddServer, server

__all__ = ["server"]  # the fixture


def run_command(command: object, odd_server: type[OddServer], *argv: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)  # type: ignore[attr-defined]
    url: str = odd_server.url  # type: ignore[attr-defined]
    code: int = command.run(parser.parse_args([*argv, "--url", url]))  # type: ignore[attr-defined]
    return code


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "is not JSON; is it a gateway"),
        (200, b"[" * 100_000, "is not JSON"),
        (502, b"", r"HTTP 502\) is not JSON"),
        (200, b"[]", "is no list of services"),
        (200, b"5", "is no list of services"),
        (200, b'{"apis": 5}', "is no list of services"),
        (200, b'{"apis": [5]}', "is no list of services"),
        (200, b'{"apis": [{"service": null}]}', "is no list of services"),
    ],
)
def test_list_of_services_that_is_none_is_described(
    server: type[OddServer],
    status: int,
    body: bytes,
    reason: str,
) -> None:
    server.responses["/v1/apis"] = (status, body)
    with pytest.raises(Failure, match=reason) as caught:
        run_command(api_list, server)
    assert caught.value.code == 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "is no schema document: document: is not JSON"),
        (b"[]", "is no schema document"),
        (b"{}", "no schema that can be read: meta"),
        (DOCUMENT.replace(b'"maximum"', b'"maxmium"'), "keyword 'maxmium' is not supported"),
    ],
)
def test_schema_that_is_none_is_described(
    server: type[OddServer],
    body: bytes,
    reason: str,
) -> None:
    server.responses["/v1/apis/elsewhere/schema"] = (200, body)
    with pytest.raises(Failure, match=reason):
        run_command(show, server, "elsewhere")


def test_services_and_schemas_are_read(server: type[OddServer]) -> None:
    server.responses["/v1/apis"] = (200, b'{"apis": [{"service": "probe", "version": "v1"}]}')
    server.responses["/v1/apis/a%3Fb/schema"] = (404, b"")
    with httpx.Client(base_url=server.url, trust_env=False) as client:  # type: ignore[attr-defined]
        assert gateway_apis.fetch_services(client) == [{"service": "probe", "version": "v1"}]
        assert gateway_apis.fetch_service(client, "probe").id == "probe"
        with pytest.raises(Failure, match=r"no service 'a\?b'; there is: probe"):
            gateway_apis.fetch_schema(client, "a?b")
