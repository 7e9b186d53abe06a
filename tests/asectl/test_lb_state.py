"""`asectl lb state` of a port that is no admin port."""

import pytest

from asectl.http_client import HttpTarget
from asectl.lb_state import fetch_instances
from asectl.main import EXIT_UNREACHABLE, Failure
from tests.asectl.test_call import OddServer, server

__all__ = ["server"]  # the fixture


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b""),
        (200, b"<html>"),
        (200, b"[" * 100_000),
        (200, b"[]"),
        (200, b'{"instances": 5}'),
        (200, b'{"instances": [5]}'),
        (200, b'{"instances": [{"service": "ocr"}]}'),
        (200, b'{"instances": [{"service": 5, "instance": "a:1"}]}'),
    ],
    ids=range(8),
)
def test_state_that_is_none_is_described(server: type[OddServer], status: int, body: bytes) -> None:
    server.responses["/lb/state"] = (status, body)
    with pytest.raises(Failure, match=r"no state to be had .*; is it the admin port") as caught:
        fetch_instances(HttpTarget(server.url), "")  # type: ignore[attr-defined]
    assert caught.value.code == EXIT_UNREACHABLE


def test_instances_are_selected_and_sorted(server: type[OddServer]) -> None:
    instances = [f'{{"service": "{name}", "instance": "a:{n}"}}' for name in "yx" for n in (2, 1)]
    body = f'{{"instances": [{", ".join(instances)}]}}'.encode()
    server.responses["/lb/state"] = (200, body)
    admin = HttpTarget(server.url)  # type: ignore[attr-defined]
    pairs = [(one["service"], one["instance"]) for one in fetch_instances(admin, "")]
    assert pairs == [("x", "a:1"), ("x", "a:2"), ("y", "a:1"), ("y", "a:2")]
    assert len(fetch_instances(admin, "x")) == 2
