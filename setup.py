"""Builds the wheel; with ASE_COMPILE=1 the modules that every request passes are compiled by mypyc.

They stay the same modules: the .py files are in the wheel too, and tests run on either.
"""

import os
import sys

from setuptools import setup

COMPILED = [
    "atom/caller.py", "atom/decode.py", "atom/dialects.py", "atom/encode.py", "atom/faults.py",
    "atom/streams.py", "atom/wire.py", "atom/xsf_streams.py",
    "config/options.py",
    "gateway/access.py", "gateway/answers.py", "gateway/body.py", "gateway/clocks.py",
    "gateway/closing.py", "gateway/contracts.py", "gateway/course.py", "gateway/door.py",
    "gateway/events.py", "gateway/exchange.py", "gateway/frames.py",
    "gateway/head.py", "gateway/heads.py", "gateway/identity.py", "gateway/ids.py",
    "gateway/lane.py", "gateway/messages.py", "gateway/metrics.py", "gateway/once.py",
    "gateway/outbox.py", "gateway/parts.py", "gateway/record.py", "gateway/routes.py",
    "gateway/session.py", "gateway/sessions.py", "gateway/socket.py", "gateway/talk.py",
    "gateway/turns.py",
    "lb/affinity.py", "lb/arms.py", "lb/balancer.py", "lb/budget.py", "lb/entry.py",
    "lb/follower.py",
    "lb/health.py", "lb/life.py", "lb/line.py", "lb/lives.py", "lb/meter.py", "lb/pick.py",
    "lb/policy.py", "lb/pool.py", "lb/report.py", "lb/table.py", "lb/trigger.py",
    "rpc/backoff.py", "rpc/calls.py", "rpc/client.py", "rpc/connection.py", "rpc/deadlines.py",
    "rpc/frames.py", "rpc/headers.py", "rpc/keepalive.py", "rpc/messages.py", "rpc/metadata.py",
    "rpc/outbound.py", "rpc/status.py", "rpc/streams.py", "rpc/wire.py",
    "schemas/effects.py", "schemas/errors.py", "schemas/judge.py", "schemas/service.py",
    "schemas/session.py",
    "schemas/text.py",
    "schemas/validate.py",
]  # fmt: skip

# `make check` holds the types to account, with every stub there is; here they only have to be read.
_MYPY_ARGS = ["--config-file=", "--ignore-missing-imports"]


def _extensions() -> list[object]:
    if os.environ.get("ASE_COMPILE") != "1":
        return []
    try:
        from mypyc.build import mypycify
    except ImportError:
        if "egg_info" in sys.argv:  # the installer is still asking what the build needs
            return []
        sys.exit("ASE_COMPILE=1 needs mypy, and a C compiler: pip install 'mypy>=2.3,<3'")
    extensions: list[object] = mypycify([*_MYPY_ARGS, *COMPILED], opt_level="3", debug_level="0")
    return extensions


setup(
    ext_modules=_extensions(),
    setup_requires=["mypy>=2.3,<3"] if os.environ.get("ASE_COMPILE") == "1" else [],
)
