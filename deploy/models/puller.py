"""Pulls the files of models when a deployment needs them, and verifies each by its digest.

A file is kept as `.pulled/DIGEST/NAME` below the folder of models, and is there only when it is
whole and is the one that was meant. Those that no specification names any more are removed.
"""

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from deploy.models.sources import find_problem, same_origin
from deploy.workloads.quantities import memory_text

_logger = logging.getLogger("ase.deploy")

FOLDER: Final = ".pulled"
_CHUNK_BYTES: Final = 1024 * 1024
_TIMEOUT_S: Final = 30.0  # without a byte
_MAX_REDIRECTS: Final = 5


class PullError(Exception):
    """A file cannot be pulled; `str()` says why."""


@dataclass(slots=True)
class _Pull:
    """A file that is being pulled: `received` of `total` bytes, 0 if that is not known."""

    task: asyncio.Task[None] | None = None
    received: int = 0
    total: int = 0

    def describe(self) -> str:
        of_total = f" of {memory_text(self.total)}" if self.total else ""
        return f"pulled {memory_text(self.received)}{of_total}"


class ModelPuller:
    """Pulls files to `root`, the folder of models, each once at a time.

    They may come from `sources`, and have `max_bytes` at most. `find_token` returns the token with
    which a deployment asks for its model, "" for none. `used_digests` returns those of the files
    that are still needed.
    """

    def __init__(
        self,
        root: Path,
        sources: Sequence[str],
        max_bytes: int,
        find_token: Callable[[str], Awaitable[str]],
        used_digests: Callable[[], Collection[str]],
    ) -> None:
        self._folder = root / FOLDER
        self._sources = tuple(sources)
        self._max_bytes = max_bytes
        self._find_token = find_token
        self._used_digests = used_digests
        self._pulls: dict[str, _Pull] = {}

    def path(self, url: str, digest: str) -> Path:
        """Return where the file of a URL is when it has been pulled."""
        name = unquote(urlsplit(url).path).rpartition("/")[2]
        return self._folder / digest / (name if name.strip(".") else "model")

    def problem(self, url: str) -> str:
        """Return why the file of a URL can never be pulled; "" if it may."""
        return find_problem(url, self._sources)

    async def pull(self, deployment_id: str, url: str, digest: str) -> str:
        """Bring the file of a URL closer; return "" when it is there, else how far it is.

        Raises PullError if the last attempt has failed; the next call begins another one.
        """
        if await asyncio.to_thread(self.path(url, digest).is_file):
            return ""
        pull = self._pulls.get(digest)
        if pull is None or pull.task is None:
            pull = self._pulls[digest] = _Pull()
            pull.task = asyncio.create_task(self._download(deployment_id, url, digest, pull))
        await asyncio.wait({pull.task}, timeout=0.1)  # a small one is there at once
        if not pull.task.done():
            return pull.describe()
        del self._pulls[digest]
        error = pull.task.exception()
        if error is not None:
            raise error
        return ""

    async def close(self) -> None:
        """Stop what is being pulled."""
        tasks = [pull.task for pull in self._pulls.values() if pull.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _download(self, deployment_id: str, url: str, digest: str, pull: _Pull) -> None:
        """Pull a file. Raises PullError."""
        path = self.path(url, digest)
        part = path.with_name(path.name + ".part")
        try:
            await asyncio.to_thread(self._sweep, digest)
            await asyncio.to_thread(part.parent.mkdir, parents=True, exist_ok=True)
            token = await self._find_token(deployment_id)
            received_digest = await self._receive(url, token, part, pull)
            if received_digest != digest:
                raise PullError(
                    f"{url}: has the SHA-256 {received_digest}, and {digest} is wanted; it was "
                    "changed, or is another one"
                )
            await asyncio.to_thread(part.replace, path)
        except httpx.HTTPError as error:
            raise PullError(f"{url}: {str(error) or type(error).__name__}") from error
        except OSError as error:
            raise PullError(f"{path}: {error.strerror or error}") from error
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        _logger.info("model pulled", extra={"url": url, "bytes": pull.received})

    async def _receive(self, url: str, token: str, part: Path, pull: _Pull) -> str:
        """Write what a URL has to a file; return its SHA-256."""
        digest = hashlib.sha256()
        async with httpx.AsyncClient(timeout=_TIMEOUT_S) as client:
            target = url
            for _ in range(_MAX_REDIRECTS):
                problem = find_problem(target, self._sources)
                if problem:
                    raise PullError(problem)
                headers = {"accept-encoding": "identity"}
                if token and same_origin(target, url):
                    headers["authorization"] = f"Bearer {token}"
                async with client.stream("GET", target, headers=headers) as response:
                    if response.is_redirect:
                        target = urljoin(target, response.headers.get("location", ""))
                        continue
                    if response.status_code != httpx.codes.OK:
                        raise PullError(f"{target}: HTTP {response.status_code}")
                    length = response.headers.get("content-length", "")
                    pull.total = int(length) if length.isdecimal() else 0
                    self._check_size(url, pull.total)
                    with part.open("wb") as stream:
                        async for chunk in response.aiter_raw(_CHUNK_BYTES):
                            pull.received += len(chunk)
                            self._check_size(url, pull.received)
                            digest.update(chunk)
                            await asyncio.to_thread(stream.write, chunk)
                    return digest.hexdigest()
        raise PullError(f"{url}: redirects more than {_MAX_REDIRECTS} times")

    def _check_size(self, url: str, size: int) -> None:
        if size > self._max_bytes:
            limit = memory_text(self._max_bytes)
            raise PullError(f"{url}: has more than {limit}; deployer.max_model is the limit")

    def _sweep(self, coming: str) -> None:
        """Remove the files that no specification names."""
        used = {*self._used_digests(), *self._pulls, coming}
        for folder in self._folder.glob("*"):
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)
