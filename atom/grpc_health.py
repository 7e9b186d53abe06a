"""Asks a server by the gRPC health checking protocol."""

from rpc.client import Channel
from rpc.status import RpcError
from schemas.wire import HealthCheckRequest, HealthCheckResponse

_METHOD = "/grpc.health.v1.Health/Check"


async def check_health(addr: str, timeout: float) -> str:
    """Return why the server at `addr` does not serve, "" if it does; within `timeout` seconds."""
    channel = Channel(addr)
    request = HealthCheckRequest().SerializeToString()
    try:
        response = await channel.unary(_METHOD, request, timeout=timeout)
    except RpcError as error:
        return str(error)
    finally:
        await channel.close()
    status = HealthCheckResponse.FromString(response).status
    return "" if status == HealthCheckResponse.SERVING else "not serving"
