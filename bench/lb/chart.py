"""Lines over a few values of x, as SVG text: readable in a browser and on paper. Pure."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

Series = Mapping[str, Sequence[tuple[float, float]]]

_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 44, 52
_COLOURS = ("#0b6e4f", "#c8553d", "#2f5d8a", "#8e6c8a", "#b08900", "#555555", "#d17a22", "#1f9e9e",
            "#a23b72", "#6b8e23")  # fmt: skip


def chart(title: str, x_name: str, y_name: str, series: Series, *, most: float) -> str:
    """Return a picture of series of (x, y); x stand evenly, y from 0 to `most`, cut beyond."""
    xs = sorted({x for points in series.values() for x, _ in points})
    step = _step(most)
    top = ceil(most / step) * step
    head = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
    parts = [
        f'<svg {head} font-family="sans-serif" role="img" aria-label="{escape(title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 24, title, size=15),
        _text(_LEFT + _across() / 2, _HEIGHT - 12, x_name, anchor="middle"),
        _text(_LEFT, 40, y_name),
    ]
    parts += _grid(xs, top, step)
    for number, (name, points) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(_line(points, xs, top, colour, wide=number == 0))
        y = _TOP + 14 + 18 * number
        x = _WIDTH - _RIGHT + 16
        parts.append(
            f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" '
            f'stroke-width="{3 if number == 0 else 1.6}"/>'
        )
        parts.append(_text(x + 28, y + 4, name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(xs: Sequence[float], top: float, step: float) -> list[str]:
    parts = []
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        )
        parts.append(_text(_LEFT - 8, y + 4, f"{number * step:g}", anchor="end"))
    parts += [_text(_x(x, xs), _HEIGHT - _BOTTOM + 18, f"{x:g}", anchor="middle") for x in xs]
    return parts


def _line(
    points: Sequence[tuple[float, float]],
    xs: Sequence[float],
    top: float,
    colour: str,
    *,
    wide: bool,
) -> str:
    told = " ".join(f"{_x(x, xs):.1f},{_y(min(y, top), top):.1f}" for x, y in sorted(points))
    width = 3 if wide else 1.6
    dots = "".join(
        f'<circle cx="{_x(x, xs):.1f}" cy="{_y(y, top):.1f}" r="{width + 0.6}" fill="{colour}"/>'
        for x, y in points
        if y <= top
    )
    return f'<polyline points="{told}" fill="none" stroke="{colour}" stroke-width="{width}"/>{dots}'


def _step(most: float) -> float:
    """Return a round distance of grid lines: 1, 2 or 5 times a power of ten, some five lines."""
    rough = most / 5
    power = 10.0 ** int(log10(rough)) if rough >= 1 else 1.0
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def _across() -> float:
    return _WIDTH - _LEFT - _RIGHT


def _x(x: float, xs: Sequence[float]) -> float:
    return _LEFT + _across() * (xs.index(x) + 0.5) / len(xs)


def _y(y: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * y / top


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {where} font-size="{size}" fill="#222">{escape(text)}</text>'
