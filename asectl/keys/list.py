"""`asectl key list`: the keys, without what they are."""

import argparse
import time
from typing import Any

from asectl.keys import store as key_store
from asectl.main import EXIT_CONFIG, Failure
from asectl.output import add_output_argument, print_output
from asectl.table import align
from gateway.access.key_store import KeyEntry
from gateway.access.key_table import KeySourceError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    key_store.add_store_arguments(parser)
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Print the keys in the order of their creation. Raises Failure."""
    store, _ = key_store.open_store(args)
    try:
        rows = [_row(entry, time.time()) for entry in store.entries()]
    except KeySourceError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    columns = ("id", "app", "kind", "services", "limits", "ends", "state", "comment")
    lines = [[column.upper() for column in columns]]
    lines += [[str(row[column]) for column in columns] for row in rows]
    print_output(args.output, rows, align(lines))
    return 0


def _row(entry: KeyEntry, now: float) -> dict[str, Any]:
    key, identity = entry.key, entry.key.identity
    limits = identity.limits
    period = "day" if limits.quota_days == 1 else "month"
    texts = [
        f"{limits.rate:g}/s" if limits.rate else "",
        f"{limits.concurrency} at a time" if limits.concurrency else "",
        f"{limits.quota}/{period}" if limits.quota else "",
        f"bodies of {limits.max_body} bytes" if limits.max_body else "",
    ]
    ends = [at for at in (key.expires_at, key.revoked_at) if at]
    return {
        "id": identity.key_id,
        "app": identity.app_id,
        "kind": identity.method,
        "services": ",".join(sorted(identity.services or identity.roles)) or "all",
        "limits": ", ".join(filter(None, texts)) or "none",
        "created": key_store.time_text(entry.created_at),
        "ends": key_store.time_text(min(ends, default=0.0)),
        "state": key.problem(now).removeprefix("it ") or "valid",
        "comment": entry.comment,
    }
