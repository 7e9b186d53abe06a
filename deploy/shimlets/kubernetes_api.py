"""Calls of the Kubernetes API: a dozen lines each, by httpx; of a pod's account or a kubeconfig.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import base64
import contextlib
import json
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml

from deploy.shimlets.interface import ShimletError

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_MANAGER: Final = "ase-deployer"
_TIMEOUT_S: Final = 30.0
_APPLY: Final = "application/apply-patch+yaml"
# What another attempt does not change: the object is refused as it is.
_FINAL: Final = frozenset({400, 404, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """How a cluster is reached: its URL, who we are, whom to trust.

    `ca`, `cert` and `key` are PEM texts. `token_file` is read for each request: it is renewed.
    """

    server: str
    ca: str = ""
    token: str = ""
    token_file: str = ""
    cert: str = ""
    key: str = ""

    @classmethod
    def of_pod(cls, environ: Mapping[str, str]) -> Self | None:
        """Return the access of the pod's account, None outside of a cluster."""
        host = environ.get("KUBERNETES_SERVICE_HOST")
        if not host or not (_ACCOUNT / "token").is_file():
            return None
        port = environ.get("KUBERNETES_SERVICE_PORT", "443")
        name = f"[{host}]" if ":" in host else host
        ca = (_ACCOUNT / "ca.crt").read_text("utf-8")
        return cls(f"https://{name}:{port}", ca, token_file=str(_ACCOUNT / "token"))

    @classmethod
    def of_kubeconfig(cls, path: Path) -> Self:
        """Return the access of the current context of a kubeconfig. Raises ShimletError."""
        try:
            tree = yaml.safe_load(path.read_text("utf-8"))
            context = _named(tree["contexts"], tree["current-context"])["context"]
            cluster = _named(tree["clusters"], context["cluster"])["cluster"]
            user = _named(tree["users"], context["user"])["user"]
            return cls(
                cluster["server"],
                _pem(cluster, "certificate-authority", path.parent),
                user.get("token", ""),
                user.get("tokenFile", ""),
                _pem(user, "client-certificate", path.parent),
                _pem(user, "client-key", path.parent),
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
            message = (
                f"kubernetes: {path}: {type(error).__name__}: {error}; see deployer.kubeconfig"
            )
            raise ShimletError(message) from error

    def tls_context(self) -> ssl.SSLContext | bool:
        """Return the TLS context of the connections. Raises ShimletError."""
        if not self.server.startswith("https:"):
            return True
        try:
            context = ssl.create_default_context(cadata=self.ca or None)
            if self.cert:
                # The ssl module reads certificates of clients from files alone.
                with tempfile.TemporaryDirectory() as folder:
                    pair = Path(folder, "pair.pem")
                    pair.touch(0o600)
                    pair.write_text(f"{self.cert}\n{self.key}", "ascii")
                    context.load_cert_chain(pair)
        except (OSError, ValueError) as error:
            raise ShimletError(f"kubernetes: {self.server}: certificates: {error}") from error
        return context

    def headers(self) -> dict[str, str]:
        """Return the headers that say who we are."""
        token = self.token
        if self.token_file:
            with contextlib.suppress(OSError):
                token = Path(self.token_file).read_text("ascii").strip()
        return {"authorization": f"Bearer {token}"} if token else {}


class KubernetesApi:
    """A client of one namespace. Every method raises ShimletError."""

    def __init__(self, access: ClusterAccess, namespace: str) -> None:
        self._access = access
        self._namespace = namespace
        self._client = httpx.AsyncClient(
            base_url=access.server,
            verify=access.tls_context(),
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    async def apply(self, tree: Mapping[str, Any]) -> None:
        """Create an object or change it to this: server-side apply, by our name."""
        path = self._path(tree["kind"], tree["metadata"]["name"])
        query = {"fieldManager": _MANAGER, "force": "true"}
        await self._call("PATCH", path, query, json.dumps(tree), {"content-type": _APPLY})

    async def get(self, kind: str, name: str) -> dict[str, Any] | None:
        """Return an object, None if there is none."""
        response = await self._call("GET", self._path(kind, name), missing_ok=True)
        return None if response.status_code == 404 else dict(response.json())

    async def list(self, kind: str, selector: str) -> list[dict[str, Any]]:
        """Return the objects that a label selector selects."""
        response = await self._call("GET", self._path(kind), {"labelSelector": selector})
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    async def delete(self, kind: str, name: str) -> None:
        """Delete an object; what it owns goes too, in the background."""
        body = json.dumps({"propagationPolicy": "Background"})
        headers = {"content-type": "application/json"}
        await self._call("DELETE", self._path(kind, name), None, body, headers, missing_ok=True)

    async def logs(self, pod: str, lines: int, *, of_last_run: bool) -> str:
        """Return the last lines of a pod: of this run, or of the one that has ended."""
        query = {"tailLines": str(lines), "previous": "true" if of_last_run else "false"}
        return (await self._call("GET", f"{self._path('Pod', pod)}/log", query)).text

    async def watch(self, kind: str, selector: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of objects, until the server ends the watch."""
        query = {"labelSelector": selector, "watch": "true"}
        try:
            async with self._client.stream(
                "GET",
                self._path(kind),
                params=query,
                headers=self._access.headers(),
                timeout=httpx.Timeout(_TIMEOUT_S, read=None),
            ) as response:
                async for line in response.aiter_lines():
                    if line:
                        yield json.loads(line)
        except (httpx.HTTPError, ValueError) as error:
            raise self._unreachable(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _path(self, kind: str, name: str = "") -> str:
        group = "/apis/apps/v1" if kind == "Deployment" else "/api/v1"
        path = f"{group}/namespaces/{self._namespace}/{kind.lower()}s"
        return f"{path}/{name}" if name else path

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        content: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        missing_ok: bool = False,
    ) -> httpx.Response:
        try:
            response = await self._client.request(
                method,
                path,
                params=query,
                content=content,
                headers={**self._access.headers(), **(headers or {})},
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.is_success or (response.status_code == 404 and missing_ok):
            return response
        raise ShimletError(
            f"kubernetes: {_reason(response)}", is_final=response.status_code in _FINAL
        )

    def _unreachable(self, error: Exception) -> ShimletError:
        reason = str(error) or type(error).__name__
        return ShimletError(
            f"kubernetes: {self._access.server}: {reason}; see deployer.kubeconfig, and "
            "kubectl cluster-info"
        )


def _reason(response: httpx.Response) -> str:
    try:
        message = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = "no reason"
    cures = {
        401: "its account is not known",
        403: "give its account the role of docs/deploy.md",
        429: "the server is busy",
    }
    cure = cures.get(response.status_code, "")
    return f"{response.status_code}: {message}{f'; {cure}' if cure else ''}"


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    for row in rows:
        if row["name"] == name:
            return row
    raise KeyError(name)


def _pem(tree: Mapping[str, Any], name: str, base: Path) -> str:
    """Return a PEM text: a member in base64, or a file."""
    data = tree.get(f"{name}-data")
    if data:
        return base64.b64decode(data).decode("ascii")
    return (base / os.fspath(tree[name])).read_text("ascii") if tree.get(name) else ""
