"""Parts of the product put together for tests that run it in their own process."""

import asyncio
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry

from config.options import SessionOptions
from gateway.context import GatewayContext
from gateway.request.interfaces import Dependencies
from gateway.streaming.sse import EventStream
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.session_metrics import SessionMetrics


def gateway_context(
    dependencies: Dependencies, metrics: Metrics, access_log: AccessLog
) -> tuple[GatewayContext, SessionMetrics]:
    """Return the context of a gateway whose loop need not run yet, and its session metrics."""
    session_metrics = SessionMetrics(CollectorRegistry(), access_log, lambda: 0.0)
    open_event_stream = partial(
        EventStream,
        dependencies=dependencies,
        session_metrics=session_metrics,
        options=SessionOptions(),
        call_later=_call_later,
    )
    context = GatewayContext(dependencies, metrics, access_log, open_event_stream)
    return context, session_metrics


def _call_later(seconds: float, callback: Any) -> Any:
    return asyncio.get_running_loop().call_later(seconds, callback)
