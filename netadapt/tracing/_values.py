"""What flows through a trace in place of tensors and sizes, and what a rule is told of a call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn

from netadapt.network import Pair
from netadapt.tracing._ledger import Ids, Ledger, freeze, nobody


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A tensor: its shape, and along which dimension it holds which channels.

    Attributes:
        shape: its dimensions, the batch among them.
        axis: the dimension that channels may be removed from; None if there is none.
        ids: the channels along ``axis``.
        name: qualified name, if it is a parameter or buffer as it stands.
    """

    shape: tuple[int, ...]
    axis: int | None = None
    ids: Ids | None = None
    name: str = ""

    def along(self, dim: int) -> Ids:
        """The channels along a dimension that is the axis, or that holds nobody's."""
        return self.ids if dim == self.axis and self.ids is not None else nobody(self.shape[dim])


@dataclass(frozen=True, eq=False, slots=True)
class Dim:
    """An integer that the model derives from a number of channels while it runs.

    Attributes:
        size: its value now; proportional to the number of channels in ``ids``.
        ids: these channels.
    """

    size: int
    ids: Ids


@dataclass(slots=True)
class Record:
    """One layer as a rule saw it: a :class:`netadapt.network.LayerSpec` with ids for widths."""

    node: fx.Node
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
    """What the rules write while they walk one graph.

    Attributes:
        ledger: channels; shared by all graphs of a model.
        records: layers, in order.
        aliases: nodes that hand on their input unchanged, with the input.
        queries: nodes that return no tensor, such as a shape.
    """

    ledger: Ledger
    records: list[Record] = field(default_factory=list)
    aliases: dict[fx.Node, fx.Node] = field(default_factory=dict)
    queries: set[fx.Node] = field(default_factory=set)


@dataclass(slots=True)
class Call:
    """One call in the graph, as a rule sees it.

    Attributes:
        node: the graph node.
        name: qualified name of the module called, otherwise of the node.
        what: the operation in words, such as ``torch.sort``.
        owner: qualified name of the module whose code makes the call, or which is called.
        model: the whole model.
        out: what the call returned, with shapes only.
        found: where findings go.
    """

    node: fx.Node
    name: str
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

    @property
    def module(self) -> nn.Module:
        """The module called."""
        return self.model.get_submodule(self.owner)

    def value(self, axis: int | None, ids: Ids | None) -> Value:
        """The returned tensor, holding these channels along ``axis``."""
        if axis is None or ids is None:
            return Value(self.shape)
        assert len(ids) == self.shape[axis], f"{self.what}: {len(ids)} channels, {self.shape}"
        return Value(self.shape, axis, ids)

    def like(self, value: Value) -> Value:
        """The returned tensor, holding its channels where ``value`` does."""
        return self.value(value.axis, value.ids)

    def param(self, attr: str) -> Value | None:
        """A parameter or buffer of the module called; without a name if it is computed."""
        tensor = getattr(self.module, attr)
        if tensor is None:
            return None
        name = f"{self.owner}.{attr}" if self.owner else attr
        return Value(tuple(tensor.shape), name=name if name in self.ledger.canonical else "")

    @property
    def weight(self) -> Value:
        """The weight of the module called."""
        found = self.param("weight")
        assert found is not None, f"{self.what} has no weight"
        return found

    def freeze(self, *values: Any, why: str = "") -> Any:
        """Fix every channel in the arguments; returns the output with nobody's channels."""
        reason = f"feeds {self.what}{why}"
        freeze(self.ledger, values, reason)
        return plain(self.out)

    def channels(self, value: Value, dim: int) -> Ids:
        """Channels of ``value`` along ``dim``; if it holds them elsewhere, they are fixed."""
        if value.axis not in (None, dim):
            self.freeze(value, why=f", which expects channels along dimension {dim}")
        return value.along(dim)

    def attr(self, module: str, attr: str, ids: Ids, as_tuple: bool = False) -> bool:
        """Tie a module attribute to these channels if it holds their number now."""
        held = getattr(self.model.get_submodule(module), attr, None)
        if held != ((len(ids),) if as_tuple else len(ids)):
            return False
        self.ledger.attr(module, attr, ids, as_tuple)
        return True

    def alias(self) -> None:
        """Note that this call costs nothing and hands on its first input."""
        if self.node.all_input_nodes:
            self.found.aliases[self.node] = self.node.all_input_nodes[0]

    def layer(self, op: str, source: Value, result: Value, **fields: Any) -> None:
        """Record a layer that turns ``source`` into ``result``."""
        cin, in_hw = plane(source)
        cout, out_hw = plane(result)
        found = {"cin": cin, "cout": cout, "in_hw": in_hw, "out_hw": out_hw, **fields}
        found.setdefault("name", fields.get("module") or self.name)
        self.found.records.append(Record(node=self.node, op=op, **found))


BAKED = ", which has the number of channels as a constant in the code"
"""Why an operation fixes channels that it could otherwise follow."""

Rule = Callable[..., Any]
"""``(call, *args, **kwargs) -> output`` with :class:`Value` and :class:`Dim` for tensors, sizes."""


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
        return (value, value)
    return (1, value[0]) if len(value) == 1 else (value[0], value[1])


def position(dim: int, ndim: int) -> int:
    """A dimension counted from the front."""
    return dim % ndim if ndim else 0
