"""Rules of operations that rearrange a tensor: reshape, permute, concatenate."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._values import BAKED, Call, Dim, Value, position


def integers(args: tuple[Any, ...]) -> list[Any]:
    """Sizes given one by one or as one sequence."""
    if len(args) == 1 and isinstance(args[0], list | tuple):
        return list(args[0])
    return list(args)


def reshape(call: Call, input: Value, *sizes: Any, shape: Any = None, size: Any = None) -> Any:
    """View as other sizes; a constant number of channels in the code fixes them."""
    return rearrange(call, input, integers(sizes) or list(shape or size))


def reshape_as(call: Call, input: Value, other: Value) -> Any:
    """View in the shape of another tensor."""
    sizes: list[Any] = list(other.shape)
    if other.axis is not None and other.ids is not None:
        sizes[other.axis] = Dim(other.shape[other.axis], other.ids)
    return rearrange(call, input, sizes)


def flatten(call: Call, input: Value, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Several dimensions seen as one."""
    start, end = position(start_dim, len(input.shape)), position(end_dim, len(input.shape))
    if input.axis is None:
        return call.value(None, None)
    if not start <= input.axis <= end:
        return call.value(input.axis - (end - start) * (input.axis > end), input.ids)
    sizes: list[Any] = list(call.shape)
    sizes[start] = -1
    return rearrange(call, input, sizes)


def unflatten(call: Call, input: Value, dim: int, sizes: Sequence[Any]) -> Any:
    """One dimension seen as several."""
    start = position(dim, len(input.shape))
    into: list[Any] = list(call.shape)
    into[start : start + len(sizes)] = sizes
    if start != input.axis and input.axis is not None:
        shifted = input.axis + (len(sizes) - 1 if input.axis > start else 0)
        return call.value(shifted, input.ids)
    return rearrange(call, input, into)


def rearrange(call: Call, input: Value, sizes: list[Any]) -> Any:
    """The common rule of all views.

    The dimensions of input and output fall into blocks of the same number of elements. Only the
    block with the channels matters. If it becomes several dimensions, exactly one of them may be
    free to shrink; elements at one position of it, of all others, are removed together.
    """
    if input.axis is None or input.ids is None:
        call.freeze(sizes, why=", which sizes another tensor by it")
        return call.value(None, None)
    (i, i_end), (j, j_end) = block(input.shape, call.shape, input.axis)
    lead, trail = (
        math.prod(input.shape[i : input.axis]),
        math.prod(input.shape[input.axis + 1 : i_end]),
    )
    flat = np.tile(np.repeat(input.ids, trail), lead)
    free = [d for d in range(j, j_end) if isinstance(sizes[d], Dim) or sizes[d] == -1]
    outside = [size for d, size in enumerate(sizes) if not j <= d < j_end]
    if len(free) != 1 or any(isinstance(size, Dim) for size in outside):
        return call.freeze(input, sizes, why=BAKED)
    (axis,) = free
    size = sizes[axis]
    if isinstance(size, Dim) and not call.ledger.proportional(size.ids, flat):
        if len(size.ids) != len(flat):
            return call.freeze(input, sizes, why=", by the number of channels of another tensor")
        # Often of one that will meet this tensor later, as in squeeze-excite: they stay equal.
        call.ledger.tie(size.ids, flat, f"is viewed by {call.what} as wide as fixed channels")
    rows = np.moveaxis(flat.reshape(call.shape[j:j_end]), axis - j, -1)
    why = f"is viewed by {call.what} together with channels of a fixed width"
    return call.value(axis, call.ledger.couple(rows.reshape(-1, call.shape[axis]), why))


def block(a: Sequence[int], b: Sequence[int], axis: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The least ranges of dimensions of ``a`` and ``b`` that hold the same elements with axis."""
    i = j = 0
    while True:
        start = (i, j)
        size_a, size_b = a[i], b[j] if j < len(b) else 1
        i, j = i + 1, j + 1
        while size_a != size_b:
            if size_a < size_b:
                size_a, i = size_a * a[i], i + 1
            else:
                size_b, j = size_b * b[j], j + 1
        if i > axis:
            return (start[0], i), (start[1], min(j, len(b)))


def permute(call: Call, input: Value, *dims: Any, **options: Any) -> Any:
    """Dimensions in another order."""
    order = [position(d, len(input.shape)) for d in integers(dims) or options["dims"]]
    return reordered(call, input, order)


def transpose(call: Call, input: Value, dim0: int, dim1: int) -> Any:
    """Two dimensions swapped."""
    order = list(range(len(input.shape)))
    a, b = position(dim0, len(order)), position(dim1, len(order))
    order[a], order[b] = order[b], order[a]
    return reordered(call, input, order)


def matrix_transpose(call: Call, input: Value) -> Any:
    """The last two dimensions swapped."""
    return transpose(call, input, -2, -1) if len(input.shape) > 1 else call.like(input)


def movedim(call: Call, input: Value, source: Any, destination: Any) -> Any:
    """Dimensions moved to other places."""
    ndim = len(input.shape)
    sources = [position(d, ndim) for d in integers((source,))]
    targets = [position(d, ndim) for d in integers((destination,))]
    moved = dict(zip(targets, sources, strict=True))
    others = iter([d for d in range(ndim) if d not in sources])
    return reordered(call, input, [moved[d] if d in moved else next(others) for d in range(ndim)])


def reordered(call: Call, input: Value, order: list[int]) -> Any:
    """Record a movement of data to the order given; a swap with 1-pixel dimensions is free."""
    axis = None if input.axis is None else order.index(input.axis)
    result = call.value(axis, input.ids)
    wide = [d for d in order if input.shape[d] != 1]
    if wide != sorted(wide):
        call.layer("move", input, result)
    return result


def cat(call: Call, tensors: Sequence[Value], dim: int = 0, **options: Any) -> Any:
    """Tensors joined along a dimension."""
    place = position(options.get("axis", dim), len(call.shape))
    axes = {value.axis for value in tensors if value.axis is not None}
    if len(axes) > 1:
        return call.freeze(list(tensors), why=" along two different dimensions")
    if len(tensors) == 1:
        call.alias()
        return call.like(tensors[0])
    if axes == {place}:
        parts = [value.along(place) for value in tensors]
        result = call.value(place, np.concatenate(parts))
    else:
        result = unified(call, tensors, axes)
        parts = []
    if place == (result.axis if result.axis is not None else 1):
        parts = parts or [value.along(place) for value in tensors]
        call.layer("concat", tensors[0], result, cin=result.along(place), inputs=tuple(parts))
    else:
        call.layer("other", tensors[0], result)
    return result


def unified(call: Call, tensors: Sequence[Value], axes: set[int]) -> Value:
    """Tensors whose channels lie along another dimension than the one they are joined along."""
    if not axes:
        return call.value(None, None)
    (axis,) = axes
    first = tensors[0].along(axis)
    for value in tensors[1:]:
        why = f"meets a tensor of fixed width in {call.what}"
        call.ledger.tie(first, value.along(axis), why)
    return call.value(axis, first)


def stack(call: Call, tensors: Sequence[Value], dim: int = 0) -> Any:
    """Tensors joined along a new dimension."""
    axes = {value.axis for value in tensors if value.axis is not None}
    if len(axes) > 1:
        return call.freeze(list(tensors), why=" along two different dimensions")
    place = position(dim, len(call.shape))
    shifted = Value(call.shape)
    if axes:
        (axis,) = axes
        first = tensors[0].along(axis)
        for value in tensors[1:]:
            call.ledger.tie(first, value.along(axis), f"meets fixed channels in {call.what}")
        shifted = call.value(axis + (axis >= place), first)
    call.layer("other", tensors[0], shifted)
    return shifted


def unsqueeze(call: Call, input: Value, dim: int) -> Any:
    """A new dimension of size one."""
    place = position(dim, len(call.shape))
    axis = None if input.axis is None else input.axis + (input.axis >= place)
    return call.value(axis, input.ids)


def squeeze(call: Call, input: Value, dim: Any = None) -> Any:
    """Dimensions of size one dropped."""
    if dim is None:
        if input.axis is not None and input.shape[input.axis] == 1:
            return call.freeze(input)
        gone = [d for d, size in enumerate(input.shape) if size == 1]
        call.freeze(input, why=", which would drop a dimension of one channel")
    else:
        asked = [dim] if isinstance(dim, int) else dim
        gone = [d for d in (position(d, len(input.shape)) for d in asked) if input.shape[d] == 1]
        if input.axis in [position(d, len(input.shape)) for d in asked]:
            return call.freeze(input, why=", which would drop a dimension of one channel")
    axis = None if input.axis is None else input.axis - sum(d < input.axis for d in gone)
    return call.value(axis, input.ids)


def expand(call: Call, input: Value, *sizes: Any, size: Any = None) -> Any:
    """Dimensions of size one repeated without a copy."""
    asked = integers(sizes) or list(size)
    shift = len(call.shape) - len(input.shape)
    axis = None if input.axis is None else input.axis + shift
    other = [size for d, size in enumerate(asked) if d != axis]
    if axis is None or input.shape[axis - shift] == 1:
        return call.freeze(input, asked)
    kept = asked[axis] == -1 or isinstance(asked[axis], Dim)
    if not kept or any(isinstance(size, Dim) for size in other):
        return call.freeze(input, asked, why=BAKED)
    if isinstance(asked[axis], Dim):
        call.ledger.tie(input.along(axis - shift), asked[axis].ids, f"sizes {call.what}")
    return call.value(axis, input.ids)


def expand_as(call: Call, input: Value, other: Value) -> Any:
    """Dimensions of size one repeated to the shape of another tensor."""
    shift = len(other.shape) - len(input.shape)
    if other.axis is None or other.ids is None:
        call.freeze(input)
        return call.value(None, None)
    dim = other.axis - shift
    if input.axis not in (None, dim):
        return call.freeze(input, other, why=" along two different dimensions")
    if dim >= 0 and input.shape[dim] != 1:
        call.ledger.tie(other.ids, input.along(dim), f"meets fixed channels in {call.what}")
    return call.value(other.axis, other.ids)


def shape(call: Call, input: Value, dim: int | None = None) -> Any:
    """The sizes of a tensor; along the channels, a number that follows them."""
    sizes: list[int | Dim] = list(input.shape)
    if input.axis is not None and input.ids is not None:
        sizes[input.axis] = Dim(input.shape[input.axis], input.ids)
    return tuple(sizes) if dim is None else sizes[dim]


def attribute(call: Call, input: Any, name: str, *_: Any) -> Any:
    """``tensor.shape`` and other attributes."""
    if isinstance(input, Value):
        if name == "shape":
            return shape(call, input)
        if name in ("T", "mT", "H", "mH"):
            return matrix_transpose(call, input)
        if name not in ("ndim", "device", "dtype", "is_cuda", "requires_grad", "layout"):
            return call.freeze(input)
    return call.out
