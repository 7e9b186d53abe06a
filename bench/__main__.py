"""Run a benchmark with `python -m bench NAME`; without a NAME, run `layers`."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import (
    autoscale,
    call_servers,
    calls,
    fairness,
    gateway,
    history,
    idle,
    install,
    latency,
    layers,
    limits,
    overload,
    reload,
    rest,
    rollout,
    stream,
    usage,
    workers,
)
from bench.arms import ARMS
from bench.lb import charts, faults, micro, real, sim
from bench.machine import describe_machine
from bench.registry import crash, fanout
from bench.serve import run as serve_run
from bench.serve.cases import CASES
from bench.serve.environments import PACKAGES
from bench.workload import HEADS, PAYLOADS

_CREDENTIALS = ("key", "hmac", "jwt")
_PEERS = [name for name in ARMS if name.removeprefix("ours-") not in ("ours", *_CREDENTIALS)]


def main() -> int:
    """Run one benchmark and print its figures; return the exit status.

    With `--json FILE`, write the figures to FILE as JSON too; `--json -` prints only the JSON.
    """
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.set_defaults(run=lambda _: _run_layers(7), table=_format_layers, json=None)
    commands = parser.add_subparsers()
    for name, description, configure in _COMMANDS:
        configure(commands.add_parser(name, help=description))
    args = parser.parse_args()
    machine = describe_machine()
    try:
        result = {"machine": machine, **args.run(args)}
    except ModuleNotFoundError as error:
        parser.error(f"this bench needs {error.name}: pip install -e '.[bench]'")
    text = json.dumps(result, indent=2) + "\n"
    if args.json == "-":
        print(text, end="")
        return 0
    if args.json:
        Path(args.json).write_text(text, encoding="utf-8")
    print(", ".join(f"{key} {value}" for key, value in machine.items() if key != "versions"))
    print(args.table(result))
    return 0


def _configure_layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    _add_common_options(parser, lambda args: _run_layers(args.rounds), _format_layers)


def _run_layers(rounds: int) -> dict[str, Any]:
    return {
        "layers": layers.run(rounds),
        "load_1000_schemas_s": round(layers.time_schema_loading(1000), 3),
    }


def _format_layers(result: dict[str, Any]) -> str:
    seconds = result["load_1000_schemas_s"]
    return (
        f"{layers.format_table(result['layers'])}\n1,000 schema files are read in {seconds:.2f} s"
    )


def _gateway_arms(args: argparse.Namespace) -> list[str]:
    """Return the arms beside `ours`: with `--auth` alone no peers."""
    peers = args.peer if args.peer is not None else [] if args.auth else _PEERS
    return [*peers, *(f"ours-{name}" for name in args.auth)]


def _configure_gateway(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peer", nargs="*", choices=_PEERS, help="all by default")
    parser.add_argument(
        "--auth", nargs="*", default=[], choices=_CREDENTIALS, help="arms that ask who calls"
    )
    parser.add_argument("--payload", default="small", choices=PAYLOADS, help="of base64 text")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, help="of the load (32)")
    parser.add_argument("--loaders", type=int, default=1, help="behind each arm (1)")
    parser.add_argument("--heads", default="wrk", choices=HEADS, help="of whose requests (wrk)")
    parser.add_argument("--fresh", default="", metavar="HEADER", help="no two have the same value")
    parser.add_argument("--rate", type=int, help="requests a second, open-loop; as many as it can")
    _add_common_options(parser, partial(_run_gateway, parser), _format_gateway)


def _run_gateway(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any]:
    arms = _gateway_arms(args)
    if args.fresh and args.heads != "wrk":
        parser.error("--fresh changes the heads of wrk alone: leave out --heads")
    if args.rate is not None and (args.fresh or args.payload != "small" or args.connections):
        parser.error("--rate has its own load: leave out --fresh, --payload and --connections")
    if args.rate is not None:
        return latency.run(arms, args.rate, args.rounds, args.seconds, args.loaders, args.heads)
    return gateway.run(
        arms,
        args.payload,
        args.rounds,
        args.seconds,
        args.connections or 32,
        args.fresh,
        args.loaders,
        args.heads,
    )


def _format_gateway(result: dict[str, Any]) -> str:
    return latency.format_table(result) if "rate" in result else gateway.format_table(result)


def _configure_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("revision", nargs="+", help="commits, of which each is built")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each revision (5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of a turn (3)")
    _add_common_options(
        parser,
        lambda args: history.run(args.revision, args.rounds, args.seconds),
        history.format_table,
    )


def _configure_overload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--payload", default="small", choices=overload.PAYLOADS, help="of text")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each service (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _add_common_options(
        parser,
        lambda args: overload.run(args.payload, args.rounds, args.seconds),
        overload.format_table,
    )


def _configure_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=20, help="with the hub, and without (20)")
    _add_common_options(parser, lambda args: limits.run(args.seconds), limits.format_table)


def _configure_fairness(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--gateways", type=int, default=1, help="before the loaders (1)")
    parser.add_argument("--jobs", default="varied", choices=fairness.JOBS, help="in time (varied)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each rate (3)")
    parser.add_argument("--seconds", type=int, default=15, help="length of a turn (15)")
    _add_common_options(
        parser,
        lambda args: fairness.run(args.gateways, args.jobs, args.rounds, args.seconds),
        fairness.format_table,
    )


def _configure_usage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=100_000, help="how many (100000)")
    _add_common_options(parser, lambda args: usage.run(args.requests), usage.format_table)


def _configure_install(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wheel", type=Path, help="the compiled one of this checkout")
    _add_common_options(parser, lambda args: install.run(args.wheel), install.format_table)


def _configure_idle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connections", type=int, default=10_000, help="how many (10000)")
    _add_common_options(parser, lambda args: idle.run(args.connections), idle.format_table)


def _configure_rest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=15, help="how long (15)")
    _add_common_options(parser, lambda args: rest.run(args.seconds), rest.format_table)


def _configure_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, default=0, help="of the load (32 per worker)")
    _add_common_options(
        parser,
        lambda args: workers.run(args.rounds, args.seconds, args.connections),
        workers.format_table,
    )


def _configure_calls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _add_common_options(
        parser, lambda args: calls.run(args.rounds, args.seconds), calls.format_table
    )


def _configure_servers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _add_common_options(
        parser, lambda args: call_servers.run(args.rounds, args.seconds), call_servers.format_table
    )


def _configure_serve(parser: argparse.ArgumentParser) -> None:
    servers = [name for name in PACKAGES if name != "ours"]
    parser.add_argument("--peer", nargs="*", default=servers, choices=servers, help="all")
    parser.add_argument("--case", nargs="+", default=[*CASES], choices=[*CASES], help="all")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each server (3)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _add_common_options(
        parser,
        lambda args: serve_run.run(args.peer, args.case, args.rounds, args.seconds),
        serve_run.format_table,
    )


def _configure_stream(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=float, default=4, help="length of a turn (4)")
    parser.add_argument("--connections", type=int, default=32, help="sessions at a time (32)")
    parser.add_argument("--sessions", type=int, default=2000, help="at one frame a second (2000)")
    _add_common_options(
        parser,
        lambda args: stream.run(args.rounds, args.seconds, args.connections, args.sessions),
        stream.format_table,
    )


def _configure_reload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=2000, help="requests a second (2000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns, still and changing (5)")
    parser.add_argument("--seconds", type=int, default=4, help="length of a turn (4)")
    _add_common_options(
        parser, lambda args: reload.run(args.rate, args.rounds, args.seconds), reload.format_table
    )


def _configure_rollout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=int, default=500, help="requests a second (500)")
    parser.add_argument("--rounds", type=int, default=3, help="turns, still and switching (3)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a turn (10)")
    _add_common_options(
        parser, lambda args: rollout.run(args.rate, args.rounds, args.seconds), rollout.format_table
    )


def _configure_autoscale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--svg", metavar="FILE", default="", help="draw it to this file")
    _add_common_options(parser, lambda args: autoscale.run(args.svg), autoscale.format_table)


def _configure_worst(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=300, help="that are searched (300)")
    _add_common_options(parser, _run_worst, _format_worst)


def _run_worst(args: argparse.Namespace) -> dict[str, Any]:
    from bench import worst  # it needs the extra `bench`, and no other command does

    return worst.run(args.examples)


def _format_worst(result: dict[str, Any]) -> str:
    from bench import worst

    return worst.format_table(result)


def _configure_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--subscribers", type=int, default=200, help="how many (200)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each arm (5)")
    parser.add_argument("--changes", type=int, default=20, help="in a turn (20)")
    parser.add_argument("--kills", type=int, default=0, help="kill it instead, so many times")
    parser.add_argument(
        "--store", default="sqlite", choices=("sqlite", "etcd"), help="with --kills"
    )
    parser.add_argument(
        "--without-fsync", action="store_true", help="with --kills: the check has to fail"
    )
    _add_common_options(
        parser,
        lambda args: (
            crash.run(args.kills, args.store, syncs=not args.without_fsync)
            if args.kills
            else fanout.run(args.subscribers, args.rounds, args.changes)
        ),
        lambda result: (
            crash.format_table(result) if "kills" in result else fanout.format_table(result)
        ),
    )


def _configure_lb(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True)
    _configure_lb_sim(
        commands.add_parser("sim", help="policies in virtual time, by the product's classes")
    )

    _configure_lb_micro(
        commands.add_parser("micro", help="what a pick, a report, a frame, a hub cost")
    )

    charts_parser = commands.add_parser("charts", help="the pictures of a grid, into bench/results")
    charts_parser.add_argument("file", help="what `sim --json` wrote")
    _add_common_options(charts_parser, lambda args: charts.run(args.file), charts.format_table)
    faults_parser = commands.add_parser(
        "faults", help="how soon a death, a hang, a hub are noticed"
    )
    faults_parser.add_argument("--rounds", type=int, default=5, help="times each (5)")
    _add_common_options(faults_parser, lambda args: faults.run(args.rounds), faults.format_table)
    _configure_lb_real(
        commands.add_parser("real", help="the same through real processes, beside peers")
    )


def _configure_lb_real(parser: argparse.ArgumentParser) -> None:
    arm_choices = [
        "ours", "ours_unbounded", "least_request", "p2c", "peak_ewma", "loadMini", "random",
        "envoy", "haproxy",
    ]  # fmt: skip
    default_arms = ["ours", "least_request", "haproxy", "envoy"]
    parser.add_argument(
        "--arm", nargs="*", default=default_arms, choices=arm_choices, help="of these"
    )
    parser.add_argument("--gateways", type=int, default=16, help="pickers; a proxy is one (16)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each arm (3)")
    parser.add_argument("--seconds", type=int, default=40, help="length of a turn (40)")
    _add_common_options(
        parser,
        lambda args: real.run(args.arm, args.gateways, args.rounds, args.seconds),
        real.format_table,
    )


def _configure_lb_micro(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="two sizes, few picks")
    parser.add_argument("--sources", action="store_true", help="not compiled")
    _add_common_options(
        parser,
        lambda args: micro.run(quick=args.quick, compiled=not args.sources),
        micro.format_table,
    )


def _configure_lb_sim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--grid", default="ci", choices=("ci", "full", "holdout"), help="ci")
    parser.add_argument("--tuned", default="", metavar="REVISION", help="seeds come from its hash")
    parser.add_argument("--sources", action="store_true", help="not compiled: three times as long")
    _add_common_options(
        parser,
        lambda args: sim.run(args.grid, args.tuned, compiled=not args.sources),
        sim.format_table,
    )


def _add_common_options(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
) -> None:
    parser.add_argument("--json", metavar="FILE", help="write the figures too; - for stdout alone")
    parser.set_defaults(run=run, table=table)


# Name, help and arguments of each command, in the order of `--help`.
_COMMANDS: Sequence[tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = (
    ("layers", "what each step of a request costs", _configure_layers),
    ("gateway", "requests per second beside our peers", _configure_gateway),
    ("history", "requests/s beside Envoy of several revisions", _configure_history),
    ("overload", "what a refused request costs, and how long it takes", _configure_overload),
    ("fairness", "an application that asks ten times its share", _configure_fairness),
    ("usage", "rows of usage and work of loaders that are killed", _configure_usage),
    ("limits", "a rate that holds over three gateways", _configure_limits),
    ("install", "time from `pip install` to the demo's first answer", _configure_install),
    ("idle", "memory of idle connections", _configure_idle),
    ("rest", "processor time without requests", _configure_rest),
    ("workers", "what a request costs with two workers", _configure_workers),
    ("calls", "calls per second of our gRPC client and grpc.aio", _configure_calls),
    ("servers", "what a call costs our gRPC server and grpc.aio's", _configure_servers),
    ("serve", "the whole chain, beside other Python model servers", _configure_serve),
    ("stream", "frames by WebSocket, beside servers that echo", _configure_stream),
    ("reload", "requests lost while schemas change under load", _configure_reload),
    ("autoscale", "replicas and latency under a load that comes and goes", _configure_autoscale),
    ("rollout", "requests lost while a model is switched under load", _configure_rollout),
    ("worst", "the dearest body that a schema lets in", _configure_worst),
    ("registry", "releases to 200 subscribers, beside etcd; or killed", _configure_registry),
    ("lb", "load balancing: the simulator, real processes, a pick", _configure_lb),
)

if __name__ == "__main__":
    sys.exit(main())
