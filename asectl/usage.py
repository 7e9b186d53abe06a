"""`asectl usage`: sums of what callers used, from the file of `usage.store`."""

import argparse
import csv
import io
import time
from typing import Any

from asectl import options
from asectl.durations import parse_duration
from asectl.main import EXIT_CONFIG, EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align
from config.options import UsageOptions, option_fields
from gateway.usage.store import GROUPS, UsageStore, UsageStoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    others = [f"usage.{field.name}" for field in option_fields(UsageOptions)]
    others.remove("usage.store")
    exclude = (*others, *options.TOP_LEVEL_OPTIONS)
    options.add_config_arguments(parser, ("usage",), exclude=exclude)
    parser.add_argument("--by", default="app,service", help=f"some of {', '.join(GROUPS)}")
    parser.add_argument(
        "--since", type=parse_duration, default=86_400.0, help="as 30m, 12h or 7d (1d)"
    )
    add_output_argument(parser, "csv")


def run(args: argparse.Namespace) -> int:
    """Print the sums, the most requests first. Raises Failure."""
    groups = [name.strip() for name in args.by.split(",") if name.strip()]
    for name in groups:
        if name not in GROUPS:
            raise Failure(f"--by: {name!r} is none of {', '.join(GROUPS)}", EXIT_USAGE)
    config, base = options.load_config(args)
    path = base / config.usage.store
    if not config.usage.store or not path.is_file():
        hint = "set usage.store in ase.yaml, and call a service"
        raise Failure(f"there is no file of usage: {hint}", EXIT_CONFIG)
    try:
        rows = UsageStore(path).sums(groups, time.time() - args.since)
    except UsageStoreError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    if args.output == "csv":
        print(_as_csv(rows), end="")
    else:
        print_output(args.output, rows, _as_table(rows).splitlines())
    return 0


def _as_csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "units": _as_text(row["units"])} for row in rows)
    return text.getvalue()


def _as_table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "nothing was used in this time"
    lines = [[name.upper() for name in rows[0]]]
    lines += [[_as_text(value) for value in row.values()] for row in rows]
    return "\n".join(align(lines))


def _as_text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={amount}" for name, amount in value.items())
    return "" if value is None else str(value)
