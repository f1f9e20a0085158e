"""Drawings as inline SVG: they take their colors from the page and need nothing else.

Lines differ in dashes as well as in color, and every value drawn stands in a table too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Point = tuple[float, float]

WIDTH, HEIGHT = 380.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 10.0, 12.0, 34.0
MOST_POINTS, MOST_DOTS = 240, 60


@dataclass(frozen=True, slots=True)
class Series:
    """A line.

    Attributes:
        label: what it is.
        points: x and y, by rising x.
        kind: how it is drawn: ``first`` to ``fourth``, ``limit``, or ``ring`` for circles around
            points of other lines.
        spreads: half of a bar around each point, across and upwards; empty for none.
    """

    label: str
    points: tuple[Point, ...]
    kind: str = "first"
    spreads: tuple[Point, ...] = ()

    def reach(self, axis: int) -> list[float]:
        """What a scale has to hold: 0 across, 1 upwards."""
        ends = zip(self.points, self.spreads or ((0.0, 0.0),) * len(self.points), strict=True)
        return [p[axis] + sign * half[axis] for p, half in ends for sign in (-1, 1)]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from values to the drawing.

    Attributes:
        low, high: the values at its ends.
        start, end: where these are drawn.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, about: int = 4) -> tuple[float, ...]:
    """Round values (1, 2 or 5 times a power of ten apart) that cover a range."""
    if high <= low:
        margin = abs(low) * 0.05 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((m * power for m in (1.0, 2.0, 5.0) if m * power >= rough * 0.999), 10 * power)
    first, final = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(i * step for i in range(first, final + 1))


def decimated(points: Sequence[Point], most: int = MOST_POINTS) -> tuple[Point, ...]:
    """At most so many points, with the lowest and the highest of every stretch, and both ends."""
    if len(points) <= most:
        return tuple(points)
    size = math.ceil(len(points) / ((most - 2) // 2))
    chosen = {0, len(points) - 1}
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        chosen.add(min(stretch, key=lambda i: points[i][1]))
        chosen.add(max(stretch, key=lambda i: points[i][1]))
    return tuple(points[i] for i in sorted(chosen))


@dataclass(frozen=True, slots=True)
class Across:
    """The horizontal axis.

    Attributes:
        label: what it is.
        show: a value of it in words.
        whole: whether it has whole numbers only.
    """

    label: str
    show: Callable[[float], str]
    whole: bool = False


ITERATIONS = Across("iteration", "{:g}".format, whole=True)


def line_chart(
    title: str,
    series: Sequence[Series],
    show: Callable[[float], str],
    *,
    floor: float | None = None,
    across: Across = ITERATIONS,
) -> Markup:
    """Lines, over iterations unless something else is said.

    Args:
        title: what it shows.
        series: the lines; those without a point are left out.
        show: a value of the vertical axis in words.
        floor: a value that the vertical axis must reach down to.
        across: the horizontal axis.
    """
    drawn = [line for line in series if line.points]
    values = [y for line in drawn for y in line.reach(1)] + ([] if floor is None else [floor])
    places = [x for line in drawn for x in line.reach(0)]
    if not places:
        return Markup()
    marks = ticks(min(values), max(values))
    y = Axis(marks[0], marks[-1], HEIGHT - _BOTTOM, _TOP)
    x = _horizontal(min(places), max(places), across)
    parts = [_grid(marks, y, show), _below(x, across)]
    parts += [_line(line, x, y, lambda a, b: f"{_place(a, across)}: {show(b)}") for line in drawn]
    return _figure(f"{title}: {_names(drawn)}, by {across.label}", title, Markup("").join(parts),
                   drawn)  # fmt: skip


def _horizontal(low: float, high: float, across: Across) -> Axis:
    if across.whole:
        return Axis(low, max(high, low + 1), _LEFT, WIDTH - _RIGHT)
    marks = ticks(low, high)
    return Axis(marks[0], marks[-1], _LEFT, WIDTH - _RIGHT - 14)


def _place(value: float, across: Across) -> str:
    return f"{across.label} {across.show(value)}" if across.whole else across.show(value)


def _names(series: Sequence[Series]) -> str:
    return ", ".join(line.label for line in series if line.label)


def _figure(label: str, title: str, drawing: Markup, series: Sequence[Series]) -> Markup:
    keys = Markup("").join(
        Markup('<li><svg viewBox="0 0 24 8" aria-hidden="true">{}</svg>{}</li>')
        .format(_key(line.kind), line.label)
        for line in series
        if line.label
    )  # fmt: skip
    return Markup(
        '<figure><figcaption>{}</figcaption><svg class="chart" viewBox="0 0 {:g} {:g}" role="img" '
        'aria-label="{}; the values are in the tables">{}</svg>'
        '<ul class="keys">{}</ul></figure>'
    ).format(title, WIDTH, HEIGHT, label, drawing, keys)


def _key(kind: str) -> Markup:
    if kind == "ring":
        return Markup('<circle class="ring" cx="12" cy="4" r="3.4"/>')
    return Markup('<path class="{}" d="M0 4H24"/>').format(kind)


def _bars(line: Series, x: Axis, y: Axis) -> Markup:
    """Bars around the points of a line, of its color."""
    return Markup("").join(
        Markup('<path class="bar {}" d="M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}V{:.1f}"/>').format(
            line.kind, x.at(a - da), y.at(b), x.at(a + da), x.at(a), y.at(b - db), y.at(b + db)
        )
        for (a, b), (da, db) in zip(line.points, line.spreads, strict=True)
    )


def _grid(marks: Sequence[float], y: Axis, show: Callable[[float], str]) -> Markup:
    return Markup("").join(
        Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/><text x="{:.1f}" y="{:.1f}" '
               'text-anchor="end">{}</text>').format(
            _LEFT, y.at(mark), WIDTH - _RIGHT, _LEFT - 6, y.at(mark) + 4, show(mark)
        )
        for mark in marks
    )  # fmt: skip


def _below(x: Axis, across: Across) -> Markup:
    marks = [m for m in ticks(x.low, x.high) if x.low <= m <= x.high]
    numbers = Markup("").join(
        Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>').format(
            x.at(mark), HEIGHT - _BOTTOM + 16, across.show(mark)
        )
        for mark in marks
        if not across.whole or mark == int(mark)
    )
    label = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    return numbers + label.format((x.start + x.end) / 2, HEIGHT - 3, across.label)


def _line(line: Series, x: Axis, y: Axis, show: Callable[[float, float], str]) -> Markup:
    if line.kind == "ring":
        return Markup("").join(
            Markup('<circle class="ring" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(x.at(a), y.at(b))
            for a, b in line.points
        )
    points = decimated(line.points)
    path = "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in points)
    drawing = Markup('<path class="{}" d="M{}"/>').format(line.kind, path)
    if line.spreads:
        drawing += _bars(line, x, y)
    if line.kind == "limit" or len(points) > MOST_DOTS:
        return drawing
    return drawing + Markup("").join(
        Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3"><title>{}</title></circle>')
        .format(line.kind, x.at(a), y.at(b), show(a, b))
        for a, b in points
    )  # fmt: skip


def bars(before: float, after: float, most: float) -> Markup:
    """Two bars, the unpruned above the adapted; for the eye, beside the numbers in a table."""
    lengths = [120 * value / most if most > 0 else 0.0 for value in (before, after)]
    return Markup(
        '<svg class="bars" viewBox="0 0 120 14" aria-hidden="true">'
        '<rect class="before" width="{:.1f}" height="6"/>'
        '<rect class="after" y="8" width="{:.1f}" height="6"/></svg>'
    ).format(*lengths)


PARTS = 10
"""How many parts of a bar have a colour of their own in the style sheet."""


def stacked(title: str, parts: Sequence[tuple[str, float]]) -> Markup:
    """One bar in parts; each part is at least wide enough to be seen."""
    total = math.fsum(value for _, value in parts)
    if total <= 0:
        return Markup()
    drawing, at = Markup(), 0.0
    for number, (label, value) in enumerate(parts):
        width = 100 * value / total
        drawing += Markup(
            '<rect class="part{}" x="{:.2f}" width="{:.2f}" height="10"><title>{}</title></rect>'
        ).format(number % PARTS, at, max(width, 0.15), f"{label}: {value / total:.1%}")
        at += width
    return Markup(
        '<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        'aria-label="{}; the values are in the table">{}</svg>'
    ).format(escape(title), drawing)


def swatch(number: int) -> Markup:
    """The color of a part of :func:`stacked`."""
    return Markup(
        '<svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">'
        '<rect class="part{}" width="10" height="10"/></svg> '
    ).format(number % PARTS)
