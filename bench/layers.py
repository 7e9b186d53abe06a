"""What each step of a request costs in one process, in nanoseconds: parse to decode, no sockets.

The request is a JSON body of 400 bytes for a service with three parameters and one text.
"""

import base64
import json
import time
from collections.abc import Callable
from random import Random
from statistics import median
from typing import Any

from gateway.body import parse
from gateway.contracts import build
from lb.balancer import Balancer
from lb.report import Instance, Load, Report
from lb.table import Table
from schemas import declare, document
from schemas.declare import Declaration, Param, Stream
from schemas.service import DataType
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

_API = Declaration(
    id="bench",
    params=(
        Param("lang", {"type": "string", "enum": ["en", "zh"]}),
        Param("size", {"type": "integer", "minimum": 1, "maximum": 99}),
        Param("exact", {"type": "boolean"}),
    ),
    inputs=(Stream("text", DataType.TEXT),),
    outputs=(Stream("said", DataType.TEXT),),
)

_BODY = {
    "header": {"app_id": "bench", "uid": "u-1", "status": 3},
    "parameter": {"bench": {"lang": "en", "size": 12, "exact": True}},
    "payload": {
        "text": {
            "encoding": "utf8",
            "status": 3,
            "text": base64.b64encode(b"x" * 150).decode(),
        }
    },
}

_FACTS = {
    "sid": "0" * 32,
    "client_ip": "127.0.0.1",
    "service_id": "bench",
    "route": "/v1/private/bench",
}


def run(rounds: int) -> dict[str, dict[str, float]]:
    """Return {step: {"ns": median}}."""
    return {name: {"ns": _timed(step, rounds)} for name, step in _steps().items()}


def table(figures: dict[str, dict[str, float]]) -> str:
    """Return the figures as lines."""
    lines = ["a request of 400 bytes, step by step, without sockets; medians"]
    lines += [f"{name:<10} {told['ns']:>10,.0f} ns" for name, told in figures.items()]
    total = sum(told["ns"] for told in figures.values())
    return "\n".join([*lines, f"{'sum':<10} {total:>10,.0f} ns"])


def _steps() -> dict[str, Callable[[], Any]]:
    text = document.canonical(declare.document(_API))
    contract = build(text, "file", {}, 5.0)
    body = json.dumps(_BODY).encode()
    told = parse(body, max_depth=64, max_nodes=100_000)
    frame = contract.encoder.encode(told, _FACTS)
    wire = frame.SerializeToString()
    output = LoaderOutput(
        status=LoaderOutput.ONCE,
        pl=[Payload(meta=MetaDesc(name="said", attribute={"encoding": "utf8"}), data=b"x" * 150)],
    )
    reply = output.SerializeToString()
    balancer = _balancer(contract.digest)

    def picked() -> None:
        with balancer.acquire("bench", contract.digest):
            pass

    return {
        "parse": lambda: parse(body, max_depth=64, max_nodes=100_000),
        "validate": lambda: contract.validator.violations(told),
        "encode": lambda: contract.encoder.encode(told, _FACTS).SerializeToString(),
        "pick": picked,
        "loader": lambda: LoaderInput.FromString(wire),
        "decode": lambda: contract.decoder.decode(LoaderOutput.FromString(reply)),
    }


def _balancer(digest: str) -> Balancer:
    table = Table()
    for number in range(1, 5):
        instance = Instance("ase", "bench", f"h:{number}", 7, digest=digest, total=8)
        table.apply(Report(instance, Load(1, service_ms=20.0, served=99)), 0.0)
    return Balancer(table, clock=time.monotonic, rng=Random(1))  # noqa: S311 (a bench)


def _timed(step: Callable[[], Any], rounds: int, seconds: float = 0.1) -> float:
    """Return the median over rounds of the mean time of a step, in nanoseconds."""
    calls = 200
    while _elapsed(step, calls) < seconds / 4:
        calls *= 2
    return median(_elapsed(step, calls) / calls * 1e9 for _ in range(rounds))


def _elapsed(step: Callable[[], Any], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        step()
    return time.perf_counter() - began
