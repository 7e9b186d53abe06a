"""What inference templates import from `main.utils`, where Django or dotenv are not installed.

The names are those of MITLab's inference template. A template whose own modules can be imported
uses those.
"""

import functools
import importlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

log = logging.getLogger("ase.template")

# What the template expects in its environment.
_DEFAULTS: Final = {"MODEL_SAVE_PATH": "./model/", "LOGS_FOLDER_PATH": "./logs/"}
_MODULES: Final = ("main", "main.utils", "main.utils.env_loader", "main.utils.logger")


def install(path: Path) -> None:
    """Have a template at `path` find what it imports: its own modules, or stand-ins for them."""
    root = next((p for p in path.parents if (p / "main/utils").is_dir()), None)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    if root is not None:
        sys.path.insert(0, str(root))
        try:
            importlib.import_module("main.utils.logger")
            importlib.import_module("main.utils.env_loader")
        except ImportError as error:
            log.info("stand-ins for main.utils: %s", error)
        else:
            return
    for name in [name for name in sys.modules if name.partition(".")[0] == "main"]:
        del sys.modules[name]
    for name in _MODULES:
        module = ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
    environment = SimpleNamespace(**{name: os.environ[name] for name in _DEFAULTS})
    sys.modules["main.utils.env_loader"].default_env = environment  # type: ignore[attr-defined]
    sys.modules["main.utils.env_loader"].customized_env = environment  # type: ignore[attr-defined]
    sys.modules["main.utils.logger"].log_writer = log_writer  # type: ignore[attr-defined]
    sys.modules["main.utils.logger"].log_trigger = log_trigger  # type: ignore[attr-defined]


def log_writer(
    log_level: str,
    func: Any = None,
    args: Any = None,  # noqa: ARG001 (a name of the template's)
    message: Any = None,
) -> None:
    """Log a message of the template."""
    level = logging.getLevelNamesMapping().get(str(log_level).upper(), logging.INFO)
    log.log(level, "%s: %s", getattr(func, "__name__", "template"), message)


def log_trigger(log_level: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that logs each call of a function."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            log_writer(log_level, function, message="called")
            return function(*args, **kwargs)

        return call

    return decorate
