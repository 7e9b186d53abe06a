"""The public keys of tokens: a file or a URL, read again while the gateway serves."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

from config.options import AuthOptions
from gateway.access.key_table import KeySourceError
from gateway.access.tokens import JwtVerifier, PublicKeys
from rpc.addresses import is_loopback

_logger = logging.getLogger("ase.gateway")

_FILE_INTERVAL_S: Final = 1.0
_RETRY_S: Final = 5.0
_TIMEOUT_S: Final = 5.0
_MAX_BYTES: Final = 1 << 20


class Jwks:
    """The public keys of a file or a URL; `keys` is None until they were read.

    `location` is a path, or an https URL; http is for this machine alone. `interval` and
    `file_interval` are the seconds between two reads of a URL, and of a file.
    """

    def __init__(
        self,
        location: str,
        base_dir: Path,
        interval: float,
        file_interval: float = _FILE_INTERVAL_S,
    ) -> None:
        """Check the location, and read it if it is a file. Raises KeySourceError."""
        self.keys: PublicKeys | None = None
        self._interval = interval
        self._file_interval = file_interval
        self._url = location if "://" in location else ""
        self._path = base_dir / location
        self._content = b""
        if self._url:
            url = urlsplit(location)
            if url.scheme != "https" and not (
                url.scheme == "http" and is_loopback(url.hostname or "")
            ):
                raise KeySourceError(f"{location}: an https URL is needed")
        else:
            self._apply(self._read_file())

    def verifier(self, options: AuthOptions) -> JwtVerifier:
        """Return the verifier of tokens by these keys."""
        return JwtVerifier(options, self.public_keys)

    def public_keys(self) -> PublicKeys | None:
        """Return the keys as last read."""
        return self.keys

    async def watch(self) -> None:
        """Read the keys again, forever; the last ones stay when they cannot be read."""
        last_problem = ""
        while True:
            if not self._url:
                await asyncio.sleep(self._file_interval)
            try:
                content = await self._fetch() if self._url else self._read_file()
                await asyncio.to_thread(self._apply, content)
                problem = ""
            except KeySourceError as error:
                problem = str(error)
            except Exception as error:  # noqa: BLE001 (the watch must go on; it is logged)
                problem = f"{type(error).__name__}: {error}"
            if problem and problem != last_problem:
                message = "public keys not read; the last ones stay valid"
                _logger.error(message, extra={"reason": problem})
            last_problem = problem
            if self._url:
                await asyncio.sleep(min(_RETRY_S, self._interval) if problem else self._interval)

    def _apply(self, content: bytes) -> None:
        """Replace the keys if the document differs. Raises KeySourceError."""
        if content == self._content:
            return
        try:
            self.keys = PublicKeys(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise KeySourceError(f"{self._url or self._path}: {error}") from None
        self._content = content
        _logger.info("public keys read", extra={"keys": len(self.keys)})

    def _read_file(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise KeySourceError(f"{self._path}: {error.strerror}") from None

    async def _fetch(self) -> bytes:
        """Return the document at the URL; redirects are not followed."""
        try:
            async with (
                asyncio.timeout(2 * _TIMEOUT_S),
                httpx.AsyncClient(timeout=_TIMEOUT_S) as client,
                client.stream("GET", self._url) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise KeySourceError(f"{self._url}: status {response.status_code}")
                content = b""
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > _MAX_BYTES:
                        raise KeySourceError(f"{self._url}: it has more than {_MAX_BYTES} bytes")
                return content
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise KeySourceError(f"{self._url}: {str(error) or type(error).__name__}") from None
