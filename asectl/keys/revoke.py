"""`asectl key revoke`: a key is refused from now on, by every gateway that reads the store."""

import argparse
import sys
import time

from asectl.keys import store as key_store
from asectl.main import EXIT_CONFIG, EXIT_FAILED, Failure
from gateway.access.key_table import KeySourceError
from schemas.model.suggestion import did_you_mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    key_store.add_store_arguments(parser)
    parser.add_argument("key_id", metavar="ID", help="the id of asectl key list")


def run(args: argparse.Namespace) -> int:
    """Revoke the key. Raises Failure if there is none of that id."""
    store, _ = key_store.open_store(args)
    try:
        if not store.revoke(args.key_id, time.time()):
            ids = [entry.key.identity.key_id for entry in store.entries()]
            hint = did_you_mean(args.key_id, ids)
            raise Failure(f"there is no key {args.key_id!r}; {hint}".rstrip("; "), EXIT_FAILED)
    except KeySourceError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    print(f"{args.key_id} is revoked; gateways refuse it within 1 s", file=sys.stderr)
    return 0
