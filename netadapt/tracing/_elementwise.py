"""Rules of operations that act on each element: activations, sums, products, sizes."""

import math
import operator
from collections.abc import Callable
from typing import Any

from netadapt.tracing._values import Call, Dim, Rule, Value, plane


def identity(call: Call, input: Any, *_: Any, **__: Any) -> Any:
    """Nothing is computed at inference: dropout, identity, contiguous."""
    call.alias()
    return call.like(input) if isinstance(input, Value) else input


def activation(act: str) -> Rule:
    """The rule of one activation."""

    def rule(call: Call, input: Value, *_: Any, **__: Any) -> Value:
        result = call.like(input)
        call.layer("act", input, result, act=act)
        return result

    return rule


def clamp(call: Call, input: Value, min: Any = None, max: Any = None) -> Value:
    """Limit to an interval, which for 0..6 is ReLU6."""
    for bound in (min, max):
        if isinstance(bound, Value | Dim):
            return join(call, "clamp", input, min, max)
    named = {(0, 6): "relu6", (0, None): "relu"}
    return activation(named.get((min, max), "clamp"))(call, input)  # type: ignore[no-any-return]


def unary(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """Any other function of each element alone."""
    result = call.like(input)
    call.layer("other", input, result)
    return result


def free(call: Call, input: Value, *_: Any, **__: Any) -> Value:
    """A tensor of the same shape that costs nothing worth a table entry."""
    return call.like(input)


def binary(kind: str) -> Rule:
    """The rule of an elementwise operation of two operands, of which one may be a number."""

    def rule(call: Call, input: Any, other: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(input, Value) and not isinstance(other, Value):
            return arithmetic(call, kind, input, other)
        return join(call, kind, input, other)

    return rule


def join(call: Call, kind: str, *operands: Any) -> Value:
    """Broadcast operands against each other: channels that meet are tied."""
    for operand in operands:
        if isinstance(operand, Dim):
            call.ledger.blur(operand.ids)  # the number of channels scales the result
    values = [operand for operand in operands if isinstance(operand, Value)]
    result = meet(call, values)
    op, source = price(kind, values, result)
    call.layer(op, source, result)
    return result


def where(call: Call, condition: Any, input: Any, other: Any) -> Value:
    """A choice between two tensors or numbers for each element."""
    return join(call, "where", condition, input, other)


def meet(call: Call, values: list[Value]) -> Value:
    """Tie the channels of values that are broadcast together; the value that results."""
    ndim = len(call.shape)
    places = {v.axis + ndim - len(v.shape) for v in values if v.axis is not None}
    if not places:
        return Value(call.shape)
    if len(places) > 1:
        call.freeze(values, why=" along two different dimensions")
        return Value(call.shape)
    (place,) = places
    ids = next(
        (v.ids for v in values if v.axis is not None and v.shape[v.axis] == call.shape[place]),
        None,
    )
    for value in values:
        dim = place - (ndim - len(value.shape))
        if dim < 0 or value.shape[dim] != call.shape[place]:
            call.freeze(value, why=", which broadcasts its one channel")
        elif value.axis is None and value.name and ids is not None:
            call.ledger.slot(value.name, dim, "channelwise", ids)
        elif ids is not None:
            why = f"meets a tensor of fixed width in {call.what}"
            call.ledger.tie(ids, value.along(dim), why)
    return call.value(place, ids)


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


SCALAR: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
}


def arithmetic(call: Call, kind: str, a: Any, b: Any) -> Any:
    """Sizes that the model computes: those proportional to a number of channels stay known."""
    if not isinstance(a, Dim) and not isinstance(b, Dim):
        return call.out
    if isinstance(a, Dim) and isinstance(b, int) and kind in ("mul", "floordiv"):
        exact = kind == "mul" or (b != 0 and a.size % b == 0)
        if exact:
            return Dim(int(SCALAR[kind](a.size, b)), a.ids)
    if isinstance(b, Dim) and isinstance(a, int) and kind == "mul":
        return Dim(a * b.size, b.ids)
    call.freeze(a, b, why=", where its width enters arithmetic")
    return call.out


def glu(call: Call, input: Value, dim: int = -1) -> Value:
    """The first half of a dimension times the sigmoid of the second."""
    axis = dim % len(input.shape)
    result = call.like(input) if input.axis != axis else None
    if result is None:
        assert input.ids is not None
        why = f"is split in halves by {call.what}"
        result = call.value(axis, call.ledger.couple(input.ids.reshape(2, -1), why))
    call.layer("other", input, result)
    return result


def across(call: Call, input: Value, dim: int | None = None, *_: Any, **__: Any) -> Any:
    """An operation that mixes all elements along one dimension, such as softmax."""
    if dim is None or input.axis == dim % len(input.shape):
        result = call.freeze(input, why=", which mixes the channels")
    else:
        result = call.like(input)
    call.layer("other", input, result)
    return result
