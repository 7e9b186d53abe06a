"""Hints for a name that is not known. Pure."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known_names: Iterable[str], *, or_list_all: bool = False) -> str:
    """Return a hint: the known name that is most like `name`, as "did you mean 'port'?".

    Without a similar one the hint is empty, or lists all known names if `or_list_all`.
    """
    known_names = list(known_names)
    close_matches = difflib.get_close_matches(name, known_names, n=1)
    if close_matches:
        return f"did you mean {close_matches[0]!r}?"
    return f"known: {', '.join(known_names)}" if or_list_all else ""
