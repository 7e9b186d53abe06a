"""The puller against a real server: what it takes, what it refuses, what it leaves behind."""

import asyncio
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from deploy.models.puller import FOLDER, ModelPuller, PullError
from tests.deploy.models.file_server import FileServer, file_server

CONTENT = b"weights" * 1000
DIGEST = sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        server.files["/a/model.pt"] = CONTENT
        server.tokens["/a/model.pt"] = "secret"
        yield server


class Pulls:
    """A puller whose deployment `north` has the token of the server."""

    def __init__(self, folder: Path, *sources: str, max_bytes: int = 10_000) -> None:
        self.used: set[str] = set()
        self.puller = ModelPuller(folder, sources, max_bytes, self._find_token, lambda: self.used)

    async def _find_token(self, deployment_id: str) -> str:
        return {"north": "secret"}.get(deployment_id, "")

    async def whole(self, url: str, digest: str = DIGEST, deployment: str = "north") -> Path:
        async with asyncio.timeout(20):
            while await self.puller.pull(deployment, url, digest):
                pass
        return self.puller.path(url, digest)

    async def error(self, url: str, digest: str = DIGEST, deployment: str = "north") -> str:
        with pytest.raises(PullError) as failed:
            await self.whole(url, digest, deployment)
        await self.puller.close()
        return str(failed.value)


def test_file_is_pulled_once_with_its_token(server: FileServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        pulls = Pulls(tmp_path, server.url)
        url = f"{server.url}/a/model.pt"
        path = await pulls.whole(url)
        assert path == tmp_path / FOLDER / DIGEST / "model.pt"
        assert path.read_bytes() == CONTENT
        await pulls.whole(url)
        assert server.requests == [("/a/model.pt", "secret")]

    asyncio.run(scenario())


def test_what_is_not_the_file_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        pulls = Pulls(tmp_path, server.url)
        url = f"{server.url}/a/model.pt"
        wanted = "0" * 64
        assert f"has the SHA-256 {DIGEST}, and {wanted} is wanted" in await pulls.error(url, wanted)
        assert "HTTP 403" in await pulls.error(url, deployment="south")
        assert "HTTP 404" in await pulls.error(f"{server.url}/none")
        assert server.requests

    asyncio.run(scenario())
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_limit_holds_with_and_without_a_length(server: FileServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        pulls = Pulls(tmp_path, server.url, max_bytes=len(CONTENT) - 1)
        url = f"{server.url}/a/model.pt"
        assert "deployer.max_model is the limit" in await pulls.error(url)
        server.unsized.add("/a/model.pt")
        assert "deployer.max_model is the limit" in await pulls.error(url)
        pulls = Pulls(tmp_path, server.url, max_bytes=len(CONTENT))
        assert await pulls.whole(url)

    asyncio.run(scenario())


def test_redirects_stay_within_the_sources_and_tokens_with_their_server(
    server: FileServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        with file_server() as other:
            other.files["/b/model.pt"] = CONTENT
            server.redirects["/r"] = f"{other.url}/b/model.pt"
            server.redirects["/loop"] = "/loop"
            url = f"{server.url}/r"
            assert "not below one of deployer.model_sources" in await Pulls(
                tmp_path, server.url
            ).error(url)
            assert not other.requests
            both = Pulls(tmp_path, server.url, f"{other.url}/b")
            assert (await both.whole(url)).read_bytes() == CONTENT
            assert other.requests == [("/b/model.pt", "")]
            loop = await both.error(f"{server.url}/loop", "1" * 64)
            assert "redirects more than 5 times" in loop

    asyncio.run(scenario())


def test_files_that_no_specification_names_are_removed(server: FileServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        pulls = Pulls(tmp_path, server.url)
        first = await pulls.whole(f"{server.url}/a/model.pt")
        server.files["/second"] = b"2"
        second = await pulls.whole(f"{server.url}/second", sha256(b"2").hexdigest())
        assert not first.exists()
        pulls.used.add(second.parent.name)
        server.files["/third"] = b"3"
        await pulls.whole(f"{server.url}/third", sha256(b"3").hexdigest())
        assert second.exists()

    asyncio.run(scenario())


def test_folder_that_cannot_be_written_is_said(server: FileServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / FOLDER).write_text("in the way")
        message = await Pulls(tmp_path, server.url).error(f"{server.url}/a/model.pt")
        assert FOLDER in message

    asyncio.run(scenario())


@pytest.mark.parametrize("path", ["/", "/..", "/a/.", ""])
def test_names_of_files_stay_in_their_folder(tmp_path: Path, path: str) -> None:
    file = Pulls(tmp_path).puller.path(f"https://h{path}", DIGEST)
    assert file == tmp_path / FOLDER / DIGEST / "model"
