"""Rules of operations that act on each element: activations, sums, products."""

import math
from typing import Any

from netadapt.tracing._ledger import nobody
from netadapt.tracing._numbers import Number
from netadapt.tracing._values import Call, Rule, Value, plane, position

ACTS = (
    "relu", "relu6", "sigmoid", "tanh", "leaky_relu", "hardsigmoid", "hardswish", "silu", "gelu",
    "elu", "selu", "celu", "mish", "softplus", "softsign", "hardtanh", "logsigmoid", "tanhshrink",
    "softshrink", "hardshrink", "threshold", "rrelu",
)  # fmt: skip
"""Activations, by the name that ``LayerSpec.act`` gives them."""

LIFTING = frozenset({"sigmoid", "hardsigmoid", "softplus", "logsigmoid", "threshold"})
"""Activations that are not zero at zero."""


def identity(call: Call, input: Any, *_: Any, **__: Any) -> Any:
    """Nothing is computed at inference: dropout, identity, contiguous."""
    call.alias()
    return call.like(input) if isinstance(input, Value) else input


def activation(act: str) -> Rule:
    """The rule of one activation."""

    def rule(call: Call, input: Value, *_: Any, **__: Any) -> Value:
        result = call.like(input)
        if act in LIFTING or act == "clamp":
            lift(call, result)
        call.layer("act", input, result, act=act)
        return result

    return rule


def lift(call: Call, *values: Any) -> None:
    """Note that channels of zeros are zeros no more."""
    for value in values:
        if isinstance(value, Value):
            for ids in value.axes.values():
                call.ledger.lift(ids)


def clamp(call: Call, input: Value, min: Any = None, max: Any = None, *_: Any,
          **options: Any) -> Value:  # fmt: skip
    """Limit to an interval, which for 0..6 is ReLU6."""
    min, max = options.get("min_val", min), options.get("max_val", max)
    for bound in (min, max):
        if isinstance(bound, Value | Number):
            return join(call, "clamp", input, min, max)
    named = {(0, 6): "relu6", (0, None): "relu"}
    return activation(named.get((min, max), "clamp"))(call, input)  # type: ignore[no-any-return]


def unary(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """Any other function of each element alone."""
    result = call.like(input)
    if call.op.rstrip("_") not in ZERO_AT_ZERO:
        lift(call, result)
    call.layer("other", input, result)
    return result


ZERO_AT_ZERO = frozenset({
    "abs", "absolute", "neg", "negative", "expm1", "log1p", "sqrt", "square", "sin", "tan", "atan",
    "asinh", "erf", "floor", "ceil", "round", "trunc", "sign", "sinh", "pos", "positive",
})  # fmt: skip
"""Functions that are zero at zero."""


def free(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """A tensor of the same shape that costs nothing worth a table entry."""
    result = call.like(input)
    if call.op.endswith("_like") or "bernoulli" in call.op:
        lift(call, result)
    return result


def cast(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """The same values in another type or place."""
    call.alias()
    return call.like(input)


def read(call: Call, input: Value, *_: Any, **__: Any) -> Any:
    """Values that leave the tensors for the code, which may do anything with them."""
    call.freeze(input, why=", whose result the code computes with outside of tensors")
    return ()


def binary(kind: str) -> Rule:
    """The rule of an elementwise operation of two operands, of which one may be a number."""

    def rule(call: Call, input: Any, other: Any, *_: Any, **__: Any) -> Any:
        return join(call, kind, input, other)

    return rule


def join(call: Call, kind: str, *operands: Any) -> Value:
    """Broadcast operands against each other: channels that meet are tied."""
    for operand in operands:
        if isinstance(operand, Number):
            operand.blur()  # the number of channels scales the result
    values = [operand for operand in operands if isinstance(operand, Value)]
    result = meet(call, values)
    if kind not in ("add", "sub", "mul", "div", "lerp") or len(values) < 2:
        if kind not in ("mul", "div"):
            lift(call, result)
    elif kind in ("add", "sub") and any(v.name or not v.axes for v in values):
        lift(call, result)
    op, source = price(kind, values, result)
    call.layer(op, source, result)
    return result


def addcmul(call: Call, input: Value, tensor1: Value, tensor2: Value, **_: Any) -> Value:
    """A sum with a product."""
    return join(call, "addcmul", input, tensor1, tensor2)


def where(call: Call, condition: Any, input: Any, other: Any) -> Value:
    """A choice between two tensors or numbers for each element."""
    return join(call, "where", condition, input, other)


def masked_fill(call: Call, input: Value, mask: Value, value: Any) -> Value:
    """Some elements replaced by a number."""
    return join(call, "where", input, mask, value)


def meet(call: Call, values: list[Value]) -> Value:
    """Tie the channels of values that are broadcast together; the value that results."""
    ndim = len(call.shape)
    if all(value.name or of_parameters(call, value) for value in values):
        values = [call.solid(value) for value in values]
    axes = {}
    for place in range(ndim):
        joined = met(call, values, place, ndim)
        if joined is not None:
            axes[place] = joined
    return call.value(axes)


def of_parameters(call: Call, value: Value) -> bool:
    """Whether a tensor is one number, or computed from parameters and buffers alone."""
    if not value.axes:
        return math.prod(value.shape) == 1
    return all(call.ledger.places(ids) for ids in value.axes.values())


def met(call: Call, values: list[Value], place: int, ndim: int) -> Any:
    """The channels along one dimension of values that are broadcast together."""
    size = call.shape[place]
    across = [(v, place - ndim + len(v.shape)) for v in values]
    across = [(v, dim) for v, dim in across if dim >= 0]
    if not any(dim in v.axes for v, dim in across):
        return None
    for value, dim in across:
        if dim in value.axes and value.shape[dim] != size:
            call.freeze(value, why=", which broadcasts its one channel")
    full = [(v, dim) for v, dim in across if v.shape[dim] == size]
    held = [v.axes[dim] for v, dim in full if dim in v.axes]
    if not held:
        return None
    first, *others = sorted(held, key=lambda ids: bool(call.ledger.places(ids)))
    why = f"meets a tensor of fixed width in {call.what}"
    for ids in others:
        call.ledger.tie(first, ids, why)
    bare = [(v, dim) for v, dim in full if dim not in v.axes]
    for value, dim in bare:
        if value.name and size > 1:
            call.ledger.slot(value.name, dim, "channelwise", first)
        elif size > 1:
            call.ledger.tie(first, nobody(size), why)
    if not bare:
        return call.ledger.descend(first, *held)
    # What meets data is no longer computed from parameters alone, and makes no channels.
    pure = all(v.name or of_parameters(call, v) for v in values)
    return first if pure else first.copy()


def price(kind: str, values: list[Value], result: Value) -> tuple[str, Value]:
    """The op of :data:`netadapt.network.OPS` that an elementwise operation is, and its source."""
    whole = [v for v in values if v.shape == result.shape]
    source = whole[0] if whole else result
    if len(values) == 2 and len(whole) == 2 and kind in ("add", "mul"):
        return kind, source
    if kind == "mul" and len(values) == 2 and len(whole) == 1:
        (small,) = [v for v in values if v is not whole[0]]
        channels, hw = plane(result)
        if math.prod(small.shape[-3:]) == len(channels):  # one factor for each channel
            return ("mul" if hw == (1, 1) else "scale"), source
    return "other", source


def glu(call: Call, input: Value, dim: int = -1) -> Value:
    """The first half of a dimension times the sigmoid of the second."""
    place = position(dim, len(input.shape))
    axes = dict(input.axes)
    if place in axes:
        why = f"is split in halves by {call.what}"
        axes[place] = call.ledger.couple(axes[place].reshape(2, -1), why)
    result = call.value(axes)
    call.layer("other", input, result)
    return result


def across(call: Call, input: Value, dim: int | None = None, *_: Any, **__: Any) -> Any:
    """A normalization of all elements along one dimension, such as softmax."""
    result = call.like(input)
    lift(call, result)
    for place, ids in input.axes.items():
        if dim is None or place == position(dim, len(input.shape)):
            call.ledger.blur(ids)
    call.layer("other", input, result)
    return result


def in_order(call: Call, input: Value, dim: int | None = None, *_: Any, **__: Any) -> Any:
    """An operation for which the order along one dimension counts, such as a running sum."""
    axes = dict(input.axes)
    for place, ids in input.axes.items():
        if dim is None or place == position(dim, len(input.shape)):
            call.ledger.fix(ids, f"feeds {call.what}, which mixes the channels")
            del axes[place]
    outs = call.out if isinstance(call.out, tuple | list) else [call.out]
    results = [call.value(axes, out.shape) for out in outs]
    call.layer("other", input, results[0])
    return results if isinstance(call.out, tuple | list) else results[0]


def neighbours(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """A normalization of each channel by those around it."""
    result = call.like(input)
    if 1 in input.axes:
        call.ledger.blur(input.axes[1])
    call.layer("other", input, result)
    return result


def normalize(call: Call, input: Value, p: float = 2.0, dim: Any = 1, eps: float = 1e-12,
              out: Any = None) -> Value:  # fmt: skip
    """Division by a norm along some dimensions, to which a channel of zeros adds nothing."""
    result = call.like(input)
    dims = [dim] if isinstance(dim, int) else dim
    for place in (position(d, len(input.shape)) for d in dims):
        if place in input.axes:
            call.ledger.sum_over(input.axes[place])
    if isinstance(out, Value):
        meet(call, [result, out])
    call.layer("other", input, result)
    return result


def weight_norm(call: Call, v: Value, g: Value, dim: int = 0) -> Value:
    """A weight as its length for each filter times its direction."""
    return meet(call, [call.solid(v), call.solid(g)])
