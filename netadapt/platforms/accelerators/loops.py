"""What a layer computes, as the accelerators see it: nested loops, or one matrix product."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from netadapt.errors import UnmappableLayer
from netadapt.network import LayerShape, LayerSpec, Pair, op_of

N = TypeVar("N", float, NDArray[np.float64])
"""A number, or an array of them: the same formulas price one mapping and search thousands."""


@dataclass(frozen=True, slots=True)
class Loops:
    """The loops of a convolution without padding or dilation.

    Attributes:
        groups: groups of channels that are convolved apart.
        channels: input channels of one group (C in the literature).
        filters: output channels of one group (M).
        kernel: height and width of a filter (R, S).
        out_hw: height and width of the output (E, F).
        stride: steps down and right (U).
        images: images to be convolved for each image of the network; more than one for a dilated
            convolution, which is as many ordinary ones on interleaved pixels.
        macs: multiply-accumulates for one image of the network.
    """

    groups: int
    channels: int
    filters: int
    kernel: Pair
    out_hw: Pair
    stride: Pair
    images: int
    macs: int

    def rows_in(self, rows_out: N) -> N:
        """Distinct input rows that so many adjacent output rows need."""
        return (rows_out - 1) * min(self.stride[0], self.kernel[0]) + self.kernel[0]


@dataclass(frozen=True, slots=True)
class MatrixProduct:
    """``[pixels, rows] x [rows, columns]`` in each group: inputs stream past weights that stay.

    Attributes:
        groups: products of this size that share nothing.
        rows: inputs that one output sums over (K = C/g * R * S).
        columns: outputs of one group for each pixel (M/g).
        pixels: positions for one image.
    """

    groups: int
    rows: int
    columns: int
    pixels: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return self.groups * self.rows * self.columns * self.pixels


_ELSEWHERE = "Choose other hardware, or a device that is measured."


def has_product(layer: LayerShape | LayerSpec) -> bool:
    """Whether it multiplies and sums: such a layer is priced or refused; others are left out."""
    return op_of(layer.op).product


def require_products(model: str, layers: Iterable[LayerShape]) -> None:
    """Refuse a network of which nothing is modelled: what it costs is not known, rather than 0.

    Raises:
        UnmappableLayer: none of its layers multiplies.
    """
    if not any(map(has_product, layers)):
        raise UnmappableLayer(
            f"{model} has no convolution or linear layer, and nothing else is modelled, so that "
            "what it costs is not known. Choose a device that is measured."
        )


def loops_of(shape: LayerShape) -> Loops:
    """The loops of a convolution or linear layer.

    Raises:
        UnmappableLayer: it is another kind of layer, or is both strided and dilated.
    """
    if shape.op == "linear":
        return Loops(1, shape.cin, shape.cout, (1, 1), shape.in_hw, (1, 1), 1, shape.macs)
    if shape.op != "conv":
        raise UnmappableLayer(
            f"Layer {shape.place} cannot be mapped: only convolutions and linear layers have loops "
            f"that this accelerator runs. {_ELSEWHERE}"
        )
    gaps = [1 if k == 1 else d for k, d in zip(shape.kernel, shape.dilation, strict=True)]
    if any(gap > 1 and step > 1 for gap, step in zip(gaps, shape.stride, strict=True)):
        raise UnmappableLayer(
            f"Layer {shape.place} cannot be mapped: it is strided and dilated. Make it one of the "
            "two, or choose other hardware."
        )
    out_hw = (ceil(shape.out_hw[0] / gaps[0]), ceil(shape.out_hw[1] / gaps[1]))
    return Loops(
        shape.groups, shape.cin // shape.groups, shape.cout // shape.groups, shape.kernel, out_hw,
        shape.stride, gaps[0] * gaps[1], shape.macs,
    )  # fmt: skip


def product_of(shape: LayerShape) -> MatrixProduct:
    """The matrix product of a convolution, transposed convolution or linear layer.

    A transposed convolution computes all that one pixel adds to the output, and sums digitally.

    Raises:
        UnmappableLayer: it is another kind of layer.
    """
    window = shape.kernel[0] * shape.kernel[1]
    pixels_in, pixels_out = (hw[0] * hw[1] for hw in (shape.in_hw, shape.out_hw))
    channels, filters = shape.cin // shape.groups, shape.cout // shape.groups
    if shape.op == "conv":
        return MatrixProduct(shape.groups, channels * window, filters, pixels_out)
    if shape.op == "conv_transpose":
        return MatrixProduct(shape.groups, channels, filters * window, pixels_in)
    if shape.op == "linear":
        return MatrixProduct(1, shape.cin, shape.cout, pixels_in)
    raise UnmappableLayer(
        f"Layer {shape.place} cannot be mapped: only convolutions and linear layers are matrix "
        f"products. {_ELSEWHERE}"
    )
