"""A gateway and a deployer of the compiled product, for benches that deploy a model."""

import asyncio
import json
from typing import Any, Final

import httpx

from bench import arms, product
from bench.arms import Arm, BenchContext
from bench.workload import RequestSpec

WRAPPER_FILE: Final = "wrapper.py"
_TIMEOUT_S: Final = 60.0
_INTERVAL_S: Final = 0.1


class BenchDeployer:
    """A client of the deployer that was started; one connection, so that it costs the load little.

    Every method raises RuntimeError.
    """

    def __init__(self, api: str) -> None:
        self._api = f"{api}/api/v1/modserv"
        # To make the context of TLS takes 30 ms in which no request is sent.
        self._client = httpx.AsyncClient(trust_env=False, timeout=_TIMEOUT_S, verify=False)  # noqa: S501

    async def deploy(self, spec: dict[str, Any]) -> None:
        """Deploy a specification, or change the deployment to it; wait until it runs."""
        response = await self._client.put(f"{self._api}/{spec['serviceId']}", json=spec)
        if response.status_code == 404:
            response = await self._client.post(f"{self._api}/deploy", json=spec)
        if not response.is_success:
            raise RuntimeError(response.text)
        await self._wait_status(spec["serviceId"], "running")

    async def show(self, name: str) -> dict[str, Any]:
        """Return how a deployment is."""
        response = await self._client.get(f"{self._api}/{name}")
        shown: dict[str, Any] = response.json()["data"]
        return shown

    async def delete(self, name: str) -> None:
        """End a deployment, and its loaders with it; then this client is closed."""
        await self._client.delete(f"{self._api}/{name}")
        await self._wait_status(name, "terminated")
        await self._client.aclose()

    async def _wait_status(self, name: str, wanted: str) -> None:
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                shown = await self.show(name)
                if shown["isObserved"] and shown["status"] == wanted:
                    return
                if shown["isObserved"] and shown["status"] == "failed":
                    raise RuntimeError(f"the rollout has failed: {shown['reason']}")
                await asyncio.sleep(_INTERVAL_S)


def start(context: BenchContext, wrapper: str, service: str) -> tuple[Arm, BenchDeployer]:
    """Start a gateway, and a deployer of loaders that report to it; `wrapper` is their source."""
    folder = context.folder
    (folder / WRAPPER_FILE).write_text(wrapper, encoding="utf-8")
    env = product.import_environment(product.ensure_installed())
    args = ["gateway", "--gateway-port", "0", "--lb-port", "0", "--gateway-admin-port", "0"]
    args += ["--lb-accept-schemas", "true"]
    log = folder / "gateway.log"
    process = arms.start_asectl(context, arms.ARM_CORE, args, log, env)
    endpoints = arms.wait_for_log_record(log, "listening")
    config = folder / "ase.yaml"
    config.write_text("deployer: {resync: 2}\n", encoding="utf-8")
    args = ["deployer", "--config", str(config), "--port", "0"]
    args += ["--deployer-hubs", endpoints["lb"], "--deployer-gateway", endpoints["gateway"]]
    log = folder / "deployer.log"
    arms.start_asectl(context, arms.LOAD_CORE, args, log, env)
    api = arms.wait_for_log_record(log, "listening")["api"]
    arm = Arm("ours", process.pid, endpoints["gateway"], _request(service))
    return arm, BenchDeployer(api)


def _request(service: str) -> RequestSpec:
    body = json.dumps({"text": "hello"}).encode()
    return RequestSpec(f"/v1/{service}", body, "application/json", b"hello")
