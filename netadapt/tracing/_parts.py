"""Rules of operations that take parts of a tensor, or put parts together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from netadapt.tracing._elementwise import meet
from netadapt.tracing._ledger import Ids
from netadapt.tracing._numbers import Number
from netadapt.tracing._values import BAKED, Call, Value, position, varies

ALONE = ", which takes single channels by their positions"
"""Why an operation fixes channels that it reads one at a time."""


def parts(call: Call, input: Value, dim: int, sizes: Sequence[Any] | None) -> Any:
    """The tensors that a split along a dimension returns.

    Args:
        call: the call.
        input: what is split.
        dim: along what.
        sizes: of the parts, as the code gives them; None if their number is given.
    """
    place, shapes = position(dim, len(input.shape)), [tuple(out.shape) for out in call.out]
    if place not in input.axes:
        for size in sizes or ():
            if varies(size):
                call.freeze(size, why=", which splits another tensor by it")
        return [call.value(input.axes, shape) for shape in shapes]
    call.layer("move", input, input)
    others = {axis: ids for axis, ids in input.axes.items() if axis != place}
    widths = [shape[place] for shape in shapes]
    runs = split_at(call, input.axes[place], widths, sizes)
    if runs is None:
        call.ledger.fix(input.axes[place], f"feeds {call.what}{BAKED}")
        return [call.value(others, shape) for shape in shapes]
    return [call.value({**others, place: ids}, shape)
            for shape, ids in zip(shapes, runs, strict=True)]  # fmt: skip


def split_at(
    call: Call, ids: Ids, widths: Sequence[int], sizes: Sequence[Any] | None
) -> list[Ids] | None:
    """Channels in runs of some widths, or None if the widths do not follow the channels."""
    ends = np.cumsum(widths)[:-1].tolist()
    runs = [call.ledger.descend(run, ids) for run in np.split(ids, ends)]
    equal = len(set(widths)) == 1
    if len(widths) == 1:
        return runs
    if sizes is None or (equal and all(varies(s) and s.over(ids) for s in sizes)):
        # Equal parts stay equal: position is tied to position. So do parts that differ because
        # their number does not divide the channels: the same positions go from each that has them.
        in_step(call, runs)
        return runs
    if not all(varies(size) for size in sizes):
        return None
    return runs if all([s.follows(run) for s, run in zip(sizes, runs, strict=True)]) else None


def in_step(call: Call, runs: Sequence[Ids]) -> None:
    """Let the same positions be removed from each of some runs; the first is among the longest."""
    why = f"is split by {call.what} beside channels of a fixed width"
    for run in runs[1:]:
        call.ledger.tie(runs[0][: len(run)], run, why)


def chunk(call: Call, input: Value, chunks: int, dim: int = 0) -> Any:
    """A split into a number of equal parts."""
    if isinstance(chunks, Number):
        chunks.pin()
    if len(call.out) != chunks:
        return call.freeze(input, why=", which makes fewer parts than it is asked for")
    return parts(call, input, dim, None)


def split(call: Call, tensor: Value, split_size_or_sections: Any = None, dim: int = 0,
          split_size: Any = None, split_sizes: Any = None) -> Any:  # fmt: skip
    """A split into parts of given sizes, which may shrink if the code derives them."""
    sizes = next(s for s in (split_size_or_sections, split_size, split_sizes) if s is not None)
    if isinstance(sizes, int):
        place = position(dim, len(tensor.shape))
        if tensor.shape[place] % int(sizes) and place in tensor.axes:
            return uneven(call, tensor, place, sizes)
        sizes = [sizes] * len(call.out)
    return parts(call, tensor, dim, list(sizes))


def uneven(call: Call, input: Value, place: int, size: Any) -> Any:
    """A split into parts of one size and a smaller rest, which follows a size that is derived."""
    ids, ends = input.axes[place], range(int(size), input.shape[place], int(size))
    runs = [call.ledger.descend(run, ids) for run in np.split(ids, list(ends))]
    if varies(size):
        in_step(call, runs)
    if not varies(size) or not size.follows(runs[0]):
        return call.freeze(input, size, why=BAKED)
    call.layer("move", input, input)
    return [call.value({**input.axes, place: run}, out.shape)
            for run, out in zip(runs, call.out, strict=True)]  # fmt: skip


def tensor_split(call: Call, input: Value, indices_or_sections: Any, dim: int = 0) -> Any:
    """A split into a number of parts, or at positions."""
    if isinstance(indices_or_sections, int):
        return chunk(call, input, indices_or_sections, dim)
    place = position(dim, len(input.shape))
    if place in input.axes:
        return call.freeze(input, indices_or_sections, why=BAKED)
    return [call.value(input.axes, out.shape) for out in call.out]


def unbind(call: Call, input: Value, dim: int = 0) -> Any:
    """All slices along a dimension."""
    place, axes = position(dim, len(input.shape)), without(call, input, [dim])
    return [call.value({a - (a > place): ids for a, ids in axes.items()}, out.shape)
            for out in call.out]  # fmt: skip


def without(call: Call, input: Value, dims: Sequence[int]) -> dict[int, Ids]:
    """The channels along other dimensions than these, along which they are fixed."""
    gone = [position(d, len(input.shape)) for d in dims]
    for axis in gone:
        if axis in input.axes:
            call.ledger.fix(input.axes[axis], f"feeds {call.what}{ALONE}")
    return {axis: ids for axis, ids in input.axes.items() if axis not in gone}


def getitem(call: Call, input: Any, index: Any) -> Any:
    """``tensor[...]``."""
    keys = list(index) if isinstance(index, tuple) else [index]
    if any(key is Ellipsis for key in keys):
        at = next(i for i, key in enumerate(keys) if key is Ellipsis)
        used = sum(key is not None and key is not Ellipsis for key in keys)
        keys[at : at + 1] = [slice(None)] * (len(input.shape) - used)
    if any(isinstance(key, bool) for key in keys):
        return call.freeze(input, index, why=" by computed positions")
    if not all(key is None or isinstance(key, int | slice) for key in keys):
        return gathered(call, input, keys)
    result = indexed(call, input, keys)
    if any(isinstance(key, slice) and key != slice(None) for key in keys):
        call.layer("move", input, result)
    return result


def indexed(call: Call, input: Value, keys: list[Any], shape: Sequence[int] | None = None) -> Value:
    """A tensor indexed by integers, slices and None."""
    axes: dict[int, Ids] = {}
    dim = place = 0  # of the input, of the output
    for key in [*keys, *[slice(None)] * len(input.shape)]:
        if key is None:
            place += 1
            continue
        if dim == len(input.shape):
            break
        if isinstance(key, slice):
            if dim in input.axes:
                axes[place] = sliced(call, input.axes[dim], key)
            else:
                for end in (key.start, key.stop, key.step):
                    if varies(end):
                        call.freeze(end, why=", which cuts another tensor by it")
            place += 1
        elif dim in input.axes:
            call.ledger.fix(input.axes[dim], f"feeds {call.what}{ALONE}")
        dim += 1
    return call.value(axes, shape)


def sliced(call: Call, ids: Ids, key: slice) -> Ids:
    """The channels in a slice; removable if its ends follow the channels that they cut off."""
    count = len(ids)
    start, stop, step = [int(end) if isinstance(end, int) else end
                         for end in (key.start, key.stop, key.step)]  # fmt: skip
    result = call.ledger.descend(ids[start:stop:step], ids)
    left, right, stride = slice(start, stop, step).indices(count)
    if stride > 1 and (left, right) != (0, count) and right != count:
        call.freeze(key)
        call.ledger.fix(ids, f"feeds {call.what}{BAKED}")
    elif stride > 1:
        phases(call, ids, stride)
    elif (left, right) != (0, count) and not cuts(call, ids, key, left, right):
        for part in held_by(key, ids):
            call.ledger.fix(part, f"feeds {call.what}{BAKED}")
    elif (left, right) == (0, count):
        for end in (key.start, key.stop):
            if varies(end):
                end.pin()
    return result


def held_by(key: slice, ids: Ids) -> list[Ids]:
    """Channels that a slice counts from either end: those beyond may go, and it takes the same."""
    ends = [end for end in (key.start, key.stop) if end is not None]
    if any(varies(end) for end in ends):
        return [ids]
    return [ids[:end] if end >= 0 else ids[end:] for end in map(int, ends)]


def phases(call: Call, ids: Ids, stride: int) -> None:
    """Let every ``stride`` channels in a row be removed together, so that every n-th stays it."""
    if len(ids) % stride:
        call.ledger.fix(ids, f"feeds {call.what}{BAKED}")
    else:
        why = f"is sliced by {call.what} beside channels of a fixed width"
        call.ledger.couple(ids.reshape(-1, stride).T, why)


def cuts(call: Call, ids: Ids, key: slice, left: int, right: int) -> bool:
    """Whether both ends of a slice follow the channels before and after them."""
    ends: list[tuple[Any, int]] = [
        (end, at)
        for end, at in ((key.start, left), (key.stop, right))
        if isinstance(end, int) and at not in (0, len(ids))
    ]
    if not all(varies(end) for end, _ in ends):
        return False
    if all(before(end, at, ids).over(ids) for end, at in ends):
        step = int(np.gcd.reduce([at for _, at in ends] + [len(ids)]))
        why = f"is sliced by {call.what} beside channels of a fixed width"
        call.ledger.couple(ids.reshape(-1, step), why)
        return True
    return all(
        [before(end, at, ids).follows(ids[:at] if end >= 0 else ids[at:]) for end, at in ends]
    )


def before(end: Number, at: int, ids: Ids) -> Number:
    """How many channels lie before an end, or after it if it is counted from the last."""
    counted = end if end >= 0 else -end
    assert isinstance(counted, Number)
    assert counted == (at if end >= 0 else len(ids) - at)
    return counted


def gathered(call: Call, input: Value, keys: list[Any]) -> Any:
    """A tensor indexed by a tensor or list along one dimension."""
    special = [i for i, key in enumerate(keys) if not isinstance(key, slice)]
    if len(special) != 1 or not isinstance(keys[special[0]], Value | list):
        return call.freeze(input, keys, why=" by computed positions")
    (dim,) = special
    grown = len(call.shape) - len(input.shape)
    call.freeze(keys[dim], why=" as positions")
    axes = {}
    for axis, ids in input.axes.items():
        if axis == dim:
            call.ledger.fix(ids, f"feeds {call.what} by computed positions")
        else:
            part = keys[axis] if axis < len(keys) else slice(None)
            axes[axis + grown * (axis > dim)] = sliced(call, ids, part)
    return call.value(axes)


def setitem(call: Call, input: Value, index: Any, value: Any) -> Any:
    """``tensor[...] = value``: what is written meets what it replaces."""
    keys = list(index) if isinstance(index, tuple) else [index]
    if any(key is Ellipsis for key in keys):
        at = next(i for i, key in enumerate(keys) if key is Ellipsis)
        used = sum(key is not None and key is not Ellipsis for key in keys)
        keys[at : at + 1] = [slice(None)] * (len(input.shape) - used)
    if not all(key is None or type(key) is int or isinstance(key, Number | slice) for key in keys):
        call.freeze(input, index, value, why=" by computed positions")
        return ()
    part = indexed(call, input, keys, written(input.shape, keys))
    for ids in part.axes.values():
        call.ledger.lift(ids)
    if isinstance(value, Value):
        put(call, part, call.solid(value))
    call.layer("move", input, input)
    return ()


def written(shape: Sequence[int], keys: Sequence[Any]) -> tuple[int, ...]:
    """The shape of a part of a tensor."""

    def plainly(key: Any) -> Any:
        if isinstance(key, slice):
            return slice(*map(plainly, (key.start, key.stop, key.step)))
        return int(key) if isinstance(key, int) else key

    return tuple(torch.empty(tuple(shape), device="meta")[tuple(map(plainly, keys))].shape)


def put(call: Call, part: Value, value: Value) -> None:
    """Tie the channels of a part of a tensor to those of what is written there."""
    shift = len(part.shape) - len(value.shape)
    why = f"meets a tensor of fixed width in {call.what}"
    for axis in range(len(part.shape)):
        own = axis - shift
        if own < 0 or value.shape[own] != part.shape[axis]:
            call.ledger.fix(
                value.axes.get(own), f"feeds {call.what}, which repeats its one channel"
            )
        elif axis in part.axes or own in value.axes:
            call.ledger.tie(part.along(axis), value.along(own), why)


def narrow(call: Call, input: Value, dim: int, start: Any, length: Any) -> Any:
    """A slice along one dimension."""
    keys: list[Any] = [slice(None)] * len(input.shape)
    keys[position(dim, len(input.shape))] = slice(start, start + length)
    return getitem(call, input, tuple(keys))


def select(call: Call, input: Value, dim: int, index: Any) -> Any:
    """One position along a dimension, which is dropped."""
    keys: list[Any] = [slice(None)] * len(input.shape)
    keys[position(dim, len(input.shape))] = index
    return getitem(call, input, tuple(keys))


def index_select(call: Call, input: Value, dim: int, index: Value) -> Any:
    """Positions along a dimension by a tensor of them."""
    keys: list[Any] = [slice(None)] * len(input.shape)
    keys[position(dim, len(input.shape))] = index
    return gathered(call, input, keys)


def gather(call: Call, input: Value, dim: int, index: Value, **_: Any) -> Any:
    """For each element, one at the position along a dimension that an index tensor names."""
    axes = without(call, input, [dim])
    call.ledger.fix(index.axes.get(position(dim, len(input.shape))), f"feeds {call.what}")
    same = {a: ids for a, ids in axes.items() if call.shape[a] == input.shape[a]}
    for axis, ids in index.axes.items():
        if axis in same:
            call.ledger.tie(ids, same[axis], f"meets fixed channels in {call.what}")
    return call.value(same)


def cat(call: Call, tensors: Sequence[Value], dim: int = 0, **options: Any) -> Any:
    """Tensors joined along a dimension."""
    place = position(options.get("axis", dim), len(call.shape))
    tensors = [call.solid(t) for t in tensors if len(t.shape) == len(call.shape)]
    if len(tensors) == 1:
        call.alias()
        return call.like(tensors[0])
    axes = joined(call, tensors, [d for d in range(len(call.shape)) if d != place])
    pieces = [value.along(place) for value in tensors]
    if any(place in value.axes for value in tensors):
        axes[place] = call.ledger.descend(np.concatenate(pieces), *pieces)
    result = call.value(axes)
    if place == (result.axis if result.axis is not None else 1):
        call.layer("concat", tensors[0], result, cin=result.along(place), inputs=tuple(pieces))
    else:
        call.layer("other", tensors[0], result)
    return result


def joined(call: Call, tensors: Sequence[Value], dims: Sequence[int]) -> dict[int, Ids]:
    """Tie the channels of tensors along dimensions that they share."""
    axes = {}
    for dim in dims:
        held = [value.along(dim) for value in tensors]
        if any(dim in value.axes for value in tensors):
            for ids in held[1:]:
                call.ledger.tie(held[0], ids, f"meets a tensor of fixed width in {call.what}")
            axes[dim] = next(v.axes[dim] for v in tensors if dim in v.axes)
    return axes


def stack(call: Call, tensors: Sequence[Value], dim: int = 0, **_: Any) -> Any:
    """Tensors joined along a new dimension."""
    place = position(dim, len(call.shape))
    tensors = [call.solid(value) for value in tensors]
    axes = joined(call, tensors, range(len(tensors[0].shape)))
    result = call.value({axis + (axis >= place): ids for axis, ids in axes.items()})
    call.layer("other", tensors[0], result)
    return result


def copied(call: Call, input: Value, source: Value, *_: Any) -> Any:
    """A tensor written over another."""
    call.alias()
    return meet(call, [input, source])


def assigned(call: Call, input: Value, source: Any) -> Any:
    """``tensor.data = source``: from now on it is the source, and shrinks with it."""
    source = call.solid(source)
    if not input.name:
        return call.freeze(input, source, why=", which replaces another tensor")
    for axis, ids in source.axes.items():
        call.ledger.slot(input.name, axis, "channelwise", ids)
    return ()
