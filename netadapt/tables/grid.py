"""Which layers of a network to measure, and the price of those between them.

A runtime that computes in blocks of channels takes as long for 33 as for 48: latency is flat within
a block and close to linear in the number of blocks. A few measured widths of each layer therefore
price all others, by linear interpolation on blocks of input and of output channels. What is
narrower than a block, or not a multiple of 4, leaves the blocked layout and needs its own row.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from netadapt.network import LayerShape, Network, least_sizes
from netadapt.tables.rows import Entry

Point = tuple[float, float]

_DENSE = frozenset({"conv", "conv_transpose", "linear"})
_EVEN = 4  # multiples of it stay in a blocked layout


def family_of(shape: LayerShape) -> LayerShape | None:
    """The layer without its widths, the key of those that it is interpolated from; or None."""
    if shape.op in _DENSE:
        if shape.groups == 1:
            return replace(shape, cin=shape.cin if shape.cin < _EVEN else 0, cout=0)
        if shape.groups == shape.cin == shape.cout:
            return replace(shape, cin=0, cout=0, groups=0)
        return None
    even = all(width == shape.cin for width in shape.inputs)
    if shape.op == "other" or shape.groups != 1 or shape.cin != shape.cout or not even:
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
    blocked = shape.op != "linear" and block > 1
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
        self._families: dict[LayerShape, dict[Point, tuple[int, Entry]]] = {}
        for shape, entry in entries.items():
            family, point = family_of(shape), point_of(shape, block, self._even)
            if family is None or point is None:
                continue
            points = self._families.setdefault(family, {})
            size = shape.cin + shape.cout  # of those that share their blocks, the fullest counts
            if point not in points or points[point][0] < size:
                points[point] = (size, entry)

    def entry(self, shape: LayerShape) -> Entry | None:
        """What its nearest measured neighbours on all sides say of a layer; None if any lacks."""
        family, point = family_of(shape), point_of(shape, self._block, self._even)
        points = self._families.get(family) if family is not None else None
        if point is None or not points:
            return None
        if point in points:
            return points[point][1]
        if shape.op not in _DENSE or shape.groups != 1:
            return _between(points, point[0])
        corners = _rectangle(points, point)
        return _bilinear(points, point, *corners) if corners else None


def _between(points: Mapping[Point, tuple[int, Entry]], channels: float) -> Entry | None:
    """For layers whose output is as wide as their input."""
    widths = sorted(x for x, _ in points)
    at = bisect_left(widths, channels)
    if at in (0, len(widths)):
        return None
    low, high = widths[at - 1], widths[at]
    share = (channels - low) / (high - low)
    return _mixed([(1 - share, points[low, low][1]), (share, points[high, high][1])])


def _rectangle(
    points: Mapping[Point, tuple[int, Entry]], point: Point
) -> tuple[Point, Point] | None:
    """The smallest rectangle with four measured corners around a point, which may be degenerate."""
    xs, ys = (sorted({p[axis] for p in points}) for axis in (0, 1))
    best: tuple[float, Point, Point] | None = None
    for x0 in xs[: bisect_right(xs, point[0])]:
        for x1 in xs[bisect_left(xs, point[0]) :]:
            for y0 in ys[: bisect_right(ys, point[1])]:
                for y1 in ys[bisect_left(ys, point[1]) :]:
                    size = (x1 - x0) / (x1 or 1) + (y1 - y0) / (y1 or 1)
                    whole = all(c in points for c in ((x0, y0), (x0, y1), (x1, y0), (x1, y1)))
                    if whole and (best is None or size < best[0]):
                        best = (size, (x0, y0), (x1, y1))
    return (best[1], best[2]) if best else None


def _bilinear(
    points: Mapping[Point, tuple[int, Entry]], point: Point, low: Point, high: Point
) -> Entry:
    shares = [(point[i] - low[i]) / (high[i] - low[i]) if high[i] > low[i] else 0.0 for i in (0, 1)]
    return _mixed(
        [
            (a * b, points[x, y][1])
            for a, x in ((1 - shares[0], low[0]), (shares[0], high[0]))
            for b, y in ((1 - shares[1], low[1]), (shares[1], high[1]))
        ]
    )


def _mixed(parts: Iterable[tuple[float, Entry]]) -> Entry:
    """A weighted mean, of no runs of its own."""
    p10 = median = p90 = 0.0
    for share, entry in parts:
        p10 += share * entry.p10
        median += share * entry.median
        p90 += share * entry.p90
    return Entry(p10, median, p90, 0)


def plan_grid(network: Network, multiple: int, block: int) -> tuple[LayerShape, ...]:
    """The layers to measure, so that all narrower networks are priced from them.

    The order is that in which the error falls: the network as it is; the ends of each layer's
    range, with which every width of a block or more has a price; then a half and a quarter of its
    widths, the layers that compute most first.

    Args:
        network: the network at its present widths, the widest.
        multiple: widths are multiples of it.
        block: channels that the device computes at once.
    """
    least = network.complete(least_sizes(network, multiple))
    full_shapes, least_shapes = network.at({}), network.at(least)
    wanted: dict[LayerShape, None] = dict.fromkeys(full_shapes)
    ranges: dict[LayerShape, tuple[list[set[int]], LayerShape]] = {}
    for full, small in zip(full_shapes, least_shapes, strict=True):
        family = family_of(full)
        if family is None:
            wanted[small] = None
            continue
        spans, widest = ranges.setdefault(family, ([set(), set()], full))
        ranges[family] = (spans, max(widest, full, key=lambda shape: shape.macs))
        for span, a, b in zip(spans, (small.cin, small.cout), (full.cin, full.cout), strict=True):
            span |= {a if full.op == "linear" else max(a, min(block, b)), b}
    costliest_first = sorted(ranges.values(), key=lambda found: -found[1].macs)
    for nodes in (_ends, partial(_inner, block=max(multiple, block))):
        for spans, example in costliest_first:
            wanted |= dict.fromkeys(_combined(example, nodes(spans[0]), nodes(spans[1])))
    return tuple(wanted)


def _ends(span: set[int]) -> list[int]:
    return sorted({min(span), max(span)}, reverse=True)


def _inner(span: set[int], block: int) -> list[int]:
    """The ends, and a half and a quarter of the widest, in whole blocks."""
    low, high = min(span), max(span)
    middle = {max(low, round(high / part / block) * block) for part in (2, 4)}
    return sorted({low, high, *(m for m in middle if m <= high)}, reverse=True)


def _combined(example: LayerShape, cins: list[int], couts: list[int]) -> list[LayerShape]:
    if example.op in _DENSE and example.groups == 1:
        return [replace(example, cin=cin, cout=cout) for cin in cins for cout in couts]
    widths = [c for c in cins if c in couts]
    return [
        replace(
            example, cin=c, cout=c, groups=c if example.op in _DENSE else 1,
            inputs=(c,) * len(example.inputs),
        )
        for c in widths
    ]  # fmt: skip
