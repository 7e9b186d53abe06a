"""`asectl healthcheck`: check that a gateway, hub or loader is ready (container HEALTHCHECK)."""

import argparse
import asyncio
from dataclasses import replace

import httpx

from asectl import http_client, options
from asectl.http_client import HttpTarget
from asectl.main import Failure
from atom.grpc_health import check_health
from config.options import Config
from rpc.addresses import dial_host


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--url", help="the gateway; else that of the config and the environment")
    http_client.add_ca_argument(parser)
    parser.add_argument(
        "--insecure", action="store_true", help="do not verify the certificate of --url"
    )
    parser.add_argument("--lb", action="store_true", help="ask a hub of its own process instead")
    parser.add_argument("--loader", metavar="HOST:PORT", help="ask a loader instead, over gRPC")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait (2)")
    options.add_config_arguments(parser, ("gateway", "lb"))


def run(args: argparse.Namespace) -> int:
    """Return 0 if the gateway's `/readyz` succeeds. Raises Failure otherwise.

    Without `--url` the gateway is the one of this host with the same config file and environment;
    its certificate is not verified then, since it names another host than the loopback address. If
    no gateway listens there, a hub of its own process is checked, as `--lb` does. With `--loader`
    the loader is asked by the gRPC health checking protocol.
    """
    if args.loader:
        return asyncio.run(_check_loader(args.loader, args.timeout))
    if args.url:
        if not args.url.startswith(("http://", "https://")):
            raise Failure(f"{args.url}: must begin with http:// or https://", 2)
        target = replace(HttpTarget.from_args(args), verify=not args.insecure)
        return _check_http(target, "/readyz", args.timeout)
    config, _ = options.load_config(args)
    hub = HttpTarget(f"http://{dial_host(config.lb.admin_host)}:{config.lb.admin_port}")
    if args.lb:
        return _check_http(hub, "/livez", args.timeout)
    try:
        gateway = HttpTarget(_gateway_url(config), verify=False)
        return _check_http(gateway, "/readyz", args.timeout)
    except NotListeningError as error:
        try:
            return _check_http(hub, "/livez", args.timeout)
        except Failure:
            raise error from None


class NotListeningError(Failure):
    """Nothing listens at the address."""


def _gateway_url(config: Config) -> str:
    scheme = "https" if config.gateway.tls_cert else "http"
    return f"{scheme}://{dial_host(config.gateway.host)}:{config.gateway.port}"


def _check_http(server: HttpTarget, path: str, timeout: float) -> int:
    url = server.url + path
    try:
        response = server.get(path, timeout)
    except httpx.ConnectError as error:
        raise NotListeningError(f"{url}: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failure(f"{url}: {error}") from None
    if response.status_code != 200:
        raise Failure(f"{url}: status {response.status_code}")
    print(response.text)
    return 0


async def _check_loader(addr: str, timeout: float) -> int:
    problem = await check_health(addr, timeout)
    if problem:
        raise Failure(f"{addr}: {problem}")
    print("serving")
    return 0
