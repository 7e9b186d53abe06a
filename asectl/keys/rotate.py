"""`asectl key rotate`: a new key with the rights of an old one, which is valid for a while more."""

import argparse
import sys
import time

from asectl.durations import parse_duration
from asectl.keys import store as key_store
from asectl.keys.create import new_entry
from asectl.main import EXIT_CONFIG, EXIT_FAILED, Failure
from gateway.access.key_store import KeyEntry
from gateway.access.key_table import KeySourceError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    key_store.add_store_arguments(parser)
    parser.add_argument("key_id", metavar="ID", help="the id of asectl key list")
    parser.add_argument(
        "--overlap",
        type=parse_duration,
        default=86_400.0,
        help="how long the old key is valid beside the new one (default: 1d)",
    )


def run(args: argparse.Namespace) -> int:
    """Create the new key and print it; revoke the old one at the end of the overlap."""
    store, _ = key_store.open_store(args)
    try:
        old = next((e for e in store.entries() if e.key.identity.key_id == args.key_id), None)
        now = time.time()
        if old is None or old.key.problem(now):
            raise Failure(f"there is no valid key {args.key_id!r}", EXIT_FAILED)
        identity, lifetime = old.key.identity, old.key.expires_at - old.created_at
        text, entry = new_entry(
            store,
            identity.app_id,
            sorted(identity.services),
            identity.limits,
            now + lifetime if old.key.expires_at else 0.0,
            sorted(identity.roles),
            is_pair=bool(old.key.secret),
        )
        store.add(KeyEntry(entry.key, entry.created_at, old.comment))
        store.revoke(args.key_id, now + args.overlap)
    except KeySourceError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    print(text)
    end = key_store.time_text(now + args.overlap)
    new_id = entry.key.identity.key_id
    print(f"{new_id} takes the place of {args.key_id}, which ends at {end}", file=sys.stderr)
    return 0
