"""Calls of the Docker Engine API, which podman serves too, over a socket or TCP.

https://docs.docker.com/reference/api/engine/version/v1.41/
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx

from deploy.shimlets.interface import ShimletError

_VERSION: Final = "v1.40"  # of docker 19.03 and later, and of podman 3 and later
_TIMEOUT_S: Final = 60.0
_PULL_TIMEOUT_S: Final = 1800.0
_GONE: Final = "no such container"


class DockerApi:
    """A client of the engine at `address`: unix:///path, or tcp://host:port.

    Every method raises ShimletError.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        scheme, _, place = address.partition("://")
        transport = None
        base = f"http://{place}"
        if scheme == "unix":
            transport = httpx.AsyncHTTPTransport(uds=place)
            base = "http://docker"
        self._client = httpx.AsyncClient(
            base_url=f"{base}/{_VERSION}",
            transport=transport,
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def list(self, *labels: str) -> list[dict[str, Any]]:
        """Return all containers that have these labels (NAME or NAME=VALUE)."""
        query = {"all": "true", "filters": json.dumps({"label": labels})}
        rows: list[dict[str, Any]] = (await self._call("GET", "/containers/json", query)).json()
        return rows

    async def inspect(self, container: str) -> dict[str, Any] | None:
        """Return what the engine knows of a container, None if there is none."""
        response = await self._call("GET", f"/containers/{container}/json", missing_ok=True)
        if not response.is_success:
            return None
        tree: dict[str, Any] = response.json()
        return tree

    async def create(self, name: str, body: Mapping[str, Any]) -> None:
        """Create a container; its image is pulled if it is not there."""
        path = "/containers/create"
        response = await self._call("POST", path, {"name": name}, body, missing_ok=True)
        if response.status_code == 404:
            await self._pull(str(body["Image"]), _reason(response))
            await self._call("POST", path, {"name": name}, body)

    async def start(self, container: str) -> None:
        """Start a container."""
        await self._call("POST", f"/containers/{container}/start")

    async def stop(self, container: str, grace_s: int) -> None:
        """Stop a container; it returns when that has ended."""
        query = {"t": str(grace_s)}
        await self._call(
            "POST", f"/containers/{container}/stop", query, missing_ok=True, timeout=grace_s + 30.0
        )

    async def remove(self, container: str) -> None:
        """Remove a container, and its volumes."""
        query = {"force": "true", "v": "true"}
        await self._call("DELETE", f"/containers/{container}", query, missing_ok=True)

    async def logs(self, container: str, lines: int) -> str:
        """Return the last lines that a container has written."""
        query = {"stdout": "true", "stderr": "true", "tail": str(lines)}
        response = await self._call("GET", f"/containers/{container}/logs", query)
        return _without_frames(response.content).decode("utf-8", "replace").strip()

    async def stats(self, container: str) -> dict[str, Any]:
        """Return what a container uses."""
        query = {"stream": "false", "one-shot": "true"}
        response = await self._call("GET", f"/containers/{container}/stats", query)
        tree: dict[str, Any] = response.json()
        return tree

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _pull(self, image: str, reason: str) -> None:
        """Pull an image. Raises ShimletError, final if there is none."""
        cure = "asectl loader build makes one; or push it to a registry that the engine reaches"
        name = image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"
        try:
            response = await self._call(
                "POST", "/images/create", {"fromImage": name}, timeout=_PULL_TIMEOUT_S
            )
        except ShimletError as error:
            message = f"no such image {image}: {reason}; {error}; {cure}"
            raise ShimletError(message, is_final=True) from error
        # The answer is begun before it is known whether it succeeds.
        for line in response.text.splitlines():
            problem = json.loads(line).get("error") if line.startswith("{") else ""
            if problem:
                raise ShimletError(f"no such image {image}: {problem}; {cure}", is_final=True)

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        missing_ok: bool = False,
        timeout: float = _TIMEOUT_S,
    ) -> httpx.Response:
        """Return the response. Raises ShimletError for what is no success."""
        try:
            response = await self._client.request(
                method, path, params=query, json=body, timeout=timeout
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        # Podman answers 500 for one that is removed just now.
        is_gone = response.status_code == 500 and _GONE in _reason(response)
        is_missing = (response.status_code == 404 or is_gone) and missing_ok
        # 304: it is started, or stopped, already.
        if response.is_success or response.status_code == 304 or is_missing:
            return response
        is_final = response.status_code == 400
        raise ShimletError(f"docker: {_reason(response)}", is_final=is_final)

    def _unreachable(self, error: Exception) -> ShimletError:
        reason = str(error) or type(error).__name__
        return ShimletError(
            f"docker: {self._address}: {reason}; see that the engine runs (docker info), and that "
            "deployer.docker names its socket"
        )


def _reason(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {response.status_code}"


def _without_frames(content: bytes) -> bytes:
    """Return a log without the heads of its frames (the API's ContainerAttach)."""
    parts, start = [], 0
    while (
        len(content) - start >= 8
        and content[start] <= 2
        and not any(content[start + 1 : start + 4])
    ):
        end = start + 8 + int.from_bytes(content[start + 4 : start + 8], "big")
        parts.append(content[start + 8 : end])
        start = end
    return b"".join(parts) + content[start:]
