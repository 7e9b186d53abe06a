"""Metrics as text, in the form that a scraper prefers: OpenMetrics, or Prometheus' own."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.requests import Request
from starlette.responses import Response

from gateway.request.negotiation import choose

_OPEN_METRICS, _PLAIN = "application/openmetrics-text", "text/plain"


def metrics_response(registry: CollectorRegistry, request: Request) -> Response:
    """Return the metrics of a registry; without a preference they are Prometheus' text."""
    accept = request.headers.get("accept", "")
    if choose(accept, (_PLAIN, _OPEN_METRICS)) == _OPEN_METRICS:
        content: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return Response(content, headers={"content-type": openmetrics.CONTENT_TYPE_LATEST})
    content = generate_latest(registry)
    return Response(content, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})
