"""`asectl key create`: a new API key, or a pair of key and secret for signatures."""

import argparse
import re
import secrets
import sys
import time

from asectl.durations import parse_duration
from asectl.keys import store as key_store
from asectl.main import EXIT_CONFIG, EXIT_USAGE, Failure
from config.options import SERVICE
from gateway.access import api_key
from gateway.access.identity import CallerLimits, Identity
from gateway.access.key_store import KeyEntry, KeyStore
from gateway.access.key_table import KeySourceError, StoredKey
from registry.access import parse_grant
from registry.errors import RegistryError

_SECRET_BYTES = 32
_MAX_RATE = 1_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    key_store.add_store_arguments(parser)
    parser.add_argument("--app", required=True, help="the app id that the caller speaks for")
    parser.add_argument("--services", default="", help="service ids, with commas; default: all")
    parser.add_argument(
        "--expires", type=parse_duration, default=0.0, help="as 90d; default: never"
    )
    parser.add_argument("--hmac", action="store_true", help="a pair for signatures, not an API key")
    parser.add_argument("--rps", type=float, default=0.0, help="requests a second, at most")
    parser.add_argument("--burst", type=int, default=0, help="requests at once; default: --rps")
    parser.add_argument("--concurrency", type=int, default=0, help="requests at a time, at most")
    parser.add_argument("--max-body", type=int, default=0, help="bytes of a body, at most")
    parser.add_argument(
        "--quota", type=key_store.parse_quota, default=(0, 1), help="as 1000/day or 100000/month"
    )
    parser.add_argument(
        "--role",
        action="append",
        default=[],
        metavar="ROLE[@PROJECT]",
        help="for the registry: reader, editor, publisher or admin; again for more",
    )
    parser.add_argument("--comment", default="", help="shown by asectl key list")


def run(args: argparse.Namespace) -> int:
    """Create the key and print it; what it is for goes to stderr. Raises Failure."""
    services = [name for name in re.split(r"\s*,\s*", args.services.strip()) if name]
    for name in services:
        if not re.fullmatch(SERVICE[0], name):
            raise Failure(f"--services: {name!r} is not {SERVICE[1]}", EXIT_USAGE)
    least = min(args.burst, args.concurrency, args.max_body)
    if not args.app.isprintable() or not args.app or least < 0:
        raise Failure("--app must not be empty, and limits not be negative", EXIT_USAGE)
    if not 0 <= args.rps <= _MAX_RATE:
        raise Failure(f"--rps must be 0 to {_MAX_RATE:,}", EXIT_USAGE)
    roles = _roles(args)
    quota, quota_days = args.quota
    limits = CallerLimits(args.rps, args.burst, args.concurrency, quota, quota_days, args.max_body)
    store, path = key_store.open_store(args, create=True)
    expires_at = time.time() + args.expires if args.expires else 0.0
    text, entry = new_entry(store, args.app, services, limits, expires_at, roles, is_pair=args.hmac)
    try:
        store.add(KeyEntry(entry.key, entry.created_at, args.comment))
    except KeySourceError as error:
        raise Failure(str(error), EXIT_CONFIG) from None
    print(text)
    print(_explanation(entry, str(path)), file=sys.stderr)
    return 0


def new_entry(
    store: KeyStore,
    app_id: str,
    services: list[str],
    limits: CallerLimits,
    expires_at: float,
    roles: list[str],
    *,
    is_pair: bool,
) -> tuple[str, KeyEntry]:
    """Return the text of a new key for its owner, and the entry for the store.

    The text of a pair is two lines, `api_key=...` and `api_secret=...`.
    """
    key_id = api_key.new_key_id(secrets.choice)
    method = "hmac" if is_pair else "key"
    identity = Identity(app_id, key_id, frozenset(services), method, limits, roles=frozenset(roles))
    if is_pair:
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        text = f"api_key={key_id}\napi_secret={secret}"
        key = StoredKey(identity, secret=secret, expires_at=expires_at)
    else:
        text = api_key.new_key(secrets.choice)
        key_hash = api_key.key_hash(text, store.hash_key())
        key = StoredKey(identity, key_hash=key_hash, expires_at=expires_at)
    return text, KeyEntry(key, time.time())


def _roles(args: argparse.Namespace) -> list[str]:
    """Return the roles for the registry. Raises Failure."""
    if args.role and args.hmac:
        raise Failure("--role: the registry takes API keys, no signatures", EXIT_USAGE)
    try:
        for grant in args.role:
            parse_grant(grant)
    except RegistryError as error:
        raise Failure(f"--role: {error}", EXIT_USAGE) from None
    return list(args.role)


def _explanation(entry: KeyEntry, path: str) -> str:
    identity, is_pair = entry.key.identity, bool(entry.key.secret)
    services = ", ".join(sorted(identity.services)) or "all services"
    if identity.roles:
        return (
            f"key {identity.key_id} of app {identity.app_id}, "
            f"{', '.join(sorted(identity.roles))} of the registry; "
            f"expires: {key_store.time_text(entry.key.expires_at)}\n"
            f"It is shown this once; only its hash is in {path}.\n"
            "A registry takes it with `auth: key` below `registry` in its ase.yaml; "
            "asectl setup keeps it for asectl config."
        )
    kept = "the secret is in" if is_pair else "only its hash is in"
    use = "`asectl sign` signs by it" if is_pair else "Send it as `Authorization: Bearer KEY`"
    return (
        f"key {identity.key_id} of app {identity.app_id}, for {services}; "
        f"expires: {key_store.time_text(entry.key.expires_at)}\n"
        f"It is shown this once; {kept} {path}. {use}.\n"
        f"A gateway takes it with `auth: {identity.method}` in its ase.yaml, "
        f"or --auth-methods {identity.method}."
    )
