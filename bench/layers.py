"""The cost of each step of a request at the gateway in nanoseconds, without sockets.

The request is a JSON body of 400 bytes for a service with three parameters and one image.
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from bench import workload
from gateway.http import head_validation
from gateway.request.json_body import parse
from gateway.request.record import RequestRecord
from gateway.request.response import finish_with_success, serialize_response
from gateway.services import schema_folder
from gateway.services.catalog import build_contract
from lb.balancer.balancer import Balancer
from lb.balancer.least_expected_delay import LeastExpectedDelay
from lb.endpoints.report import Instance, Load, Report
from lb.endpoints.table import EndpointTable
from rpc import frames
from rpc.calls import UnaryCall
from rpc.connection import Connection
from rpc.frames import Setting
from rpc.headers import HeaderBlockCache, encode_header_block
from rpc.messages import length_prefix
from rpc.metadata import encode_request_headers, encode_timeout_field, parse_response_headers
from schemas.model import document
from schemas.sources import declare
from schemas.sources.declare import Param
from schemas.validation.request_validator import RequestValidator

_HEAD = [
    (b"host", b"127.0.0.1:8200"), (b"content-type", b"application/json"),
    (b"content-length", b"400"),
]  # fmt: skip
_DATE = b"date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
_REQUEST_INFO = {
    "sid": "0" * 32,
    "client_ip": "::1",
    "service_id": "bench",
    "route": "/v1/private/bench",
}


def run(rounds: int) -> dict[str, dict[str, float]]:
    """Return {step: {"ns": median over `rounds`}}.

    `validate` also has `naive_ns`, the time that the library `jsonschema` needs for the same body.
    """
    timings = {name: {"ns": _time_step_ns(step, rounds)} for name, step in _steps().items()}
    validate, validate_naively = _validation_steps()
    timings["validate"] = {
        "ns": _time_step_ns(validate, rounds),
        "naive_ns": _time_step_ns(validate_naively, rounds),
    }
    return timings


def time_schema_loading(count: int) -> float:
    """Return the time that a starting gateway needs to load `count` schema files, in seconds."""
    schema = json.loads(workload.SCHEMA)
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            meta = {**schema["meta"], "serviceId": f"s{number}"}
            path = Path(name) / f"schema_s{number}.json"
            path.write_text(json.dumps({**schema, "meta": meta}), encoding="utf-8")
        started_at = time.perf_counter()
        schema_folder.load_folder(Path(name), {}, 5.0)
        return time.perf_counter() - started_at


def _validation_steps() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return the step of our validator, which also applies a default, and that of `jsonschema`.

    `jsonschema` only validates.
    """
    extra_param = Param("top", {"type": "integer", "minimum": 1, "default": 3})
    api = replace(workload.API, params=(*workload.API.params, extra_param))
    validator = RequestValidator(
        document.service_from_document(
            document.parse(document.canonical(declare.declaration_to_document(api)))
        ).input
    )
    envelope = parse(workload.request_body(), 64, 100_000, 10_000)
    params = envelope["parameter"]["bench"]
    import jsonschema  # of the extra `bench`: the others of this command do without

    naive_validator = jsonschema.Draft202012Validator(validator.schema)

    def step() -> None:
        if validator.validate_and_transform(envelope, True):
            raise ValueError("the body of the bench must be valid")
        del params["top"]  # so that the next call sets the default again

    return step, lambda: naive_validator.is_valid(envelope)


def format_table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures as text, one line per step."""
    lines = ["a request of 400 bytes, step by step, without sockets; medians"]
    lines += [f"{name:<10} {timing['ns']:>10,.0f} ns" for name, timing in figures.items()]
    validation = figures["validate"]
    ratio = validation["naive_ns"] / validation["ns"]
    lines.append(f"jsonschema takes {ratio:.0f} times as long to validate")
    total = sum(timing["ns"] for timing in figures.values())
    return "\n".join([*lines, f"{'sum':<10} {total:>10,.0f} ns"])


def _steps() -> dict[str, Callable[[], Any]]:
    contract = build_contract(workload.SCHEMA, "file", {}, 5.0)
    body = workload.request_body()
    envelope = parse(body, 64, 100_000, 10_000)
    encoded_request = contract.encoder.encode(envelope, _REQUEST_INFO)
    reply = workload.loader_output()
    balancer = _make_balancer(contract.digest)
    record = RequestRecord("0" * 32, 0.0, "POST", "/v1/private/bench", "::1")

    def pick() -> None:
        with balancer.acquire("bench", contract.digest):
            pass

    return {
        "head": lambda: (
            head_validation.validate_headers(_HEAD, "1.1"),
            head_validation.parse_origin_form(b"/v1/private/bench"),
        ),
        "parse": lambda: parse(body, 64, 100_000, 10_000),
        "validate": lambda: contract.validator.validate_and_transform(envelope, True),
        "encode": lambda: contract.encoder.encode(envelope, _REQUEST_INFO),
        "pick": pick,
        "call": _call_step(encoded_request, reply),
        "decode": lambda: contract.decoder.decode(reply),
        "write": lambda: serialize_response(
            finish_with_success(b'{"said":{}}', record, 0.0), _DATE, b""
        ),
    }


def _call_step(request: bytes, reply: bytes) -> Callable[[], None]:
    """Return the step of a unary call: write its frames and parse those of its response."""
    connection = Connection(time.monotonic)
    connection.receive_data(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 30}))
    block_cache = HeaderBlockCache(parse_response_headers)
    request_headers = encode_request_headers(
        "h:1", "http", "/ase.v1.Loader/Infer", (("ase-gateway", "g"),)
    )
    response_headers = encode_header_block(
        [(b":status", b"200"), (b"content-type", b"application/grpc")]
    )
    response_trailers = encode_header_block([(b"grpc-status", b"0")])
    message = length_prefix(len(reply)) + reply

    def step() -> None:
        outbound = connection.outbound
        call = UnaryCall(request_headers, 1 << 24, None, _ignore, _ignore, request)
        call.start(connection, block_cache, request_headers + encode_timeout_field(5000))
        outbound.take_frames()
        outbound.increase_connection_window(len(request) + 5)
        connection.receive_data(
            frames.frame(frames.HEADERS, frames.END_HEADERS, call.id, response_headers)
            + frames.frame(frames.DATA, 0, call.id, message)
            + frames.frame(
                frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, call.id, response_trailers
            )
        )

    return step


def _ignore(_: object) -> None:
    """Ignore the end of a call."""


def _make_balancer(digest: str) -> Balancer:
    table = EndpointTable()
    for number in range(1, 5):
        instance = Instance("ase", "bench", f"h:{number}", 7, digest=digest, total=8)
        table.apply(Report(instance, Load(1, service_ms=20.0, served=99)), 0.0)
    rng = Random(1)  # noqa: S311 (a bench)
    return Balancer(
        table,
        lambda: LeastExpectedDelay(rng),
        clock=time.monotonic,
        rng=rng,
        call_later=_ignore_timer,
    )


def _ignore_timer(_seconds: float, _callback: Callable[[], None]) -> Any:
    """Ignore a timer; no request of this bench waits."""


def _time_step_ns(step: Callable[[], Any], rounds: int, seconds: float = 0.1) -> float:
    """Return the time of one call of `step` in nanoseconds: the median of the means of the rounds.

    The number of calls in a round is doubled until a round takes at least `seconds` / 4.
    """
    calls = 200
    while _time_calls_s(step, calls) < seconds / 4:
        calls *= 2
    return median(_time_calls_s(step, calls) / calls * 1e9 for _ in range(rounds))


def _time_calls_s(step: Callable[[], Any], calls: int) -> float:
    started_at = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - started_at
