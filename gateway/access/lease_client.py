"""Exchanges the use of limits with the hub, while the gateway serves."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from google.protobuf.message import DecodeError

from gateway.access.leases import LimitShares
from lb.hub.leases import LEASE_S, LeaseError
from rpc.status import RpcError
from schemas.wire import LeaseReply

_logger = logging.getLogger("ase.gateway")


async def share_limits(
    shares: LimitShares,
    exchange: Callable[[bytes], Awaitable[bytes]],
    is_requested: asyncio.Event,
    clock: Callable[[], float],
) -> None:
    """Exchange leases forever: each interval, and at once when `is_requested` is set.

    `exchange` sends a LeaseRequest to a hub and returns its LeaseReply; it raises RpcError, OSError
    or LeaseError. If there is no reply for the time of a lease, the gateway goes on with its last
    share.
    """
    gateways, leased_at, is_away = 1, clock(), False
    while True:
        is_requested.clear()
        try:
            reply = LeaseReply.FromString(await exchange(shares.request().SerializeToString()))
        except (RpcError, OSError, DecodeError, LeaseError) as error:
            if not is_away and clock() - leased_at > LEASE_S:
                is_away = True
                shares.expire()
                log_fields = {"gateways": gateways, "reason": str(error)}
                _logger.warning("limits are not shared; the last share counts", extra=log_fields)
        except Exception:
            _logger.exception("limits are not shared by a fault of ours; it is tried again")
        else:
            leased_at = clock()
            shares.apply(reply)
            if is_away or shares.gateways != gateways:
                gateways, is_away = shares.gateways, False
                _logger.info("limits are shared", extra={"gateways": gateways})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(shares.interval()):
                await is_requested.wait()
