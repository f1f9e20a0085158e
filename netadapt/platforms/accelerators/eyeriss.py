"""Eyeriss: a chip of 2016 in 65 nm with 168 processing elements, 16 bits and a row-stationary flow.

How far it is off the chip's own figures: docs/energy.md. Depthwise layers and everything that the
paper does not measure (all of MobileNet) are extrapolations.
"""

from dataclasses import dataclass, replace
from math import ceil

from netadapt.network import LayerShape
from netadapt.platforms.accelerators.eyeriss_costs import JSSC2017, CostSet
from netadapt.platforms.accelerators.eyeriss_mapping import best_mapping
from netadapt.platforms.accelerators.layer_energy import LayerEnergy
from netadapt.platforms.accelerators.loops import Loops, loops_of
from netadapt.platforms.accelerators.row_stationary import (
    DENSE,
    IFMAP_WORDS,
    ROWS,
    RowStationary,
    Zeros,
    accesses,
)


@dataclass(frozen=True, slots=True)
class Eyeriss:
    """What decides the energy of a layer, apart from the layer.

    Attributes:
        batch: images that are computed together; weights are read once for several of them.
        costs: joules for each access.
        zeros: shares of zeros where those of a layer are not known.
    """

    batch: int = 1
    costs: CostSet = JSSC2017
    zeros: Zeros = DENSE

    def __str__(self) -> str:
        """Technology, precision and batch, as they stand beside every figure."""
        zeros = f", {self.zeros.ifmap:.0%} zeros" if self.zeros != DENSE else ""
        return (
            f"modelled Eyeriss, {self.costs.technology}, 16 bits, costs {self.costs.name}, "
            f"batch {self.batch}{zeros}"
        )


def layer_energy(
    shape: LayerShape,
    chip: Eyeriss = Eyeriss(),
    zeros: Zeros | None = None,
    mapping: RowStationary[float] | None = None,
    total_s: float | None = None,
) -> LayerEnergy:
    """Energy and time of a convolution or linear layer for one image of a batch.

    Args:
        shape: the layer.
        chip: batch and costs.
        zeros: of this layer's input and output; those of ``chip`` if None.
        mapping: how the layer is cut; the best one if None.
        total_s: measured seconds for the batch, for which clock and leakage are paid; modelled if
            None.

    Raises:
        UnmappableLayer: the array cannot compute this layer.
    """
    loops = split(loops_of(shape))
    zeros = chip.zeros if zeros is None else zeros
    mapping = best_mapping(loops, chip.batch, chip.costs) if mapping is None else mapping
    moved = accesses(loops, mapping, chip.batch, zeros)
    seconds = moved.total_s if total_s is None else total_s
    return LayerEnergy(chip.costs.parts(moved, seconds, chip.batch), seconds / chip.batch)


def split(loops: Loops) -> Loops:
    """Filters that are too large for the array, cut into several that fit, as further channels.

    Each piece is a channel of its own: it reads the inputs again, and its sums are added to those
    of the pieces before it.
    """
    down, across = ceil(loops.kernel[0] / ROWS), ceil(loops.kernel[1] / IFMAP_WORDS)
    if down == across == 1:
        return loops
    kernel = (ceil(loops.kernel[0] / down), ceil(loops.kernel[1] / across))
    return replace(loops, channels=loops.channels * down * across, kernel=kernel)
