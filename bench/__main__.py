"""`python -m bench NAME`: run a bench, keep its figures; without a NAME, layers."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import calls, gateway, idle, latency, layers, reload, stream, workers, worst
from bench.arms import ARMS
from bench.lb import charts, faults, micro, real, sim
from bench.machine import describe
from bench.workload import PAYLOADS

_PEERS = [name for name in ARMS if name != "ours"]


def main() -> int:
    """Run one bench."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.set_defaults(run=lambda _: _layers_run(7), table=_layers_table, json=None)
    commands = parser.add_subparsers()
    _layers(commands.add_parser("layers", help="what each step of a request costs"))
    _gateway(commands.add_parser("gateway", help="requests per second beside our peers"))
    _latency(commands.add_parser("latency", help="latency added at a fixed rate, open-loop"))
    _idle(commands.add_parser("idle", help="memory of idle connections"))
    _workers(commands.add_parser("workers", help="what a request costs with two workers"))
    _calls(commands.add_parser("calls", help="calls per second of our gRPC client and grpc.aio"))
    _stream(commands.add_parser("stream", help="frames by WebSocket, beside servers that echo"))
    _reload(commands.add_parser("reload", help="requests lost while schemas change under load"))
    _worst(commands.add_parser("worst", help="the dearest body that a schema lets in"))
    _lb(commands.add_parser("lb", help="load balancing: the simulator, real processes, a pick"))
    told = parser.parse_args()
    machine = describe()
    result = {"machine": machine, **told.run(told)}
    text = json.dumps(result, indent=2) + "\n"
    if told.json == "-":
        print(text, end="")
        return 0
    if told.json:
        Path(told.json).write_text(text, encoding="utf-8")
    print(", ".join(f"{key} {value}" for key, value in machine.items() if key != "versions"))
    print(told.table(result))
    return 0


def _layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    _common(parser, lambda told: _layers_run(told.rounds), _layers_table)


def _layers_run(rounds: int) -> dict[str, Any]:
    return {"layers": layers.run(rounds), "load_1000_schemas_s": round(layers.loading(1000), 3)}


def _layers_table(result: dict[str, Any]) -> str:
    seconds = result["load_1000_schemas_s"]
    return f"{layers.table(result['layers'])}\n1,000 schema files are read in {seconds:.2f} s"


def _gateway(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", nargs="*", default=_PEERS, choices=_PEERS, help="all by default")
    parser.add_argument("--payload", default="small", choices=PAYLOADS, help="of base64 text")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, default=32, help="of the load (32)")
    parser.add_argument("--fresh", default="", metavar="HEADER", help="no two have the same value")
    _common(
        parser,
        lambda told: gateway.run(
            told.peer, told.payload, told.rounds, told.seconds, told.connections, told.fresh
        ),
        gateway.table,
    )


def _latency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", nargs="*", default=["envoy"], choices=_PEERS, help="envoy")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second (2000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _common(
        parser,
        lambda told: latency.run(told.peer, told.rate, told.rounds, told.seconds),
        latency.table,
    )


def _idle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=int, default=10_000, help="how many (10000)")
    _common(parser, lambda told: idle.run(told.connections), idle.table)


def _workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, default=0, help="of the load (32 per worker)")
    _common(
        parser,
        lambda told: workers.run(told.rounds, told.seconds, told.connections),
        workers.table,
    )


def _calls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _common(parser, lambda told: calls.run(told.rounds, told.seconds), calls.table)


def _stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, default=32, help="sessions at a time (32)")
    parser.add_argument("--sessions", type=int, default=2000, help="at one frame a second (2000)")
    _common(
        parser,
        lambda told: stream.run(told.rounds, told.seconds, told.connections, told.sessions),
        stream.table,
    )


def _reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=2000, help="requests a second (2000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns, still and changing (5)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _common(parser, lambda told: reload.run(told.rate, told.rounds, told.seconds), reload.table)


def _worst(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=300, help="that are searched (300)")
    _common(parser, lambda told: worst.run(told.examples), worst.table)


def _lb(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True)
    _lb_sim(commands.add_parser("sim", help="policies in virtual time, by the product's classes"))

    _lb_micro(commands.add_parser("micro", help="what a pick, a report, a frame, a hub cost"))

    drawing = commands.add_parser("charts", help="the pictures of a grid, into bench/results")
    drawing.add_argument("file", help="what `sim --json` wrote")
    _common(drawing, lambda told: charts.run(told.file), charts.table)
    failing = commands.add_parser("faults", help="how soon a death, a hang, a hub are noticed")
    failing.add_argument("--rounds", type=int, default=5, help="times each (5)")
    _common(failing, lambda told: faults.run(told.rounds), faults.table)
    _lb_real(commands.add_parser("real", help="the same through real processes, beside peers"))


def _lb_real(parser: argparse.ArgumentParser) -> None:
    known = ["ours", "ours_unbounded", "least_request", "p2c", "peak_ewma", "loadMini", "random",
             "envoy", "haproxy"]  # fmt: skip
    usual = ["ours", "least_request", "haproxy", "envoy"]
    parser.add_argument("--arm", nargs="*", default=usual, choices=known, help="of these")
    parser.add_argument("--gateways", type=int, default=16, help="pickers; a proxy is one (16)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=40, help="length of a turn (40)")
    _common(
        parser,
        lambda told: real.run(told.arm, told.gateways, told.rounds, told.seconds),
        real.table,
    )


def _lb_micro(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="two sizes, few picks")
    parser.add_argument("--sources", action="store_true", help="not compiled")
    _common(
        parser,
        lambda told: micro.run(quick=told.quick, compiled=not told.sources),
        micro.table,
    )


def _lb_sim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--grid", default="ci", choices=("ci", "full", "holdout"), help="ci")
    parser.add_argument("--tuned", default="", metavar="REVISION", help="seeds come from its hash")
    parser.add_argument("--sources", action="store_true", help="not compiled: three times as long")
    _common(
        parser,
        lambda told: sim.run(told.grid, told.tuned, compiled=not told.sources),
        sim.table,
    )


def _common(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the figures too; - for stdout alone")
    parser.set_defaults(run=run, table=table)


if __name__ == "__main__":
    sys.exit(main())
