"""Hints for a name that is not known. Pure."""

import difflib
from collections.abc import Iterable, Mapping


def did_you_mean(
    name: str,
    known_names: Iterable[str],
    *,
    or_list_all: bool = False,
    aliases: Mapping[str, str] | None = None,
) -> str:
    """Return a hint: the known name that is most like `name`, as "did you mean 'port'?".

    `aliases` are further names, and the known name that each stands for. Without a similar one the
    hint is empty, or lists all known names if `or_list_all`.
    """
    known_names, aliases = list(known_names), aliases or {}
    close_matches = difflib.get_close_matches(name, [*known_names, *aliases], n=1)
    if close_matches:
        return f"did you mean {aliases.get(close_matches[0], close_matches[0])!r}?"
    return f"known: {', '.join(known_names)}" if or_list_all else ""
