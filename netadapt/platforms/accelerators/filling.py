"""Widths that fill a crossbar's arrays: its cost is a staircase, and these are its edges.

Between two edges inputs leave rows of an array idle while each of its columns is converted as
before, and filters leave columns idle while each of its rows is driven as before. A search should
propose edges, and each layer has its own: an input fills as many rows as its kernel has weights, a
filter as many columns as a weight has cells.
"""

from collections.abc import Iterator

from netadapt.network import LayerShape, LayerSpec, Network
from netadapt.platforms.accelerators.crossbar import Crossbar, layout
from netadapt.platforms.accelerators.loops import has_product, product_of


def filling_inputs(shape: LayerShape, hardware: Crossbar) -> tuple[int, ...]:
    """Input channels, up to the present ones, beyond which one more row of arrays is needed."""
    window = shape.kernel[0] * shape.kernel[1] if shape.op == "conv" else 1
    tiles = product_of(shape).rows // hardware.rows
    widths = {shape.groups * (n * hardware.rows // window) for n in range(1, tiles + 1)}
    return tuple(sorted(widths - {0}))


def filling_outputs(shape: LayerShape, hardware: Crossbar) -> tuple[int, ...]:
    """Output channels, up to the present ones, that fill columns of arrays."""
    window = shape.kernel[0] * shape.kernel[1] if shape.op == "conv_transpose" else 1
    tiles = product_of(shape).columns * hardware.cells // hardware.columns
    widths = {shape.groups * (n * hardware.filters // window) for n in range(1, tiles + 1)}
    return tuple(sorted(widths - {0}))


def filling_sizes(network: Network, group: str, hardware: Crossbar) -> tuple[int, ...]:
    """Sizes of a channel group, ascending, beyond which one more unit needs more arrays.

    Depthwise layers are left out: each of their channels has an array of its own, so that they
    have no edges. The present size is always among them.

    Args:
        network: what the group belongs to; the other groups keep their present size.
        group: id of the group.
        hardware: the arrays.
    """
    positions = [
        position
        for position in network.mentions.get(group, ())
        if _has_edges(network.costed[position], group)
    ]
    full = network.groups[group].size

    def arrays(size: int) -> int:
        sizes = network.complete({group: size})
        shapes = (network.shape_of(position, sizes) for position in positions)
        return sum(layout(product_of(shape), hardware).arrays for shape in shapes)

    return tuple(_edges([arrays(size) for size in range(1, full + 1)]))


def _edges(counts: list[int]) -> Iterator[int]:
    """Where, counted from 1, the next count differs, and the end."""
    for size, count in enumerate(counts, start=1):
        if size == len(counts) or counts[size] != count:
            yield size


def _has_edges(layer: LayerSpec, group: str) -> bool:
    """Whether the group sets the size of the layer's products, not their number."""
    return has_product(layer) and group not in layer.groups.groups
