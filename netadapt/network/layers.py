"""Layers, with widths that are affine in the sizes of channel groups, or known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netadapt.network.ops import op_of

Sizes = Mapping[str, int]
Pair = tuple[int, int]


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
        op: one of :data:`netadapt.network.OPS`.
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
        name: of the layer in its network. Layers of several names are one shape, so that it is
            not compared; it is for what hangs on the place alone, and for errors.
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
    name: str = field(default="", compare=False)

    @property
    def weights(self) -> int:
        """Weight elements, without bias; zero for ops without weights."""
        return self._products if op_of(self.op).weights else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of layers that sum products over channels."""
        op = op_of(self.op)
        pixels = self.in_hw if op.scatters else self.out_hw
        return self._products * pixels[0] * pixels[1] if op.product else 0

    @property
    def moved(self) -> int:
        """Elements read and written for one image: inputs, weights and outputs."""
        read = self.cin * self.in_hw[0] * self.in_hw[1]
        return read + self.weights + self.cout * self.out_hw[0] * self.out_hw[1]

    @property
    def place(self) -> str:
        """Its shape, after its name where it has one: how errors call it."""
        return f"{self.name} ({self})" if self.name else str(self)

    @property
    def _products(self) -> int:
        return self.cin * self.cout * self.kernel[0] * self.kernel[1] // self.groups

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
            tuple(values[3:]), self.name,
        )  # fmt: skip
