"""What flows through a trace in place of tensors, and what a rule is told of a call."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from netadapt.network import Pair
from netadapt.tracing._ledger import NONE, Ids, Ledger, Role, freeze, nobody
from netadapt.tracing._numbers import Number

Axes = Mapping[int, Ids]


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A tensor: its shape, and along which dimensions it holds which channels.

    Attributes:
        shape: its dimensions, the batch among them.
        axes: the dimensions that something may be removed from, with the channels along each.
        name: qualified name, if it is a parameter or buffer as it stands. Which channels lie along
            its dimensions shows when it is used.
    """

    shape: tuple[int, ...]
    axes: Axes = field(default_factory=dict)
    name: str = ""

    @property
    def axis(self) -> int | None:
        """The dimension of channels as layers count them: 1, otherwise the last that has any."""
        return 1 if 1 in self.axes else max(self.axes, default=None)

    def along(self, dim: int) -> Ids:
        """The channels along a dimension, nobody's where there are none."""
        return self.axes[dim] if dim in self.axes else nobody(self.shape[dim])


@dataclass(eq=False, slots=True)
class Node:
    """One call, in the graph of what feeds what.

    Attributes:
        name: of the module that is called, otherwise of the operation.
        inputs: the calls whose tensors it takes.
        users: the calls that take its tensors, in order.
        constant: whether the network's input has no part in it, so that it runs once at most.
    """

    name: str
    inputs: tuple["Node", ...] = ()
    constant: bool = False
    users: dict["Node", None] = field(default_factory=dict)


@dataclass(slots=True)
class Record:
    """One layer as a rule saw it: a :class:`netadapt.network.LayerSpec` with ids for widths."""

    node: Node
    name: str
    op: str
    cin: Ids
    cout: Ids
    in_hw: Pair = (1, 1)
    out_hw: Pair = (1, 1)
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: Ids | None = None
    bias: bool = False
    act: str = ""
    residual: bool = False
    inputs: tuple[Ids, ...] = ()
    module: str = ""
    inference: bool = True


@dataclass(slots=True)
class Findings:
    """What the rules write while a model runs once.

    Attributes:
        ledger: channels; shared by all runs of a model.
        batch: how many images run.
        even: layers with groups that lose the same number of channels in each group, although
            they could lose whole groups.
        records: layers, in order.
        aliases: calls that hand on their input unchanged, with the input.
        grouped: layers with groups that lose whole groups.
        failure: why the model does not run; empty if it does.
    """

    ledger: Ledger
    batch: int = 1
    even: frozenset[str] = frozenset()
    records: list[Record] = field(default_factory=list)
    aliases: dict[Node, Node] = field(default_factory=dict)
    grouped: set[str] = field(default_factory=set)
    failure: str = ""

    def images(self, value: Value) -> int:
        """How many parts of an image a tensor holds as if they were images."""
        return max(1, value.shape[0] // self.batch) if value.shape else 1


@dataclass(slots=True)
class Call:
    """One call of an operation, as a rule sees it.

    Attributes:
        node: its place in the graph.
        name: qualified name of the module called, otherwise of the operation, numbered.
        op: the operation's own name, such as ``conv2d``.
        what: the operation in words, such as ``torch.sort``.
        owner: qualified name of the module whose code makes the call, or which is called.
        model: the whole model.
        out: what the call returned.
        found: where findings go.
    """

    node: Node
    name: str
    op: str
    what: str
    owner: str
    model: nn.Module
    out: Any
    found: Findings

    @property
    def ledger(self) -> Ledger:
        """The channels' ledger."""
        return self.found.ledger

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the one tensor returned."""
        return tuple(self.out.shape)

    def value(self, axes: Axes, shape: Sequence[int] | None = None) -> Value:
        """The returned tensor, holding these channels; those that are nobody's are left out."""
        sizes = self.shape if shape is None else tuple(shape)
        for dim, ids in axes.items():
            assert len(ids) == sizes[dim], f"{self.what}: {len(ids)} channels, {sizes}"
        return Value(sizes, {dim: ids for dim, ids in axes.items() if (ids != NONE).any()})

    def like(self, value: Value) -> Value:
        """The returned tensor, holding its channels where ``value`` does."""
        return self.value(self.solid(value).axes)

    def solid(self, value: Any) -> Any:
        """A parameter or buffer with the channels of its own that lie along its dimensions."""
        if not isinstance(value, Value) or not value.name:
            return value
        shape, name = value.shape, self.ledger.canonical[value.name]
        dims = channel_dims(shape)
        held = {dim for tensor, dim in self.ledger.slots if tensor == name}
        axes = {d: self.ledger.param(name, d) for d in {*dims, *held} if shape[d] > 1}
        return Value(shape, axes)

    def freeze(self, *values: Any, why: str = "") -> Any:
        """Fix every channel in the arguments; returns the output with nobody's channels."""
        freeze(self.ledger, values, f"feeds {self.what}{why}")
        return plain(self.out)

    def hold(self, value: Value | None, dim: int, ids: Ids, role: Role = "channelwise",
             producer: str = "") -> None:  # fmt: skip
        """Enter that a tensor, most often a parameter, has these channels along a dimension."""
        if value is None:
            return
        if value.name:
            self.ledger.slot(value.name, dim, role, ids, producer)
            return
        why = f"feeds {self.what} with a weight of fixed width"
        held = value.along(dim)
        self.ledger.tie(held, ids, why)
        self.ledger.act_as(held, role, producer)

    def attr(self, module: str, attr: str, ids: Ids) -> bool:
        """Tie a module attribute to these channels if it holds their number now."""
        held = getattr(self.model.get_submodule(module), attr, None)
        if not isinstance(held, int) or held != len(ids):
            return False
        self.ledger.attr((module, attr, None), ids)
        return True

    def alias(self) -> None:
        """Note that this call costs nothing and hands on its first input."""
        if self.node.inputs:
            self.found.aliases[self.node] = self.node.inputs[0]

    def layer(self, op: str, source: Value, result: Value, **fields: Any) -> None:
        """Record a layer that turns ``source`` into ``result``."""
        if self.node.constant:
            return
        cin, in_hw = plane(source)
        cout, out_hw = plane(result)
        found = {"cin": cin, "cout": cout, "in_hw": in_hw, "out_hw": out_hw, **fields}
        found.setdefault("name", fields.get("module") or self.name)
        for name in ("kernel", "stride", "padding", "dilation", "in_hw", "out_hw"):
            if name in found:
                found[name] = tuple(int(size) for size in found[name])
        self.found.records.append(Record(node=self.node, op=op, **found))

    def rename(self, op: str) -> None:
        """Give the layer that this call recorded last another kind."""
        if self.found.records and self.found.records[-1].node is self.node:
            self.found.records[-1].op = op


def channel_dims(shape: Sequence[int]) -> Sequence[int]:
    """Dimensions of a parameter that may hold channels: not those of a convolution's window.

    Several kernels in one, ``[K, C_out, C_in, kH, kW]``, have channels along three.
    """
    if len(shape) == 5 and shape[2] > shape[3] == shape[4]:
        return (0, 1, 2)
    return (0, 1) if len(shape) > 2 and shape[0] > 1 else range(len(shape))


BAKED = ", which has the number of channels as a constant in the code"
"""Why an operation fixes channels that it could otherwise follow."""

Rule = Callable[..., Any]
"""``(call, *args, **kwargs) -> output`` with :class:`Value` for tensors."""


def plane(value: Value) -> tuple[Ids, Pair]:
    """The channels of a tensor with a batch dimension, and its height and width."""
    shape = value.shape
    if len(shape) < 2:
        return nobody(math.prod(shape)), (1, 1)
    dim = value.axis if value.axis else 1
    rest = [size for d, size in enumerate(shape) if d not in (0, dim)] + [1, 1]
    if len(shape) > 4:
        rest = [rest[0], math.prod(rest[1:])]
    return value.along(dim), (rest[0], rest[1])


def plain(out: Any) -> Any:
    """An output as rules see it, with nobody's channels."""
    if isinstance(out, torch.Tensor):
        return Value(tuple(out.shape))
    if isinstance(out, dict):
        return {key: plain(part) for key, part in out.items()}
    if isinstance(out, list | tuple):
        return [plain(part) for part in out]
    return out


def pair(value: int | Sequence[int]) -> Pair:
    """Height and width from an option that may be given once for both; 1-d becomes a row."""
    if isinstance(value, int):
        return (int(value), int(value))
    sizes = [int(size) for size in value]
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], math.prod(sizes[1:]))


def position(dim: int, ndim: int) -> int:
    """A dimension counted from the front."""
    return int(dim) % ndim if ndim else 0


def varies(size: Any) -> bool:
    """Whether a size is one that the code derives from others."""
    return isinstance(size, Number)
