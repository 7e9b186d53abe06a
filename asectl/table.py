"""Text for a terminal: tables, and lines that cannot control it. Pure."""

from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each row, its cells padded to the widest of their column.

    All rows have the same number of cells; no line ends with blanks.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def printable(line: str) -> str:
    """Return a line with "?" for each unprintable character other than newline.

    Text from a model or a client could otherwise send control sequences to the terminal.
    """
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in line)
