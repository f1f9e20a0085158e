"""What the search knows of a model: frozen values, without torch.

ops.py       the kinds of layers, and all facts of each
layers.py    layers with affine widths, and the shapes that are priced
network.py   channel groups, slots, and the whole network at any sizes
cost.py      what prices layers and networks
"""

from netadapt.network.cost import MACS, WEIGHTS, Cost, Count, cost_of
from netadapt.network.layers import LayerShape, LayerSpec, Pair, Sizes, Width
from netadapt.network.network import (
    AttrSpec,
    ChannelGroup,
    FixedLayer,
    Network,
    Slot,
    TensorSpec,
    exact_alone,
    keep_first,
    least_sizes,
    nearest_choice,
    shrinkable,
)
from netadapt.network.ops import OPS, Op, op_of

__all__ = [
    "MACS",
    "OPS",
    "WEIGHTS",
    "AttrSpec",
    "ChannelGroup",
    "Cost",
    "Count",
    "FixedLayer",
    "LayerShape",
    "LayerSpec",
    "Network",
    "Op",
    "Pair",
    "Sizes",
    "Slot",
    "TensorSpec",
    "Width",
    "cost_of",
    "exact_alone",
    "keep_first",
    "least_sizes",
    "nearest_choice",
    "op_of",
    "shrinkable",
]
