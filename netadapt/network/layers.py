"""Layers, with widths that are affine in the sizes of channel groups, or known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Sizes = Mapping[str, int]
Pair = tuple[int, int]

OPS = {
    "conv": "2-d convolution, normalization folded in",
    "conv_transpose": "2-d transposed convolution, normalization folded in",
    "conv_nd": "3-d convolution; sizes are the first one, and the product of the others",
    "deform_conv": "2-d convolution at computed positions",
    "linear": "matrix product over the last axis, for in_hw[0] * in_hw[1] rows",
    "matmul": "product of two tensors, summed over cin, for in_hw[0] * in_hw[1] rows; no weights",
    "recurrent": "all gates of a recurrent layer, for in_hw[1] steps",
    "norm": "batch normalization that no convolution precedes, so that none absorbs it",
    "layer_norm": "layer normalization over channels",
    "group_norm": "group normalization",
    "add": "elementwise sum of inputs of one shape",
    "mul": "elementwise product of inputs of one shape",
    "scale": "product of a [N, C, H, W] and a [N, C, 1, 1] tensor (squeeze-excite)",
    "concat": "concatenation over channels",
    "max_pool": "max pooling",
    "avg_pool": "average pooling",
    "global_pool": "mean over height and width",
    "act": "activation that no other layer absorbs",
    "resize": "interpolation to out_hw",
    "move": "data movement: permute, channel shuffle, pixel shuffle, slice, pad",
    "other": "anything else; its cost is in no table",
}
"""Every ``LayerSpec.op`` and what it stands for."""


@dataclass(frozen=True, slots=True)
class Width:
    """An integer affine form of group sizes: ``const + sum(mult * sizes[group])``."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def at(self, sizes: Sizes) -> int:
        """Its value for the given sizes; every group named must be among them."""
        total = self.const
        for group, mult in self.terms:
            total += mult * sizes[group]
        return total

    @property
    def groups(self) -> tuple[str, ...]:
        """Ids of the groups that it depends on."""
        return tuple(group for group, _ in self.terms)

    def __str__(self) -> str:
        parts = [f"{mult}*{group}" if mult != 1 else group for group, mult in self.terms]
        if self.const or not parts:
            parts.append(str(self.const))
        return " + ".join(parts)


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One layer with every number known: the key of a lookup table.

    Attributes:
        op: one of :data:`OPS`.
        cin: input channels (of all inputs together, for ``concat``).
        cout: output channels.
        in_hw: input height and width in pixels; for ``linear``, rows are ``in_hw[0] * in_hw[1]``.
        out_hw: output height and width in pixels.
        kernel, stride, padding, dilation: height and width of each, in pixels.
        groups: groups of a convolution or of a group normalization.
        bias: whether a bias is added (always true where a normalization was folded in).
        act: the activation that follows directly, such as ``relu``; empty for none.
        residual: whether an elementwise sum with another tensor follows before the activation.
        inputs: channels of each input, for ops of several inputs; otherwise empty.
    """

    op: str
    cin: int
    cout: int
    in_hw: Pair = (1, 1)
    out_hw: Pair = (1, 1)
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    act: str = ""
    residual: bool = False
    inputs: tuple[int, ...] = ()

    @property
    def weights(self) -> int:
        """Weight elements, without bias; zero for ops without weights."""
        if self.op in ("conv", "conv_transpose", "conv_nd", "deform_conv"):
            return self.cin * self.cout * self.kernel[0] * self.kernel[1] // self.groups
        return self.cin * self.cout if self.op in ("linear", "recurrent") else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of convolutions and matrix products."""
        pixels = self.in_hw if self.op == "conv_transpose" else self.out_hw
        products = self.cin * self.cout if self.op == "matmul" else self.weights
        return products * pixels[0] * pixels[1]

    def __str__(self) -> str:
        """Compact and unique, such as ``conv 32>64 k3x3 s1x1 p1x1 112x112 bias relu``."""
        channels = "+".join(map(str, self.inputs)) if self.inputs else str(self.cin)
        words = [self.op, f"{channels}>{self.cout}"]
        if self.kernel != (1, 1):
            words.append(f"k{self.kernel[0]}x{self.kernel[1]}")
        if self.stride != (1, 1):
            words.append(f"s{self.stride[0]}x{self.stride[1]}")
        if self.padding != (0, 0):
            words.append(f"p{self.padding[0]}x{self.padding[1]}")
        if self.dilation != (1, 1):
            words.append(f"d{self.dilation[0]}x{self.dilation[1]}")
        if self.groups != 1:
            words.append(f"g{self.groups}")
        words.append(f"{self.in_hw[0]}x{self.in_hw[1]}")
        if self.out_hw != self.in_hw:
            words.append(f"to {self.out_hw[0]}x{self.out_hw[1]}")
        words += [word for word, on in (("bias", self.bias), ("add", self.residual)) if on]
        if self.act:
            words.append(self.act)
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class LayerSpec:
    """One layer whose widths are still affine forms; fields as in :class:`LayerShape`.

    Attributes:
        name: qualified name of the module, or of the graph node where there is no module.
        module: qualified name of the module that holds the weights; empty if it has none.
        inference: false for a layer that runs in training only, such as an auxiliary head. It
            has parameters and no cost.
    """

    name: str
    op: str
    cin: Width
    cout: Width
    in_hw: Pair = (1, 1)
    out_hw: Pair = (1, 1)
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: Width = Width(1)
    bias: bool = False
    act: str = ""
    residual: bool = False
    inputs: tuple[Width, ...] = ()
    module: str = ""
    inference: bool = True

    @property
    def widths(self) -> tuple[Width, ...]:
        """Every affine form in it, in the order that :meth:`shape` takes their values."""
        return (self.cin, self.cout, self.groups, *self.inputs)

    def shape(self, values: Sequence[int]) -> LayerShape:
        """The concrete shape for the values of :attr:`widths`."""
        return LayerShape(
            self.op, values[0], values[1], self.in_hw, self.out_hw, self.kernel, self.stride,
            self.padding, self.dilation, values[2], self.bias, self.act, self.residual,
            tuple(values[3:]),
        )  # fmt: skip
