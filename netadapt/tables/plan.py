"""What a table is to measure, as a pure value: which layers, in the order in which the error falls.

First a grid: the network as it is, the ends of each layer's range, and a half and a quarter of its
widths. What a grid does not reach (grouped convolutions, concatenations of uneven inputs, widths
below a block or between multiples of 4) is measured as the present network has it, as the least
one has it, and as any one channel group alone would have it at each smaller size. Of layers that
several groups change at once there are too many: a table estimates those, and says so.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from netadapt.network import LayerShape, Network, Sizes, least_sizes, op_of, shrinkable
from netadapt.platforms import OVERHEAD, REFILL, Effort
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.interpolation import Surface, family_of, work_of
from netadapt.tables.rows import Entry

MACS_PER_S = 30e9
"""Multiply-accumulates a second of one core of a present processor, in float32."""

_UNKNOWN = Entry(0.0, 0.0, 0.0, 0)
_OPENING_S = 3e-3  # writing, sending and opening one model
_MODELS = 1.5  # that a layer needs: its own, and its share of those that are taken off


@dataclass(frozen=True)
class TableRequest:
    """What a table is to price.

    Attributes:
        network: the network at its full widths.
        sizes: present sizes of its groups; those left out are at their full size.
        multiple: widths are multiples of it.
        dense: measure each layer that may be asked for, instead of a grid to interpolate in.
        others: further sizes of the network that are to be priced.
    """

    network: Network
    sizes: Sizes
    multiple: int
    dense: bool = False
    others: tuple[Sizes, ...] = ()


def plan(
    request: TableRequest, info: DeviceInfo, known: Collection[LayerShape] = ()
) -> tuple[LayerShape, ...]:
    """The layers to measure, in the order in which the error falls.

    Args:
        request: what is to be priced.
        info: the device, of which the block and the layout count.
        known: what was measured already.

    Returns:
        Each layer once, none of the known; the overhead of a call and the price of cold weights
        come first where nothing was measured yet.
    """
    network, multiple = request.network, request.multiple
    rows = dict.fromkeys(known)
    if OVERHEAD not in rows:
        rows |= dict.fromkeys((OVERHEAD, REFILL))
    if not request.dense:
        rows |= dict.fromkeys(plan_grid(network, multiple, info.block))
    # The network as it is, and the least one, must have prices before proposals are weighed.
    fixed = (request.sizes, least_sizes(network, multiple), *request.others)
    for shapes in (
        (shape for sizes in fixed for shape in network.at(sizes)),
        one_group_variations(network, request.sizes, multiple),
    ):
        rows |= dict.fromkeys(_unreached(shapes, rows, None if request.dense else info))
    measured = set(known)
    return tuple(s for s in rows if s not in measured and op_of(s.op).priced)


def _unreached(
    shapes: Iterable[LayerShape], rows: Collection[LayerShape], info: DeviceInfo | None
) -> tuple[LayerShape, ...]:
    """The layers that are among no rows, and not interpolated from them on that device."""
    missing = (shape for shape in dict.fromkeys(shapes) if shape not in rows)
    if info is None:
        return tuple(missing)
    surface = Surface(dict.fromkeys(rows, _UNKNOWN), info.block, info.layout)
    return tuple(shape for shape in missing if surface.entry(shape) is None)


def one_group_variations(network: Network, sizes: Sizes, multiple: int) -> Iterator[LayerShape]:
    """Every layer that changes where one group alone shrinks from some sizes."""
    present = network.complete(sizes)
    for group in shrinkable(network):
        for size in group.smaller(present[group.id], multiple):
            varied = {**present, group.id: size}
            for position in network.mentions[group.id]:
                yield network.shape_of(position, varied)


def measuring_s(
    shapes: Iterable[LayerShape], effort: Effort, macs_per_s: float = MACS_PER_S
) -> float:
    """About how many seconds it takes to measure some layers; within a factor of three or so.

    Args:
        shapes: the layers.
        effort: each is run ``passes * (warmups + bursts * runs)`` times.
        macs_per_s: pace of the device; of a network that was measured it is known.
    """
    works = [work_of(shape) for shape in shapes]
    if not works:
        return 0.0
    runs = effort.passes * (effort.warmups + effort.bursts * effort.runs)
    wall_s = sum(_MODELS * (_OPENING_S + runs * work / macs_per_s) for work in works)
    wall_s = max(wall_s, effort.spread_s, effort.min_seconds * len(works))
    return wall_s if effort.time_limit_s is None else min(wall_s, effort.time_limit_s)


def plan_grid(network: Network, multiple: int, block: int) -> tuple[LayerShape, ...]:
    """The grid: layers so chosen that all narrower networks are priced from them.

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
            span |= {a if op_of(full.op).rows else max(a, min(block, b)), b}
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
    if op_of(example.op).product and example.groups == 1:
        return [replace(example, cin=cin, cout=cout) for cin in cins for cout in couts]
    widths = [c for c in cins if c in couts]
    return [
        replace(
            example, cin=c, cout=c, groups=c if op_of(example.op).product else 1,
            inputs=(c,) * len(example.inputs),
        )
        for c in widths
    ]  # fmt: skip
