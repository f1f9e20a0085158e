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
from typing import Literal

from netadapt.network.layers import LayerShape, LayerSpec, Sizes, Width


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

    @property
    def layer(self) -> str:
        """Qualified name of the module that holds the tensor."""
        return self.tensor.rpartition(".")[0]


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
        least: the fewest units that must stay.
        summed: whether its channels are added up without a weight to each, as in a product of two
            tensors, so that nothing reads less of a channel but what produces it.
        preferred: sizes that a device prefers to multiples, such as those that fill its arrays;
            empty where multiples will do.
    """

    id: str
    size: int
    slots: tuple[Slot, ...]
    channels_per_unit: int = 1
    fixed: str = ""
    exact: bool = True
    least: int = 1
    summed: bool = False
    preferred: tuple[int, ...] = ()

    def choices(self, multiple: int) -> tuple[int, ...]:
        """Sizes that it may shrink to, descending: preferred ones, or full blocks of channels.

        Args:
            multiple: channels that the device computes at once; widths become multiples of it.
        """
        if self.fixed:
            return ()
        if self.preferred:
            sizes = sorted(set(self.preferred), reverse=True)
            return tuple(size for size in sizes if self.least <= size < self.size)
        step = multiple // math.gcd(multiple, self.channels_per_unit)
        return tuple(range((self.size - 1) // step * step, self.least - 1, -step))

    def smaller(self, size: int, multiple: int) -> tuple[int, ...]:
        """The choices below ``size``, descending."""
        return tuple(choice for choice in self.choices(multiple) if choice < size)


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
    """A module attribute that holds a width, or a sequence of them.

    Attributes:
        module: qualified name.
        attr: name of the attribute, such as ``out_channels``, ``groups`` or a user's own.
        widths: its value, or its items.
        sequence: whether the attribute is a tuple or a list (``normalized_shape``).
    """

    module: str
    attr: str
    widths: tuple[Width, ...]
    sequence: bool = False


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
        untrained: why the training mode was not followed, though asked for; empty if it was. Parts
            that run in training only then stay as they are.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSpec, ...]
    groups: Mapping[str, ChannelGroup]
    tensors: tuple[TensorSpec, ...] = ()
    attrs: tuple[AttrSpec, ...] = ()
    fixed: tuple[FixedLayer, ...] = ()
    untrained: str = ""
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

    def attributes(self, sizes: Sizes) -> dict[str, dict[str, int | tuple[int, ...]]]:
        """``{module: {attribute: value}}`` for the given sizes: what a loader has to set.

        Where the value is a tuple, the attribute may as well be a list.
        """
        complete = self.complete(sizes)
        found: dict[str, dict[str, int | tuple[int, ...]]] = {}
        for spec in self.attrs:
            values = tuple(width.at(complete) for width in spec.widths)
            found.setdefault(spec.module, {})[spec.attr] = values if spec.sequence else values[0]
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


def least_sizes(network: Network, multiple: int) -> dict[str, int]:
    """The sizes below which nothing can shrink."""
    return {
        group.id: choices[-1]
        for group in shrinkable(network)
        if (choices := group.choices(multiple))
    }


def nearest_choice(
    group: ChannelGroup, wanted: float, multiple: int, present: int | None = None
) -> int:
    """The largest size of a group that is not above ``wanted``, or the least.

    Up to its present size, that size included; by default its own.
    """
    size = group.size if present is None else present
    choices = (size, *group.smaller(size, multiple))
    return next((size for size in choices if size <= wanted), choices[-1])


def keep_first(network: Network, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Keep the first units of each group that shrinks: the choice when importance is unknown."""
    return {group: tuple(range(size)) for group, size in network.complete(sizes).items()}


def exact_alone(network: Network) -> Network:
    """The network of which groups that are not exact stay as they are."""
    why = "has channels that take part in what others compute, which the settings leave alone"
    groups = {
        name: group if group.exact or group.fixed else replace(group, fixed=why)
        for name, group in network.groups.items()
    }
    return replace(network, groups=groups)
