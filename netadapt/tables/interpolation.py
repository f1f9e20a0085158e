"""The price of layers between measured ones, and of those that nothing measured surrounds.

A runtime that computes in blocks of channels takes as long for 33 as for 48: latency is flat within
a block and close to linear in the number of blocks. A few measured widths of each layer therefore
price all others, by linear interpolation on blocks of input and of output channels. What is
narrower than a block, or not a multiple of 4, leaves the blocked layout and needs its own row.

Where neighbours do not reach, a table can still *estimate*: the nearest row that differs in its
channels alone, scaled by work. Work counts the multiply-accumulates, and each element that is read
or written as :data:`MACS_PER_ELEMENT` of them: what a core computes while it moves one.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product

from netadapt.network import LayerShape, op_of
from netadapt.tables.rows import Entry

Point = tuple[float, float]

_EVEN = 4  # multiples of it stay in a blocked layout

MACS_PER_ELEMENT = 6
"""Of a core that computes 60 GMAC/s and moves 40 GB/s; another ratio changes few estimates, as the
nearest row of the same kind has nearly the same mixture of both."""


def family_of(shape: LayerShape) -> LayerShape | None:
    """The layer without its widths, the key of those that it is interpolated from; or None."""
    op = op_of(shape.op)
    if not op.priced:
        return None
    if op.product:
        if shape.groups == 1:
            return replace(shape, cin=shape.cin if shape.cin < _EVEN else 0, cout=0)
        if shape.groups == shape.cin == shape.cout:
            return replace(shape, cin=0, cout=0, groups=0)
        return None
    even = all(width == shape.cin for width in shape.inputs)
    if shape.groups != 1 or shape.cin != shape.cout or not even:
        return None
    return replace(shape, cin=0, cout=0, inputs=(0,) * len(shape.inputs))


def _axis(channels: int, block: int, blocked: bool) -> float:
    return float(math.ceil(channels / block) * block) if blocked else float(channels)


def point_of(shape: LayerShape, block: int, even: int = _EVEN) -> Point | None:
    """Where a layer lies in its family: channels in and out, rounded up to blocks.

    None if its widths leave the blocked layout, so that its neighbours tell nothing of it.

    Args:
        shape: the layer.
        block: channels that the device computes at once.
        even: widths that are no multiple of it leave the layout.
    """
    blocked = not op_of(shape.op).rows and block > 1
    widths = [c for c in (shape.cin, shape.cout) if c >= _EVEN or shape.op != "conv"]
    if blocked and any(c < block or c % even for c in widths):
        return None
    return _axis(shape.cin, block, blocked), _axis(shape.cout, block, blocked)


class Surface:
    """Measured layers by family; made once for a table, asked often.

    Args:
        entries: what was measured.
        block: channels that the device computes at once.
        layout: of its tensors. In NHWC (8 bits) a block that is not full is slower than a full one,
            depthwise several times, so that only whole blocks are priced from neighbours.
    """

    def __init__(self, entries: Mapping[LayerShape, Entry], block: int, layout: str) -> None:
        self._block = block
        self._even = block if layout == "NHWC" else _EVEN
        points: dict[LayerShape, dict[Point, tuple[int, Entry]]] = {}
        for shape, entry in entries.items():
            family, point = family_of(shape), point_of(shape, block, self._even)
            if family is None or point is None:
                continue
            size = shape.cin + shape.cout  # of those that share their blocks, the fullest counts
            known = points.setdefault(family, {}).get(point)
            if known is None or known[0] < size:
                points[family][point] = (size, entry)
        self._families = {
            family: Family({point: entry for point, (_, entry) in rows.items()})
            for family, rows in points.items()
        }

    def entry(self, shape: LayerShape) -> Entry | None:
        """What its nearest measured neighbours on all sides say of a layer; None if any lacks."""
        key = family_of(shape)
        family = self._families.get(key) if key is not None else None
        point = point_of(shape, self._block, self._even)
        if family is None or point is None:
            return None
        if point in family.points:
            return family.points[point]
        if not op_of(shape.op).product or shape.groups != 1:
            return family.between(point[0])
        corners = family.rectangle(point)
        return family.bilinear(point, *corners) if corners else None


class Family:
    """Measured layers that differ in their widths alone.

    Args:
        points: what was measured, by channels in and out.
    """

    def __init__(self, points: Mapping[Point, Entry]) -> None:
        self.points = points
        self._xs, self._ys = (sorted({p[axis] for p in points}) for axis in (0, 1))

    def between(self, channels: float) -> Entry | None:
        """For layers whose output is as wide as their input."""
        at = bisect_left(self._xs, channels)
        if at in (0, len(self._xs)):
            return None
        low, high = self._xs[at - 1], self._xs[at]
        share = (channels - low) / (high - low)
        return _mixed([(1 - share, self.points[low, low]), (share, self.points[high, high])])

    def rectangle(self, point: Point) -> tuple[Point, Point] | None:
        """The smallest rectangle of four measured corners around a point; it may be degenerate."""
        x0s, x1s = _sides(self._xs, point[0])
        y0s, y1s = _sides(self._ys, point[1])
        if not (x0s and x1s and y0s and y1s):
            return None
        nearest = (x0s[-1], y0s[-1]), (x1s[0], y1s[0])
        if self._whole(*nearest):
            return nearest
        whole = [
            ((x1 - x0) / (x1 or 1) + (y1 - y0) / (y1 or 1), (x0, y0), (x1, y1))
            for x0, x1, y0, y1 in product(x0s, x1s, y0s, y1s)
            if self._whole((x0, y0), (x1, y1))
        ]
        return min(whole, key=lambda found: found[0])[1:] if whole else None

    def _whole(self, low: Point, high: Point) -> bool:
        return all((x, y) in self.points for x in (low[0], high[0]) for y in (low[1], high[1]))

    def bilinear(self, point: Point, low: Point, high: Point) -> Entry:
        """The weighted mean of the four corners of a rectangle around a point."""
        shares = [
            (point[i] - low[i]) / (high[i] - low[i]) if high[i] > low[i] else 0.0 for i in (0, 1)
        ]
        return _mixed(
            [
                (a * b, self.points[x, y])
                for a, x in ((1 - shares[0], low[0]), (shares[0], high[0]))
                for b, y in ((1 - shares[1], low[1]), (shares[1], high[1]))
            ]
        )


def _sides(axis: list[float], value: float) -> tuple[list[float], list[float]]:
    """The measured widths up to a value, and those from it on."""
    return axis[: bisect_right(axis, value)], axis[bisect_left(axis, value) :]


def _mixed(parts: Iterable[tuple[float, Entry]]) -> Entry:
    """A weighted mean, of no runs of its own."""
    p10 = median = p90 = 0.0
    for share, entry in parts:
        p10 += share * entry.p10
        median += share * entry.median
        p90 += share * entry.p90
    return Entry(p10, median, p90, 0)


class Kinds:
    """Measured layers by kind, from the nearest of which others are estimated.

    Args:
        entries: what was measured.
    """

    def __init__(self, entries: Mapping[LayerShape, Entry]) -> None:
        self._kinds: dict[LayerShape, list[tuple[LayerShape, Entry]]] = {}
        for shape, entry in entries.items():
            self._kinds.setdefault(_kind_of(shape), []).append((shape, entry))

    def entry(self, shape: LayerShape) -> Entry | None:
        """The nearest row scaled by work; None if no layer of the kind was measured."""
        rows = self._kinds.get(_kind_of(shape))
        if not rows or not op_of(shape.op).priced:
            return None
        nearest, entry = min(rows, key=lambda row: _distance(shape, row[0]))
        return _mixed([(work_of(shape) / work_of(nearest), entry)])


def _kind_of(shape: LayerShape) -> LayerShape:
    """The layer without anything that counts channels."""
    return replace(shape, cin=0, cout=0, groups=0, inputs=())


def work_of(shape: LayerShape) -> int:
    """Multiply-accumulates for one image, elements moved counted among them."""
    return shape.macs + MACS_PER_ELEMENT * shape.moved


def _distance(a: LayerShape, b: LayerShape) -> float:
    """How far apart the channels of two layers of a kind are, as the sum of logarithms of ratios.

    Channels a group count twice: a grouped convolution is another the fewer it has.
    """
    pairs = ((a.cin, b.cin), (a.cout, b.cout), (a.cin / a.groups, b.cin / b.groups))
    return sum(abs(math.log(x / y)) for x, y in pairs)
