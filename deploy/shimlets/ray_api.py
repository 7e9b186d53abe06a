"""A client of Ray's dashboard: Serve applications, and logs.

https://docs.ray.io/en/latest/serve/api/index.html#serve-rest-api
"""

from typing import Any, Final

import httpx

from deploy.shimlets.interface import ShimletError

_APPLICATIONS: Final = "/api/serve/applications/"
_LOGS: Final = "/api/v0/logs/file"
_TIMEOUT_S: Final = 30.0


class RayApi:
    """Every method raises ShimletError. `address` is that of the dashboard, http://host:8265."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = httpx.AsyncClient(
            base_url=address, timeout=_TIMEOUT_S, trust_env=False, follow_redirects=False
        )

    async def serve_details(self) -> dict[str, Any]:
        """Return what Serve says of itself and its applications."""
        response = await self._request("GET", _APPLICATIONS)
        details: dict[str, Any] = response.json()
        return details

    async def put_applications(self, config: dict[str, Any]) -> None:
        """Have exactly these applications deployed."""
        await self._request("PUT", _APPLICATIONS, config)

    async def log(self, node_id: str, path: str, lines: int) -> str:
        """Return the last lines of a log of a node, "" if it is gone."""
        query = {"node_id": node_id, "filename": path.lstrip("/"), "lines": str(lines)}
        try:
            response = await self._client.get(_LOGS, params=query)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        return response.text if response.is_success else ""

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _request(self, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            response = await self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from None
        if response.is_success:
            return response
        raise ShimletError(f"ray at {self._address}: {response.status_code} {response.text[:500]}")

    def _unreachable(self, error: Exception) -> ShimletError:
        reason = str(error) or type(error).__name__
        return ShimletError(
            f"ray at {self._address} does not answer: {reason}; start a cluster with its dashboard "
            "(ray start --head), or see deployer.ray"
        )
