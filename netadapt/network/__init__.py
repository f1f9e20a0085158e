"""What the search knows of a model: frozen values, without torch.

layers.py    layers with affine widths, the shapes that are priced, and the table of ops
network.py   channel groups, slots, and the whole network at any sizes
cost.py      what prices layers and networks
"""

from netadapt.network.cost import MACS, WEIGHTS, Cost, Count, cost_of
from netadapt.network.layers import OPS, LayerShape, LayerSpec, Pair, Sizes, Width
from netadapt.network.network import (
    AttrSpec,
    ChannelGroup,
    FixedLayer,
    Network,
    Slot,
    TensorSpec,
    keep_first,
    least_sizes,
    nearest_choice,
    shrinkable,
)

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
    "Pair",
    "Sizes",
    "Slot",
    "TensorSpec",
    "Width",
    "cost_of",
    "keep_first",
    "least_sizes",
    "nearest_choice",
    "shrinkable",
]
