"""A network as a frozen value whose every width is affine in the sizes of its channel groups.

The search works on this value alone: no module is copied and no tensor is touched to know the layer
shapes, MACs, parameters and table keys that a choice of group sizes leads to.

Words:
    channel group: channels, possibly of many layers, that can only be removed together.
    unit: what a group is counted in, the least that can be removed: one index of each of the
        group's slots, or several where layers tie them (a whole group of a grouped convolution).
    slot: one dimension of one parameter or buffer, with the indices that each unit owns there.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Sizes = Mapping[str, int]
Pair = tuple[int, int]

OPS = {
    "conv": "2-d convolution, normalization folded in",
    "conv_transpose": "2-d transposed convolution, normalization folded in",
    "linear": "matrix product over the last axis, for in_hw[0] * in_hw[1] rows",
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
        if self.op in ("conv", "conv_transpose"):
            return self.cin * self.cout * self.kernel[0] * self.kernel[1] // self.groups
        return self.cin * self.cout if self.op == "linear" else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, of convolutions and linear layers only."""
        pixels = self.in_hw if self.op == "conv_transpose" else self.out_hw
        return self.weights * pixels[0] * pixels[1]

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


@dataclass(frozen=True, slots=True)
class Slot:
    """One dimension of one tensor, and the indices along it that each unit of a group owns.

    Attributes:
        tensor: qualified name of a parameter or buffer, such as ``features.0.0.weight``.
        dim: dimension of that tensor.
        role: ``out`` produces the channels (rows of a weight, its bias), ``in`` sums over them
            (columns of a weight), ``channelwise`` acts on each alone (normalization, depthwise).
        index: for unit ``k``, ``index[k]`` are its indices along ``dim``.
    """

    tensor: str
    dim: int
    role: Literal["out", "in", "channelwise"]
    index: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels that can only be removed together.

    Attributes:
        id: qualified name of the first module that produces them; stable over runs.
        size: how many units it has.
        slots: every place that holds its channels.
        channels_per_unit: output channels of the module named by ``id`` in one unit.
        fixed: why it may not shrink, as a phrase; empty if it may.
        exact: false if removing a channel also changes what others compute (layer normalization
            divides by statistics over channels), so that masked and pruned models differ.
    """

    id: str
    size: int
    slots: tuple[Slot, ...]
    channels_per_unit: int = 1
    fixed: str = ""
    exact: bool = True

    def choices(self, block: int) -> tuple[int, ...]:
        """Sizes that it may shrink to, descending: full blocks of channels, at least one block.

        Args:
            block: channels that the device computes at once; widths become multiples of it.
        """
        if self.fixed:
            return ()
        step = block // math.gcd(block, self.channels_per_unit)
        return tuple(range((self.size - 1) // step * step, 0, -step))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One parameter or buffer: its qualified name and shape.

    Attributes:
        name: qualified name; of tied tensors, the first.
        shape: the dimensions, each an affine form.
        parameter: false for buffers, which count as no parameters.
    """

    name: str
    shape: tuple[Width, ...]
    parameter: bool = True


@dataclass(frozen=True, slots=True)
class AttrSpec:
    """A module attribute that holds a width, such as ``out_channels`` or ``groups``.

    Attributes:
        module: qualified name.
        attr: name of the attribute.
        width: its value.
        as_tuple: whether the attribute holds the value in a 1-tuple (``normalized_shape``).
    """

    module: str
    attr: str
    width: Width
    as_tuple: bool = False


@dataclass(frozen=True, slots=True)
class FixedLayer:
    """A layer whose output width may not change, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class Network:
    """All that the search needs to know about a model.

    Attributes:
        input_shape: ``(channels, height, width)`` of one image.
        layers: every layer in order of execution.
        groups: every channel group by id, shrinkable or not.
        tensors: every parameter and buffer.
        attrs: every module attribute that follows from the group sizes.
        fixed: every layer that keeps its width, with the reason.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    groups: Mapping[str, ChannelGroup]
    tensors: tuple[TensorSpec, ...] = ()
    attrs: tuple[AttrSpec, ...] = ()
    fixed: tuple[FixedLayer, ...] = ()
    _shapes: dict[tuple[int, ...], LayerShape] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The size of each group as it stands."""
        return {group.id: group.size for group in self.groups.values()}

    @cached_property
    def costed(self) -> tuple[LayerSpec, ...]:
        """The layers that run at inference, in order; :meth:`at` answers for these."""
        return tuple(layer for layer in self.layers if layer.inference)

    @cached_property
    def mentions(self) -> Mapping[str, tuple[int, ...]]:
        """For each group, the positions in :attr:`costed` of the layers that it changes."""
        found: dict[str, list[int]] = {group: [] for group in self.groups}
        for position, layer in enumerate(self.costed):
            for group in {group for width in layer.widths for group in width.groups}:
                found[group].append(position)
        return {group: tuple(positions) for group, positions in found.items()}

    def shape_of(self, position: int, sizes: Sizes) -> LayerShape:
        """Shape of one layer of :attr:`costed` for complete sizes; shapes are made once."""
        layer = self.costed[position]
        values = (
            layer.cin.at(sizes),
            layer.cout.at(sizes),
            layer.groups.at(sizes),
            *[width.at(sizes) for width in layer.inputs],
        )
        key = (position, *values)
        shape = self._shapes.get(key)
        if shape is None:
            shape = self._shapes[key] = layer.shape(values)
        return shape

    def complete(self, sizes: Sizes) -> dict[str, int]:
        """The given sizes, with every group that they leave out at its present size.

        Raises:
            ValueError: a group is unknown, or a size lies outside ``1..group.size``.
        """
        for group, size in sizes.items():
            if group not in self.groups:
                raise ValueError(f"no channel group {group!r}; known: {', '.join(self.groups)}")
            if not 1 <= size <= self.groups[group].size:
                raise ValueError(
                    f"group {group!r} has {self.groups[group].size} units; {size} is out of range"
                )
        return {**self.sizes, **sizes}

    def at(self, sizes: Sizes) -> tuple[LayerShape, ...]:
        """The shape of every layer that runs at inference, in order, for the given sizes.

        Groups that are not named keep their present size.
        """
        complete = self.complete(sizes)
        return tuple(self.shape_of(position, complete) for position in range(len(self.costed)))

    def macs(self, sizes: Sizes) -> int:
        """Multiply-accumulates for one image, of convolutions and linear layers (one FMA = 1)."""
        return sum(shape.macs for shape in self.at(sizes))

    def params(self, sizes: Sizes) -> int:
        """Elements of all parameters, auxiliary heads included; tied ones count once."""
        complete = self.complete(sizes)
        return sum(
            math.prod(width.at(complete) for width in tensor.shape)
            for tensor in self.tensors
            if tensor.parameter
        )

    def attributes(self, sizes: Sizes) -> dict[str, dict[str, int | tuple[int]]]:
        """``{module: {attribute: value}}`` for the given sizes: what a loader has to set."""
        complete = self.complete(sizes)
        found: dict[str, dict[str, int | tuple[int]]] = {}
        for spec in self.attrs:
            value = spec.width.at(complete)
            found.setdefault(spec.module, {})[spec.attr] = (value,) if spec.as_tuple else value
        return found

    def kept_indices(self, keep: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], list[int]]:
        """For each ``(tensor, dim)`` that loses something, the indices that stay, ascending.

        Args:
            keep: for each group that shrinks, the units that stay; others keep all.
        """
        dropped: dict[tuple[str, int], set[int]] = {}
        for group_id, units in keep.items():
            group = self.groups[group_id]
            gone = set(range(group.size)) - set(units)
            for slot in group.slots:
                lost = dropped.setdefault((slot.tensor, slot.dim), set())
                for unit in gone:
                    lost.update(slot.index[unit])
        full = {tensor.name: tensor.shape for tensor in self.tensors}
        return {
            (tensor, dim): [i for i in range(full[tensor][dim].at(self.sizes)) if i not in lost]
            for (tensor, dim), lost in dropped.items()
            if lost
        }

    def narrow(self, keep: Mapping[str, Sequence[int]]) -> "Network":
        """This network after surgery that keeps the given units: indices renumbered.

        Args:
            keep: for each group that shrinks, the units that stay, ascending.
        """
        rank = {
            place: {old: new for new, old in enumerate(kept)}
            for place, kept in self.kept_indices(keep).items()
        }

        def narrowed(group: ChannelGroup) -> ChannelGroup:
            units = keep.get(group.id, range(group.size))
            slots = []
            for slot in group.slots:
                new = rank.get((slot.tensor, slot.dim))
                index = tuple(
                    slot.index[u] if new is None else tuple(new[i] for i in slot.index[u])
                    for u in units
                )
                slots.append(replace(slot, index=index))
            return replace(group, size=len(units), slots=tuple(slots))

        return replace(self, groups={g.id: narrowed(g) for g in self.groups.values()})


def shrinkable(network: Network) -> Iterable[ChannelGroup]:
    """The groups that may lose units, in order of their first layer."""
    return (group for group in network.groups.values() if not group.fixed)


def keep_first(network: Network, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Keep the first units of each group that shrinks: the choice when importance is unknown."""
    return {group: tuple(range(size)) for group, size in network.complete(sizes).items()}


def to_plain(shape: LayerShape) -> dict[str, Any]:
    """A layer shape as plain JSON values; ``LayerShape(**...)`` with tuples reads it back."""
    return {name: getattr(shape, name) for name in LayerShape.__slots__}
