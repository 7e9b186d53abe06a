"""What the commands share that speak to a running Kong."""

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence

from asectl import http_client, options
from asectl.http_client import HttpTarget
from asectl.main import EXIT_USAGE, Failure
from asectl.progress import progress
from config.options import KongOptions
from deploy.kong.admin import Kong, KongApiError, KongState, connect
from deploy.kong.document import tags, upstream_name
from deploy.kong.entities import Change, Entity, expand_target, find_conflicts

_TIMEOUT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of the section `kong`, and `--ca`."""
    options.add_config_arguments(parser, ("kong",))
    http_client.add_ca_argument(parser)


@contextlib.contextmanager
def open_kong(kong: KongOptions, args: argparse.Namespace) -> Iterator[tuple[Kong, KongState]]:
    """Connect to the Admin API; the value is the Kong, and what it has.

    Raises Failure (exit code 2) if Kong cannot be reached or refuses a request, here and within.
    """
    url = kong.admin.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise Failure(f"kong.admin {kong.admin!r}: must begin with http:// or https://", EXIT_USAGE)
    if "@" in url:
        raise Failure("kong.admin: a password in a URL is shown; use kong.admin_token", EXIT_USAGE)
    try:
        with HttpTarget(url, args.ca).client(_TIMEOUT_S) as client:
            if kong.admin_token:
                client.headers["kong-admin-token"] = kong.admin_token
            with progress(lambda: f"reading what {url} has"):
                connected = connect(client)
                state = connected.read(tags(kong)[-1])
            yield connected, state
    except KongApiError as error:
        raise Failure(str(error), EXIT_USAGE) from None


def apply(kong: Kong, changes: Sequence[Change]) -> None:
    """Make changes and print each that is in effect.

    Raises KongApiError if one is refused; what is in effect then stays, and stderr says so.
    """
    applied = 0
    try:
        for change in kong.apply(changes):
            applied += 1
            print(change, flush=True)
    except KongApiError:
        if applied:
            remaining = len(changes) - applied
            print(
                f"asectl: {applied} of {len(changes)} changes are in effect, {remaining} are not; "
                "mend the cause and push again",
                file=sys.stderr,
            )
        raise


def check_conflicts(kong: KongOptions, changes: Sequence[Change], state: KongState) -> None:
    """Raise Failure if an entity of someone else has the name of one that is to be created.

    Such an entity is never touched.
    """
    conflicts = find_conflicts(changes, state.others)
    if conflicts:
        names = ", ".join(map(str, conflicts))
        raise Failure(
            f"Kong has {names} without the tag {tags(kong)[-1]}: not ours. Nothing is changed. "
            "Choose another kong.name, or add the tag to what is ours"
        )


def find_target(kong: KongOptions, state: KongState, addr: str) -> Entity | None:
    """Return the target of our upstream for the gateway at `addr`, None if there is none.

    Raises Failure if Kong has no upstream of ours.
    """
    upstream = upstream_name(kong)
    if ("upstreams", upstream) not in state.ours:
        raise Failure(f"Kong has no upstream {upstream} of ours; `asectl kong push` makes it")
    return state.ours.get(("targets", f"{upstream}/{expand_target(addr)}"))
