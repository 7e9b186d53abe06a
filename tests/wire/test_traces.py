"""Spans of real requests, at a collector: what comes there, and what if it is not there."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.harness import TIMEOUT_S, Gateway, Loader, Process, make_envelope

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Collector:
    """Receives spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self._arrived = threading.Condition()

    def add(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrived:
            for resource in request.resource_spans:
                self.services |= {
                    attribute.value.string_value
                    for attribute in resource.resource.attributes
                    if attribute.key == "service.name"
                }
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self._arrived.notify_all()

    def wait_for(self, name: str, count: int = 1) -> list[Any]:
        """Return the spans of a name once there are so many."""

        def named() -> list[Any]:
            return [span for span in self.spans if span.name == name]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(named()) >= count, TIMEOUT_S), self.spans
            return named()


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    received = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            if self.headers["content-encoding"] != "gzip":
                received.add(body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield received, f"http://127.0.0.1:{server.server_port}/v1/traces"
        finally:
            server.shutdown()


def test_request_that_its_caller_traces_is_traced_as_far_as_its_loader() -> None:
    with (
        collector() as (received, url),
        Gateway("--traces-endpoint", url) as gateway,
        Loader(gateway.lb) as loader,
    ):
        gateway.wait_until_up(loader)
        response = gateway.post(make_envelope(act="answer"), headers={"traceparent": TRACEPARENT})
        assert response.status_code == 200
        (request,) = received.wait_for("POST probe")
        assert request.trace_id.hex() == TRACE_ID
        assert request.parent_span_id.hex() == "b7ad6b7169203331"
        facts = response.json()["payload"]["facts"]["text"]
        loaders_parent = facts["headers"]["traceparent"]
        assert loaders_parent == f"00-{TRACE_ID}-{request.span_id.hex()}-01"
        children = [s for s in received.spans if s.parent_span_id == request.span_id]
        names = [span.name for span in children]
        assert names == ["receive", "validate", "pick", "call", "decode"]
        for span in children:
            assert request.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= request.end_time_unix_nano + 1000
        address = {a.key: a.value.string_value for a in children[3].attributes}
        assert address == {"server.address": loader.addr}
        assert received.services == {"athena-gateway"}
        gateway.call()  # without the header: one of a hundred
        metrics = gateway.metrics()
        assert 'ase_traces_total{outcome="sent"}' in metrics


def test_failed_call_is_a_span_with_its_error() -> None:
    flags = ("--traces-sample", "1")
    with (
        collector() as (received, url),
        Gateway("--traces-endpoint", url, *flags) as gateway,
        Loader(gateway.lb) as loader,
    ):
        gateway.wait_until_up(loader)
        assert gateway.call(act="raise").status_code == 502
        (call,) = received.wait_for("call")
        assert {a.key: a.value.string_value for a in call.attributes}["error.type"] == "raised"
        (request,) = received.wait_for("POST probe")
        assert request.status.message == "wrapper raised ValueError"
        assert not request.parent_span_id


def test_collector_that_is_not_there_costs_no_request_and_is_told_once() -> None:
    flags = ("--traces-endpoint", "http://127.0.0.1:1/v1/traces", "--traces-sample", "1")
    with Gateway(*flags) as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        for _ in range(3):
            assert gateway.call().status_code == 200
        gateway.wait_for_event("spans are dropped")
        assert 'ase_traces_total{outcome="dropped"} ' in gateway.metrics()


def test_nothing_is_imported_or_counted_without_a_collector() -> None:
    with Gateway() as gateway:
        assert "ase_traces" not in gateway.metrics()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--traces-endpoint", "localhost:4318"), "must begin with http:// or https://"),
        (("--traces-sample", "2"), "--traces-sample must be at most 1"),
    ],
)
def test_wrong_option_is_an_error_of_the_configuration(flags: tuple[str, ...], reason: str) -> None:
    with Process("gateway", "--gateway-port", "0", *flags) as process:
        assert process.wait_for_exit() == 3
        assert reason in "".join(process.text)
