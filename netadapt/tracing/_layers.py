"""From records of single operations to layers as an inference runtime executes them.

A convolution absorbs the batch normalization, the residual sum and the activation that alone use
its output, in this order, as ONNX Runtime fuses them.
"""

from collections.abc import Sequence
from dataclasses import replace

from netadapt.network import LayerSpec, Width
from netadapt.tracing._groups import Grouping
from netadapt.tracing._ledger import Ids
from netadapt.tracing._values import Findings, Node, Record

FUSED_ACTS = frozenset({
    "relu", "relu6", "sigmoid", "tanh", "leaky_relu", "hardsigmoid", "hardswish", "silu", "gelu",
    "elu", "prelu",
})  # fmt: skip
"""Activations that a layer absorbs."""


WEIGHTED = frozenset({
    "conv", "conv_transpose", "conv_nd", "deform_conv", "linear", "recurrent", "norm", "layer_norm",
    "group_norm",
})  # fmt: skip
"""Operations that have weights."""


def fuse(found: Findings) -> list[Record]:
    """Records with normalizations, residual sums and activations absorbed."""
    at = {record.node: record for record in found.records}
    users = Users(found)
    tails: dict[Node, Record] = {}  # last node of each layer so far that may absorb a sum
    absorbed: dict[Node, Record] = {}
    for record in found.records:
        if record.node in absorbed:
            continue
        tail, sole = record.node, users.sole(record.node)
        follower = at.get(sole) if sole else None
        if record.op in ("conv", "conv_transpose") and follower and follower.op == "norm":
            record.bias = True
            absorbed[follower.node] = record
            tail = follower.node
        if record.op == "conv":
            tails[tail] = record
        if record.op == "add":
            winner = last_branch(record, tails, users)
            if winner is not None:
                winner.residual = True
                absorbed[record.node] = winner
                tail, record = record.node, winner
        if record.op in ("conv", "conv_transpose", "linear", "norm"):
            sole = users.sole(tail)
            follower = at.get(sole) if sole else None
            if follower and follower.op == "act" and follower.act in FUSED_ACTS:
                record.act = follower.act
                absorbed[follower.node] = record
    return [record for record in found.records if record.node not in absorbed]


def last_branch(add: Record, tails: dict[Node, Record], users: "Users") -> Record | None:
    """Of the convolutions that feed a sum and nothing else, the one that runs last."""
    sources = [users.origin(node) for node in add.node.inputs]
    if len(sources) != 2:
        return None
    feeding = [n for n in sources if n in tails and users.sole(n) is add.node]
    order = list(tails)
    return tails[max(feeding, key=order.index)] if feeding else None


class Users:
    """Which nodes use a node's output, seen through those that hand it on unchanged."""

    def __init__(self, found: Findings) -> None:
        self._aliases = found.aliases

    def origin(self, node: Node) -> Node:
        """The node that computed what this one hands on."""
        while node in self._aliases:
            node = self._aliases[node]
        return node

    def of(self, node: Node) -> list[Node]:
        """All nodes that use it."""
        return [
            user
            for one in node.users
            for user in (
                self.of(one) if one in self._aliases and self._aliases[one] is node else [one]
            )
        ]

    def sole(self, node: Node) -> Node | None:
        """The only node that uses it, if there is just one."""
        users = self.of(node)
        return users[0] if len(users) == 1 else None


def training_only(records: Sequence[Record], inference: Sequence[Record]) -> list[Record]:
    """Layers with weights that run in training and not at inference, such as auxiliary heads."""
    known = {record.name for record in inference}
    return [
        replace(record, inference=False)
        for record in records
        if record.op in WEIGHTED and record.name not in known
    ]


def layer_spec(record: Record, grouping: Grouping, known: dict[int, Width]) -> LayerSpec:
    """The layer with affine widths.

    Args:
        record: the layer with channels.
        grouping: the groups of the channels.
        known: widths by identity of their vector; each is computed once.
    """

    def width(ids: Ids) -> Width:
        if id(ids) not in known:
            known[id(ids)] = grouping.width(ids)
        return known[id(ids)]

    return LayerSpec(
        name=record.name, op=record.op, cin=width(record.cin), cout=width(record.cout),
        in_hw=record.in_hw, out_hw=record.out_hw, kernel=record.kernel, stride=record.stride,
        padding=record.padding, dilation=record.dilation,
        groups=Width(1) if record.groups is None else width(record.groups),
        bias=record.bias, act=record.act, residual=record.residual,
        inputs=tuple(width(ids) for ids in record.inputs), module=record.module,
        inference=record.inference,
    )  # fmt: skip


def vectors(records: Sequence[Record]) -> list[Ids]:
    """Every vector of channels that a layer's widths count."""
    found: list[Ids] = []
    for record in records:
        found += [record.cin, record.cout, *record.inputs]
        if record.groups is not None:
            found.append(record.groups)
    return found
