"""Which requests of a process nobody waits for any more."""

import asyncio

from aseloader.processes.abandonment import RunningRequests
from rpc.server import CallContext

CALL = CallContext({}, "unix:", None)


def test_a_running_request_is_abandoned_and_no_other() -> None:
    requests = RunningRequests()
    with requests.run("1") as first, requests.run("2") as second:
        assert not first()
        assert asyncio.run(requests.abandon(b"1", CALL)) == b""
        assert first()
        assert not second()


def test_a_request_that_has_ended_leaves_nothing() -> None:
    requests = RunningRequests()
    with requests.run("1"):
        pass
    for number in (b"1", b"9", b"\xff"):
        asyncio.run(requests.abandon(number, CALL))
    with requests.run("1") as is_abandoned:
        assert not is_abandoned()
