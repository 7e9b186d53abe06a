"""Lines that are written again in place: on a terminal, and where there is none."""

import io
from pathlib import Path

import pytest

from asectl.live_lines import LiveLines, fit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_them_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "10")
    terminal = Terminal()
    lines = LiveLines(terminal)
    lines.erase()
    lines.show(["a", "b\x1b[31m"])
    lines.show(["c", "d"])
    lines.erase()
    lines.erase()
    assert terminal.getvalue() == ("\r\x1b[Ja\nb?[31m\n\x1b[2A\r\x1b[Jc\nd\n\x1b[2A\r\x1b[J")


def test_elsewhere_each_new_sum_is_a_line(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with file.open("w") as stream:
        lines = LiveLines(stream)
        for waiting in ("2 waiting", "2 waiting", "1 waiting"):
            lines.show(["a table", waiting])
        lines.erase()
    assert file.read_text() == "2 waiting\n1 waiting\n"


def test_no_line_wraps_and_the_sum_is_always_there() -> None:
    lines = [f"instance {number}" for number in range(9)] + ["the sum"]
    assert fit(lines, 80, 24) == lines
    assert fit(lines, 9, 4) == ["instance", "instance", "the sum"]
    assert fit(lines, 80, 1) == ["instance 0", "the sum"]
