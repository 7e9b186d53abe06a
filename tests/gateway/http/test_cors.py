"""Pages of other origins: the fast path has the header lines of Starlette's middleware."""

import asyncio
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message

from config.options import GatewayOptions
from gateway.http.cors import CorsPolicy

PAGE = "https://page.example.com"


def starlette_lines(policy: CorsPolicy, origin: str | None) -> bytes:
    """Return what Starlette's middleware adds to the header lines of a response."""
    (middleware,) = policy.middleware()
    application = middleware.cls(PlainTextResponse("hi"), *middleware.args, **middleware.kwargs)
    messages: list[Message] = []

    async def main() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            messages.append(message)

        headers = [] if origin is None else [(b"origin", origin.encode())]
        scope: dict[str, Any] = {"type": "http", "method": "POST", "headers": headers}
        await application(scope, receive, send)

    asyncio.run(main())
    own = {b"content-length", b"content-type"}
    lines = [line for line in messages[0]["headers"] if line[0] not in own]
    return b"".join(b"%b: %b\r\n" % line for line in lines)


@pytest.mark.parametrize("origin", [None, PAGE, "https://other.example.com", "null"])
@pytest.mark.parametrize(
    ("origins", "credentials"),
    [
        (["*"], False),  # with credentials it is refused at the start
        ([PAGE], False),
        ([PAGE], True),
        ([PAGE.upper() + ":443", "https://third.example.com"], False),
        (["null"], True),
    ],
)
def test_lines_are_those_of_starlette(
    origins: list[str], credentials: bool, origin: str | None
) -> None:
    policy = CorsPolicy(origins, GatewayOptions(cors_credentials=credentials))
    encoded = None if origin is None else origin.encode()
    assert policy.lines(encoded) == starlette_lines(policy, origin)


def test_no_origin_is_allowed_by_default() -> None:
    policy = CorsPolicy([], GatewayOptions())
    assert policy.lines(PAGE.encode()) == policy.lines(None) == b""
    assert policy.middleware() == []


def test_allowed_page_may_read_the_answer() -> None:
    policy = CorsPolicy([PAGE], GatewayOptions())
    lines = policy.lines(PAGE.encode())
    assert b"access-control-allow-origin: https://page.example.com\r\n" in lines
    assert lines.endswith(b"vary: Origin\r\n")
    assert b"access-control-allow-origin" not in policy.lines(b"https://evil.example.com")
