"""The text of metrics, in the form that a scraper asks for."""

import pytest
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request

from gateway.telemetry.exposition import metrics_response

# As Prometheus 2 sends it.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
    "version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "media_type", "end"),
    [
        ("", "text/plain; version=0.0.4", b"x_total 1.0\n"),
        ("*/*", "text/plain; version=0.0.4", b"x_total 1.0\n"),
        ("text/plain", "text/plain; version=0.0.4", b"x_total 1.0\n"),
        ("application/openmetrics-text", "application/openmetrics-text; version=", b"# EOF\n"),
        (PROMETHEUS, "application/openmetrics-text; version=", b"# EOF\n"),
        ("application/json", "text/plain; version=0.0.4", b"x_total 1.0\n"),
    ],
)
def test_scraper_gets_the_form_that_it_prefers(accept: str, media_type: str, end: bytes) -> None:
    registry = CollectorRegistry()
    Counter("x", "A counter.", registry=registry).inc()
    headers = [(b"accept", accept.encode())] if accept else []
    response = metrics_response(registry, Request({"type": "http", "headers": headers}))
    assert response.headers["content-type"].startswith(media_type)
    text = b"\n".join(x for x in bytes(response.body).split(b"\n") if b"_created" not in x)
    assert text.endswith(end)
