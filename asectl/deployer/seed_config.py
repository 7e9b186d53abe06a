"""The configuration of Astron xmod-shim, as options of the deployer. Pure.

It has `service.port`, `plugins.defaultShimlet`, `plugins.defaultPipeline` and `logging.level`.
"""

from collections.abc import Mapping
from typing import Final

_OPTIONS: Final = {
    ("service", "port"): "deployer.port",
    ("plugins", "defaultShimlet"): "deployer.shimlet",
    ("plugins", "defaultPipeline"): "deployer.pipeline",
    ("logging", "level"): "log_level",
}
_SECTIONS: Final = frozenset(section for section, _ in _OPTIONS)


def is_seed_config(tree: object) -> bool:
    """Return whether a file has sections of the seed, and no others."""
    return isinstance(tree, Mapping) and bool(tree) and set(tree) <= _SECTIONS


def seed_options(tree: Mapping[str, object]) -> tuple[dict[str, str], list[str]]:
    """Return the options that a file of the seed sets, and the members that mean nothing here."""
    options: dict[str, str] = {}
    unknown: list[str] = []
    for section, members in tree.items():
        if not isinstance(members, Mapping):
            unknown.append(section)
            continue
        for name, value in members.items():
            option = _OPTIONS.get((section, str(name)))
            if option is None:
                unknown.append(f"{section}.{name}")
            else:
                options[option] = str(value)
    return options, unknown
