"""`asectl replay FILE`: what would have been with another policy, fleet or rate.

The recordings of `asectl record` run through the gateway's own picking in virtual time.
"""

import argparse
import math
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from asectl.main import EXIT_CONFIG, EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from asectl.progress import progress
from asectl.table import align, printable
from config.options import POLICIES
from gateway.simulation.fleet import Fleet, UnreplayableError, estimate_fleet
from gateway.simulation.recording import (
    MAX_LINE,
    InvalidRecordingError,
    RecordedRequest,
    Recording,
    merge_recordings,
    read_recording,
)
from gateway.simulation.replay import Scenario, TrafficFigures, replay
from schemas.model.suggestion import did_you_mean

_SHARES = (0.5, 0.9, 0.99)
_MAX_RATE = 100.0
_MAX_ADDED = 1000
_MAX_ROWS = 20
# The replay as recorded may differ by this share from what was recorded; else it is doubtful.
_CALIBRATION = 0.1
_CALIBRATION_SHARE = 0.01  # of the requests


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="recordings of all gateways, of the same time"
    )
    parser.add_argument("--policy", choices=POLICIES, default="", help="another lb.policy")
    parser.add_argument(
        "--without", action="append", default=[], metavar="ADDR", help="an instance that is away"
    )
    parser.add_argument(
        "--add", type=int, default=0, metavar="N", help="so many more instances of each service"
    )
    parser.add_argument(
        "--rate", type=_parse_rate, default=1.0, metavar="xF", help="as x1.5: faster arrivals"
    )
    add_output_argument(parser)


def _parse_rate(text: str) -> float:
    match = re.fullmatch(r"x?(\d{1,4}(?:\.\d{1,6})?)", text)
    rate = float(match[1]) if match else math.nan
    if not 1 / _MAX_RATE <= rate <= _MAX_RATE:
        message = f"{text!r} is no factor of 0.01 to 100, such as x1.5"
        raise argparse.ArgumentTypeError(message)
    return rate


def run(args: argparse.Namespace) -> int:
    """Replay as recorded and as the flags say, and print both beside what was recorded.

    Raises Failure: exit code 2 for wrong flags, 3 if a recording is invalid or cannot be replayed.
    """
    recording = _read(args.files)
    scenario = _scenario(args, recording)
    try:
        fleet = estimate_fleet(recording, Random(1))  # noqa: S311 (a simulation)
    except UnreplayableError as error:
        raise Failure(printable(str(error)), EXIT_CONFIG) from None
    figures = {"recorded": TrafficFigures.of(recording.requests)}
    figures["replayed"] = TrafficFigures.of(_replay(recording, fleet, Scenario()))
    if scenario != Scenario():
        figures["changed"] = TrafficFigures.of(_replay(recording, fleet, scenario))
    notes = [*_notes(recording), *fleet.notes(), *_doubts(figures)]
    content = {
        "gateways": sorted(recording.starts),
        **{name: _to_json(part) for name, part in figures.items()},
        "notes": notes,
    }
    print_output(args.output, content, _lines(figures, notes, scenario))
    return 0


def _read(files: list[str]) -> Recording:
    """Return the recordings as one. Raises Failure."""
    recordings = []
    for name in files:
        try:
            with Path(name).open(encoding="utf-8", errors="replace") as file:
                lines = iter(partial(file.readline, MAX_LINE + 1), "")
                recordings.append(read_recording(lines, name))
        except OSError as error:
            raise Failure(f"{name}: {error.strerror}", EXIT_USAGE) from None
        except InvalidRecordingError as error:
            raise Failure(printable(str(error)), EXIT_CONFIG) from None
    try:
        recording = merge_recordings(recordings)
    except InvalidRecordingError as error:
        raise Failure(printable(str(error)), EXIT_USAGE) from None
    if not recording.requests:
        raise Failure(f"{', '.join(files)}: no request was recorded", EXIT_CONFIG)
    return recording


def _scenario(args: argparse.Namespace, recording: Recording) -> Scenario:
    """Return the scenario of the flags. Raises Failure."""
    if not 0 <= args.add <= _MAX_ADDED:
        raise Failure(f"--add: 0 to {_MAX_ADDED}, not {args.add}", EXIT_USAGE)
    addresses = {instance.instance for instance in recording.instances}
    for address in args.without:
        if address not in addresses:
            hint = did_you_mean(address, sorted(addresses)[:20], or_list_all=True)
            raise Failure(f"--without: no instance {address!r} was recorded; {hint}", EXIT_USAGE)
    return Scenario(args.policy, frozenset(args.without), args.add, args.rate)


def _replay(recording: Recording, fleet: Fleet, scenario: Scenario) -> list[RecordedRequest]:
    ended = [0]

    def on_progress(count: int) -> None:
        ended[0] = count

    with progress(lambda: f"{ended[0]} of {len(recording.requests)} requests replayed"):
        return replay(recording, fleet, scenario, on_progress=on_progress)


def _notes(recording: Recording) -> Iterator[str]:
    if not recording.is_complete():
        yield "a recording was broken off: its last requests are missing"
    if lost := recording.lost():
        yield f"{lost} requests are missing: they came faster than they could be written"


def _doubts(figures: dict[str, TrafficFigures]) -> Iterator[str]:
    recorded, replayed = figures["recorded"], figures["replayed"]
    for share in (0.5, 0.99):
        was, would = recorded.latency_ms(share), replayed.latency_ms(share)
        if abs(would - was) > _CALIBRATION * was:
            yield (
                f"the replay as recorded has a p{share * 100:g} of {would:.1f} ms, not {was:.1f}: "
                "what is changed is as far off"
            )
    if abs(replayed.failed - recorded.failed) > _CALIBRATION_SHARE * recorded.requests:
        yield (
            f"in the replay as recorded {replayed.failed} requests got no slot in time, not "
            f"{recorded.failed}: what is changed is as far off"
        )


def _to_json(figures: TrafficFigures) -> dict[str, Any]:
    return {
        "requests": figures.requests,
        "requests_per_s": round(_rate(figures), 3),
        "no_slot": figures.failed,
        "latency_ms": {_name(share): round(figures.latency_ms(share), 3) for share in _SHARES},
        "wait_ms": {_name(share): round(figures.wait_ms(share), 3) for share in _SHARES},
        "by_instance": dict(sorted(figures.by_instance.items())),
    }


def _name(share: float) -> str:
    return f"p{share * 100:g}"


def _rate(figures: TrafficFigures) -> float:
    return figures.requests / figures.seconds if figures.seconds else 0.0


def _lines(
    figures: dict[str, TrafficFigures], notes: list[str], scenario: Scenario
) -> Iterator[str]:
    """Yield a table with a column for each of the figures, and the notes."""
    parts = list(figures.values())
    addresses = sorted({address for part in parts for address in part.by_instance})

    def row(title: str, show: Callable[[TrafficFigures], str]) -> list[str]:
        return [title, *map(show, parts)]

    rows = [
        ["", *figures],
        row("requests", lambda part: str(part.requests)),
        row("requests/s", lambda part: f"{_rate(part):.1f}"),
        row("p50 ms", lambda part: f"{part.latency_ms(0.5):.1f}"),
        row("p90 ms", lambda part: f"{part.latency_ms(0.9):.1f}"),
        row("p99 ms", lambda part: f"{part.latency_ms(0.99):.1f}"),
        row("wait for a slot, p90 ms", lambda part: f"{part.wait_ms(0.9):.1f}"),
        row("wait for a slot, p99 ms", lambda part: f"{part.wait_ms(0.99):.1f}"),
        row("no slot in time (503)", lambda part: str(part.failed)),
    ]
    for address in addresses[:_MAX_ROWS]:
        counts = (str(part.by_instance.get(address, 0)) for part in parts)
        rows.append([f"at {address}", *counts])
    yield from align(rows)
    if scenario != Scenario():
        yield f"\nchanged: {_describe(scenario)}"
    for note in notes:
        yield f"note: {note}"


def _describe(scenario: Scenario) -> str:
    changes = [f"policy {scenario.policy}"] if scenario.policy else []
    changes += [f"without {address}" for address in sorted(scenario.without)]
    if scenario.added:
        changes.append(f"{scenario.added} more instances of each service")
    if scenario.rate != 1.0:
        changes.append(f"arrivals x{scenario.rate:g}")
    return ", ".join(changes)
