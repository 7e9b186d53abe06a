"""Line charts over a few values of x, as SVG text for a browser or for print. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

Series = Mapping[str, Sequence[tuple[float, float]]]

_WIDTH, _HEIGHT = 720, 400
_MAX_LABELS = 14
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 44, 52
_COLOURS = ("#0b6e4f", "#c8553d", "#2f5d8a", "#8e6c8a", "#b08900", "#555555", "#d17a22", "#1f9e9e",
            "#a23b72", "#6b8e23")  # fmt: skip


def render_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Series,
    *,
    y_max: float,
    x_names: Sequence[str] = (),
) -> str:
    """Return a line chart of `series` as SVG text; the first series is drawn thicker.

    The values of x are spaced evenly, regardless of their distances; with `x_names` they are
    indices of those names. The y axis runs from 0 to `y_max`, rounded up to a grid line; points
    above it are cut off.
    """
    xs = sorted({x for points in series.values() for x, _ in points})
    step = _grid_step(y_max)
    axis_max = ceil(y_max / step) * step
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg {head} font-family="sans-serif" role="img" aria-label="{escape(title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 24, title, size=15),
        _text(_LEFT + _plot_width() / 2, _HEIGHT - 12, x_label, anchor="middle"),
        _text(_LEFT, 40, y_label),
    ]
    x_texts = [x_names[int(x)] if x_names else f"{x:g}" for x in xs]
    parts += _grid(xs, x_texts, axis_max, step)
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(_line(points, xs, axis_max, colour, is_main=number == 0))
        y = _TOP + 14 + 18 * number
        x = _WIDTH - _RIGHT + 16
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="{3 if number == 0 else 1.6}"/>'
        )
        parts.append(_text(x + 28, y + 4, name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def stack_charts(charts: Sequence[str]) -> str:
    """Return charts below each other as one SVG text."""
    height = _HEIGHT * len(charts)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}">']
    for number, chart in enumerate(charts):
        y = _HEIGHT * number
        parts += [f'<svg y="{y}" width="{_WIDTH}" height="{_HEIGHT}">', chart.strip(), "</svg>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(xs: Sequence[float], x_texts: Sequence[str], axis_max: float, step: float) -> list[str]:
    parts = []
    for number in range(round(axis_max / step) + 1):
        y = _to_pixel_y(number * step, axis_max)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, f"{number * step:g}", anchor="end"))
    every = ceil(len(xs) / _MAX_LABELS)
    parts += [
        _text(_to_pixel_x(x, xs), _HEIGHT - _BOTTOM + 18, text, anchor="middle")
        for x, text in [*zip(xs, x_texts, strict=True)][::every]
    ]
    return parts


def _line(
    points: Sequence[tuple[float, float]],
    xs: Sequence[float],
    axis_max: float,
    colour: str,
    *,
    is_main: bool,
) -> str:
    coordinates = " ".join(
        f"{_to_pixel_x(x, xs):.1f},{_to_pixel_y(min(y, axis_max), axis_max):.1f}"
        for x, y in sorted(points)
    )
    width = 3 if is_main else 1.6
    dots = "".join(
        f'<circle cx="{_to_pixel_x(x, xs):.1f}" cy="{_to_pixel_y(y, axis_max):.1f}" '
        f'r="{width + 0.6}" fill="{colour}"/>'
        for x, y in points
        if y <= axis_max
    )
    line = (
        f'<polyline points="{coordinates}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
    )
    return line + dots


def _grid_step(y_max: float) -> float:
    """Return a distance of grid lines that gives at most five lines above 0.

    It is 1, 2 or 5 times a power of ten, and at least 1.
    """
    rough = y_max / 5
    power = 10.0 ** int(log10(rough)) if rough >= 1 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _plot_width() -> float:
    return _WIDTH - _LEFT - _RIGHT


def _to_pixel_x(x: float, xs: Sequence[float]) -> float:
    return _LEFT + _plot_width() * (xs.index(x) + 0.5) / len(xs)


def _to_pixel_y(y: float, axis_max: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / axis_max


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    position = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {position} font-size="{size}" fill="#222">{escape(text)}</text>'
