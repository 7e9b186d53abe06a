"""The history of the ratios: a chart of several machines over the revisions they measured."""

from bench.history import draw, format_table

ROWS = [
    {"revision": "aaaaaaa", "date": "2026-11-24T10:00:00+00:00", "subject": "Begin",
     "rps": 10_000.0, "cpu_us_per_request": 90.0, "ours/envoy": 1.5},
    {"revision": "bbbbbbb", "date": "2026-11-25T10:00:00+00:00", "subject": "Go on",
     "rps": 20_000.0, "cpu_us_per_request": 45.0, "ours/envoy": 3.0},
]  # fmt: skip


def test_a_line_for_each_machine() -> None:
    text = draw({"Intel Xeon": ROWS, "AMD EPYC": ROWS[1:]})
    assert text.count("<polyline") == 2
    assert text.index(">aaaaaaa<") < text.index(">bbbbbbb<")
    assert ">AMD EPYC<" in text


def test_a_row_for_each_revision() -> None:
    lines = format_table({"revisions": ROWS}).splitlines()
    assert len(lines) == 3
    assert lines[2].split() == ["bbbbbbb", "2026-11-25", "20,000", "45.0", "3.000", "Go", "on"]
