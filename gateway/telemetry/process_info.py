"""What a process says of itself at its admin port: version, age, and the options that it has."""

import asyncio
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from config.describe import effective_options
from config.options import Config
from gateway.unary import handler


def process_info(role: str, config: Config) -> Callable[[], dict[str, Any]]:
    """Return a function that describes this process, which has just started.

    `options` has the value of each option at the start, by name; secrets are hidden. `compiled`
    and `uvloop` say whether the hot modules and the event loop are.
    """
    started_at = time.monotonic()
    options = {option.name: option.value for option in effective_options(config, {})}

    def describe() -> dict[str, Any]:
        return {
            "role": role,
            "version": version("athena-serving"),
            "python": platform.python_version(),
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - started_at, 1),
            "compiled": str(handler.__file__).endswith(".so"),
            "uvloop": type(asyncio.get_running_loop()).__module__.startswith("uvloop"),
            "options": options,
        }

    return describe
