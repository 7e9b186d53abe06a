"""`asectl healthcheck`: check that a gateway or a loader is ready (container HEALTHCHECK)."""

import argparse
import asyncio
import urllib.error
import urllib.request

from asectl.main import Failure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("--url", default="http://127.0.0.1:8200", help="the gateway (%(default)s)")
    parser.add_argument("--loader", metavar="HOST:PORT", help="ask a loader instead, over gRPC")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds to wait (2)")


def run(args: argparse.Namespace) -> int:
    """Return 0 if the gateway's `/readyz` succeeds or, with `--loader`, if the loader is SERVING.

    The loader is asked by the gRPC health checking protocol. Raises Failure otherwise.
    """
    if args.loader:
        return asyncio.run(_check_loader(args.loader, args.timeout))
    url = args.url.rstrip("/") + "/readyz"
    if not url.startswith(("http://", "https://")):
        raise Failure(f"{args.url}: must begin with http:// or https://", 2)
    try:
        with urllib.request.urlopen(url, timeout=args.timeout) as response:  # noqa: S310 (checked)
            print(response.read().decode())
    except urllib.error.URLError as error:
        raise Failure(f"{url}: {error}") from None
    return 0


async def _check_loader(addr: str, timeout: float) -> int:
    from rpc.client import Channel
    from rpc.status import RpcError
    from schemas.wire import HealthCheckRequest, HealthCheckResponse

    channel = Channel(addr)
    request = HealthCheckRequest().SerializeToString()
    try:
        response = await channel.unary("/grpc.health.v1.Health/Check", request, timeout=timeout)
    except RpcError as error:
        raise Failure(f"{addr}: {error}") from None
    finally:
        await channel.close()
    if HealthCheckResponse.FromString(response).status != HealthCheckResponse.SERVING:
        raise Failure(f"{addr}: not serving")
    print("serving")
    return 0
