"""The public keys of tokens: read at the start, and again when they change."""

import asyncio
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.access.jwks import Jwks
from gateway.access.key_table import KeySourceError
from tests.gateway.access.test_tokens import public_jwk


def document(*key_ids: str) -> bytes:
    return json.dumps({"keys": [public_jwk(key_id) for key_id in key_ids]}).encode()


class JwksServer(http.server.ThreadingHTTPServer):
    """Answers with the status and the content in `answer`; counts its requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.requests = (200, b""), 0


class _Handler(http.server.BaseHTTPRequestHandler):
    server: JwksServer

    def do_GET(self) -> None:
        self.server.requests += 1
        status, content = self.server.answer
        self.send_response(status)
        self.send_header("location", "/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[JwksServer]:
    with JwksServer() as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_file_is_read_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_bytes(document("e1", "r1"))
    jwks = Jwks("jwks.json", tmp_path, 300.0)
    keys = jwks.public_keys()
    assert keys is not None
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file"), (b"{", "jwks.json: "), (b"[]", "no JWKS"), (b"{}", "no JWKS")],
)
def test_wrong_files_stop_the_start(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "jwks.json").write_bytes(content)
    with pytest.raises(KeySourceError, match=problem):
        Jwks("jwks.json", tmp_path, 300.0)


@pytest.mark.parametrize("url", ["http://id.example.com/jwks", "ftp://h/x", "file:///etc/passwd"])
def test_keys_do_not_come_unencrypted(url: str, tmp_path: Path) -> None:
    with pytest.raises(KeySourceError, match="an https URL is needed"):
        Jwks(url, tmp_path, 300.0)


def test_url_is_read_again_and_failures_keep_the_last_keys(
    server: JwksServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jwks = Jwks(f"http://127.0.0.1:{server.server_port}/jwks", tmp_path, 0.001)
    assert jwks.public_keys() is None

    async def until_requests(count: int) -> None:
        """Wait for that many further requests: each one ends before the next begins."""
        target = server.requests + count
        async with asyncio.timeout(30):
            while server.requests < target:  # noqa: ASYNC110 (another thread counts)
                await asyncio.sleep(0.001)

    async def main() -> None:
        server.answer = (200, document("e1"))
        watch = asyncio.ensure_future(jwks.watch())
        await until_requests(2)
        first = jwks.public_keys()
        assert first is not None
        for server.answer in ((500, b""), (302, b""), (200, b"x"), (200, b"{}")):
            await until_requests(3)
            assert jwks.public_keys() is first
        server.answer = (200, b"[" + b" " * (1 << 20) + b"]")
        await until_requests(3)
        assert jwks.public_keys() is first
        server.answer = (200, document("r1"))
        await until_requests(3)
        assert jwks.public_keys() is not first
        watch.cancel()

    asyncio.run(main())
    problems = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(problems) == 5, "each kind of failure is logged once"


def test_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_bytes(document("e1"))
    jwks = Jwks("jwks.json", tmp_path, 300.0, file_interval=0.001)
    first = jwks.public_keys()

    async def main() -> None:
        watch = asyncio.ensure_future(jwks.watch())
        async with asyncio.timeout(30):
            while jwks.public_keys() is first:  # noqa: ASYNC110 (a file has no event)
                await asyncio.sleep(0.001)
        watch.cancel()

    path.write_bytes(document("r1"))
    asyncio.run(main())
