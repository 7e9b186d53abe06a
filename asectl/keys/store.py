"""The store that the commands of `asectl key` work on, and the texts of its values."""

import argparse
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from asectl import options
from asectl.main import EXIT_CONFIG, Failure
from config.options import AuthOptions, option_fields
from gateway.access.api_key import HASH_KEY_BYTES
from gateway.access.key_store import KeyStore
from gateway.access.key_table import KeySourceError

_QUOTA_DAYS = {"day": 1, "month": 30}


def add_store_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that say which store it is."""
    names = [f"auth.{field.name}" for field in option_fields(AuthOptions)]
    names.remove("auth.keys")
    exclude = (*names, *options.TOP_LEVEL_OPTIONS)
    options.add_config_arguments(parser, ("auth",), exclude=exclude)


def open_store(args: argparse.Namespace, *, create: bool = False) -> tuple[KeyStore, Path]:
    """Return the store of the config, and its path; `create` makes it if there is none.

    Raises Failure (exit code 3).
    """
    config, base = options.load_config(args)
    path = base / config.auth.keys
    store = KeyStore(path)
    try:
        if create:
            store.create(secrets.token_bytes(HASH_KEY_BYTES))
        store.hash_key()
    except KeySourceError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    return store, path


def parse_quota(text: str) -> tuple[int, int]:
    """Return number and days of a text such as 1000/day or 100000/month.

    Raises ArgumentTypeError.
    """
    match = re.fullmatch(r"([1-9]\d{0,14})/(day|month)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no quota such as 1000/day or 100000/month")
    return int(match[1]), _QUOTA_DAYS[match[2]]


def time_text(at: float) -> str:
    """Return a Unix time in UTC, "never" for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC") if at else "never"
