"""The kinds of layers, with every fact that others need of each: one line a kind."""

from dataclasses import dataclass
from typing import Literal

Tap = Literal["stem", "tapped", "pooled"]


@dataclass(frozen=True, slots=True)
class Op:
    """What there is to know of one kind of layer.

    Attributes:
        meaning: what it stands for.
        product: whether each output is a sum of products over the input channels: these are its
            multiply-accumulates, and its input and output widths are two axes of a table.
        weights: whether one factor of these products is a weight of its own.
        scatters: whether it multiplies once for each input pixel instead of each output pixel.
        rows: whether it works over the last axis, reading ``[N, rows, C]`` as it is, so that no
            layout of channels is at stake.
        inputs: how many inputs it has where a layer does not say.
        tap: what else reads its input while it is timed, so that no convolution before it absorbs
            it: nothing (``stem``), a reader of one pixel (``tapped``) or of all (``pooled``).
        priced: whether a table can price it; what none can costs nothing in a sum.
    """

    meaning: str
    product: bool = False
    weights: bool = False
    scatters: bool = False
    rows: bool = False
    inputs: int = 1
    tap: Tap = "stem"
    priced: bool = True


OPS: dict[str, Op] = {
    "conv": Op("2-d convolution, normalization folded in", product=True, weights=True),
    "conv_transpose": Op("2-d transposed convolution, normalization folded in", product=True,
                         weights=True, scatters=True),
    "linear": Op("matrix product over the last axis, for in_hw[0] * in_hw[1] rows", product=True,
                 weights=True, rows=True),
    "conv_nd": Op("3-d convolution; sizes are the first one, and the product of the others",
                  product=True, weights=True, priced=False),
    "deform_conv": Op("2-d convolution at computed positions", product=True, weights=True,
                      priced=False),
    "matmul": Op("product of two tensors, summed over cin, for in_hw[0] * in_hw[1] rows",
                 product=True, priced=False),
    "recurrent": Op("all gates of a recurrent layer, for in_hw[1] steps", product=True,
                    weights=True, priced=False),
    "norm": Op("batch normalization that no convolution precedes, so that none absorbs it",
               tap="tapped"),
    "layer_norm": Op("layer normalization over channels", rows=True),
    "group_norm": Op("group normalization"),
    "add": Op("elementwise sum of inputs of one shape", inputs=2, tap="tapped"),
    "mul": Op("elementwise product of inputs of one shape", inputs=2),
    # what is scaled is also averaged, in the plain layout: that reordering is the average's
    "scale": Op("product of a [N, C, H, W] and a [N, C, 1, 1] tensor (squeeze-excite)",
                tap="pooled"),
    "concat": Op("concatenation over channels"),
    "max_pool": Op("max pooling"),
    "avg_pool": Op("average pooling"),
    "global_pool": Op("mean over height and width"),
    "act": Op("activation that no other layer absorbs", tap="tapped"),
    "resize": Op("interpolation to out_hw"),
    "move": Op("data movement: permute, channel shuffle, pixel shuffle, slice, pad"),
    "other": Op("anything else; its cost is in no table", priced=False),
}  # fmt: skip
"""Every ``LayerSpec.op``."""

_UNLISTED = Op("what stands for no layer of a network, such as the overhead of a call")


def op_of(name: str) -> Op:
    """The facts of a kind; of those that stand for no layer, that there are none."""
    return OPS.get(name, _UNLISTED)
