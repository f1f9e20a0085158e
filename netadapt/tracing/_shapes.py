"""Rules of operations that see a tensor in another shape: views, permutations, repetition."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._ledger import Ids
from netadapt.tracing._numbers import Number
from netadapt.tracing._values import BAKED, Call, Value, position, varies


def integers(args: tuple[Any, ...]) -> list[Any]:
    """Sizes given one by one or as one sequence."""
    if len(args) == 1 and isinstance(args[0], list | tuple):
        return list(args[0])
    return list(args)


def reshape(call: Call, input: Value, *sizes: Any, shape: Any = None, size: Any = None) -> Any:
    """View as other sizes; a constant number of channels in the code fixes them."""
    asked = integers(sizes) or list(shape or size or ())
    if any(not isinstance(size, int) for size in asked):
        return call.like(input)  # a view as another type
    return rearrange(call, input, asked)


def reshape_as(call: Call, input: Value, other: Value) -> Any:
    """View in the shape of another tensor."""
    from netadapt.tracing._functions import sizes_of

    return rearrange(call, input, list(sizes_of(other, call.ledger, None)))


def flatten(call: Call, input: Value, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Several dimensions seen as one."""
    start, end = position(start_dim, len(input.shape)), position(end_dim, len(input.shape))
    shift = end - start
    axes = {dim - shift * (dim > end): ids for dim, ids in input.axes.items()
            if not start <= dim <= end}  # fmt: skip
    within = {dim: ids for dim, ids in input.axes.items() if start <= dim <= end}
    if within and shift:
        merged = merge(call, input, start, end + 1)
        if merged is not None:
            axes[start] = merged
    else:
        axes.update(within)
    return call.value(axes)


def merge(call: Call, input: Value, start: int, stop: int) -> Ids | None:
    """The channels along several dimensions seen as one; of two with channels, the longer's."""
    axes = [dim for dim in range(start, stop) if dim in input.axes and input.shape[dim] > 1]
    if not axes:
        axes = [dim for dim in range(start, stop) if dim in input.axes][:1]
    if not axes:
        return None
    axis, *others = sorted(axes, key=lambda dim: -input.shape[dim])
    for dim in others:
        why = f"feeds {call.what}, which merges it with channels of another dimension"
        call.ledger.fix(input.axes[dim], why)
    lead, trail = math.prod(input.shape[start:axis]), math.prod(input.shape[axis + 1 : stop])
    flat: Ids = np.tile(np.repeat(input.axes[axis], trail), lead)
    return call.ledger.descend(flat, input.axes[axis])


def unflatten(call: Call, input: Value, dim: int, sizes: Sequence[Any]) -> Any:
    """One dimension seen as several."""
    start = position(dim, len(input.shape))
    asked: list[Any] = [-1 if d in input.axes else size for d, size in enumerate(input.shape)]
    asked[start : start + 1] = sizes
    return rearrange(call, input, asked)


def rearrange(call: Call, input: Value, sizes: list[Any]) -> Any:
    """The common rule of all views.

    The dimensions of input and output fall into blocks of the same number of elements, of which
    those with channels matter. If one becomes several dimensions, one of them may be free to
    shrink; elements at one position of it, of all others, are removed together.
    """
    axes: dict[int, Ids] = {}
    done: set[int] = set()
    for axis in sorted(input.axes):
        (i, i_end), (j, j_end) = block(input.shape, call.shape, axis)
        if i in done:
            continue
        done.add(i)
        flat = merge(call, input, i, i_end)
        if flat is not None:
            found = divide(call, flat, j, j_end, sizes)
            if found is not None:
                axes[found[0]] = found[1]
    for dim, size in enumerate(sizes):
        if varies(size) and dim not in axes and size.from_attributes:
            size.pin()
        elif varies(size) and dim not in axes and call.shape[dim] > 1:
            call.freeze(size, why=", which sizes another tensor by it")
    return call.value(axes)


def divide(call: Call, flat: Ids, j: int, j_end: int, sizes: list[Any]) -> Any:
    """Channels seen as the dimensions ``j`` to ``j_end``: which one holds which."""
    if j_end - j == 1 and (sizes[j] == -1 or varies(sizes[j])):
        if sizes[j] != -1 and not sizes[j].follows(flat):
            return fixed(call, flat, ", by the number of channels of another tensor")
        return j, flat
    free = free_dims(sizes, range(j, j_end))
    if len(free) != 1:
        return fixed(call, flat, BAKED)
    (axis,) = free
    rows = np.moveaxis(flat.reshape(call.shape[j:j_end]), axis - j, -1)
    rows = rows.reshape(-1, call.shape[axis])
    why = f"is viewed by {call.what} together with channels of a fixed width"
    ids = call.ledger.descend(call.ledger.couple(rows, why), flat)
    size = sizes[axis]
    if varies(size) and not size.follows(ids):
        return fixed(call, flat, ", by the number of channels of another tensor")
    return axis, ids


def fixed(call: Call, ids: Ids, why: str) -> None:
    """Fix channels that a call takes, and say why."""
    call.ledger.fix(ids, f"feeds {call.what}{why}")


def free_dims(sizes: list[Any], dims: Sequence[int]) -> list[int]:
    """Of the dimensions that channels are divided into, the one whose size follows them.

    A size that is left open comes first, then one that was derived from the channels, then the
    largest that a module holds as an attribute; other attributes then are constants.
    """
    open_ = [d for d in dims if type(sizes[d]) is int and sizes[d] == -1]
    derived = [d for d in dims if varies(sizes[d]) and not sizes[d].from_attributes]
    held = [d for d in dims if varies(sizes[d]) and sizes[d].from_attributes]
    if open_ or derived:
        return open_ + derived
    return sorted(held, key=lambda d: -sizes[d])[:1]


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


def swapaxes(call: Call, input: Value, axis0: int, axis1: int) -> Any:
    """Two dimensions swapped, by numpy's names."""
    return transpose(call, input, axis0, axis1)


def matrix_transpose(call: Call, input: Value) -> Any:
    """The last two dimensions swapped."""
    return transpose(call, input, -2, -1) if len(input.shape) > 1 else call.like(input)


def adjoint(call: Call, input: Value) -> Any:
    """All dimensions of a tensor in reverse order, as its attribute ``T`` gives them."""
    return reordered(call, input, list(range(len(input.shape)))[::-1])


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
    result = call.value({order.index(dim): ids for dim, ids in input.axes.items()})
    wide = [d for d in order if input.shape[d] != 1]
    if wide != sorted(wide):
        call.layer("move", input, result)
    return result


def unsqueeze(call: Call, input: Value, dim: int) -> Any:
    """A new dimension of size one."""
    place = position(dim, len(call.shape))
    return call.value({axis + (axis >= place): ids for axis, ids in input.axes.items()})


def squeeze(call: Call, input: Value, dim: Any = None) -> Any:
    """Dimensions of size one dropped."""
    ndim = len(input.shape)
    if dim is None:
        asked = list(range(1 if input.shape[0] != 1 else 0, ndim))
    else:
        asked = [position(d, ndim) for d in ([dim] if isinstance(dim, int) else dim)]
    gone = [d for d in asked if input.shape[d] == 1]
    axes = {}
    for axis, ids in input.axes.items():
        if axis in gone or (dim is not None and axis in asked):
            call.ledger.fix(ids, f"feeds {call.what}, which would drop a dimension of one channel")
        if axis not in gone:
            axes[axis - sum(d < axis for d in gone)] = ids
    if dim is None:  # two channels may stay, one would be dropped
        for ids in axes.values():
            call.ledger.leave_two(ids)
    return call.value(axes)


def expand(call: Call, input: Value, *sizes: Any, size: Any = None, **_: Any) -> Any:
    """Dimensions of size one repeated without a copy."""
    asked = integers(sizes) or list(size)
    shift = len(call.shape) - len(input.shape)
    axes = {}
    for dim, asked_size in enumerate(asked):
        axis = dim - shift
        if axis in input.axes and input.shape[axis] == call.shape[dim]:
            ids = input.axes[axis]
            if not (asked_size == -1 or (varies(asked_size) and asked_size.follows(ids))):
                call.ledger.fix(ids, f"feeds {call.what}{BAKED}")
            axes[dim] = ids
        elif axis in input.axes:
            call.ledger.fix(input.axes[axis], f"feeds {call.what}, which repeats its one channel")
        elif varies(asked_size) and (axis < 0 or input.shape[axis] == 1):
            made = asked_size.vector()
            if made is None:
                call.freeze(asked_size, why=", which sizes another tensor by it")
            else:
                axes[dim] = made
        elif varies(asked_size):
            call.freeze(asked_size, why=", which sizes a tensor of fixed width by it")
    return call.value(axes)


def expand_as(call: Call, input: Value, other: Value) -> Any:
    """Dimensions of size one repeated to the shape of another tensor."""
    shift = len(other.shape) - len(input.shape)
    axes = dict(other.axes)
    why = f"meets fixed channels in {call.what}"
    for dim in range(max(shift, 0), len(other.shape)):
        axis = dim - shift
        if input.shape[axis] == other.shape[dim] > 1 and (axis in input.axes or dim in axes):
            ids = input.along(axis)
            call.ledger.tie(ids, other.along(dim), why)
            axes[dim] = axes.get(dim, ids)
        elif axis in input.axes and input.shape[axis] != other.shape[dim]:
            call.ledger.fix(input.axes[axis], f"feeds {call.what}, which repeats its one channel")
    return call.value(axes)


def repeat(call: Call, input: Value, *sizes: Any, repeats: Any = None, dims: Any = None) -> Any:
    """A tensor set beside itself, a number of times along each dimension."""
    times = integers(sizes) or list(repeats or dims)
    shift = len(call.shape) - len(input.shape)
    times = [1] * (len(call.shape) - len(times)) + times
    axes = {}
    for dim, count in enumerate(times):
        axis = dim - shift
        ids = input.axes.get(axis)
        if ids is not None and isinstance(count, Number):
            call.freeze(ids_value(input, axis), count, why=" as often as it has channels")
        elif ids is not None:
            axes[dim] = call.ledger.descend(np.tile(ids, count), ids)
        elif isinstance(count, Number):
            made = count.vector() if axis < 0 or input.shape[axis] == 1 else None
            if made is None:
                call.freeze(count, why=", which sizes another tensor by it")
            else:
                axes[dim] = made
    result = call.value(axes)
    call.layer("move", input, result)
    return result


def ids_value(input: Value, axis: int) -> Value:
    """One dimension's channels alone."""
    return Value(input.shape, {axis: input.axes[axis]})


def repeat_interleave(call: Call, input: Value, repeats: Any, dim: Any = None, **_: Any) -> Any:
    """Each element a number of times."""
    if not isinstance(repeats, int) or isinstance(repeats, Number) or dim is None:
        return call.freeze(input, repeats, why=", whose number of copies varies")
    place, axes = position(dim, len(input.shape)), dict(input.axes)
    if place in axes:
        axes[place] = call.ledger.descend(np.repeat(axes[place], repeats), axes[place])
    result = call.value(axes)
    call.layer("move", input, result)
    return result


def made(call: Call, *args: Any, **options: Any) -> Any:
    """A tensor of sizes given, whose width follows what sizes it."""
    sizes = options.get("size")
    if sizes is None:
        sizes = integers(tuple(a for a in args if isinstance(a, int | list | tuple)))
    axes = {}
    if len(sizes) != len(call.shape):
        return call.freeze(sizes)
    for dim, size in enumerate(sizes):
        if varies(size):
            ids = size.vector()
            if ids is None:
                call.freeze(size, why=", which sizes another tensor by it")
            else:
                axes[dim] = ids
                call.ledger.lift(ids)
    return call.value(axes)
