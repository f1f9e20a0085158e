"""Rules of operations that take parts of a tensor, or put parts together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._elementwise import meet
from netadapt.tracing._ledger import Ids, nobody
from netadapt.tracing._numbers import Number
from netadapt.tracing._values import BAKED, Call, Value, position, varies


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
        why = BAKED if sizes is not None else ", whose parts are unequal"
        call.ledger.fix(input.axes[place], f"feeds {call.what}{why}")
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
    if len(widths) == 1 or (sizes is None and not equal):
        return runs if len(widths) == 1 else None
    if sizes is None or (equal and all(varies(s) and s.over(ids) for s in sizes)):
        # Equal parts stay equal: position is tied to position.
        why = f"is split by {call.what} beside channels of a fixed width"
        call.ledger.couple(ids.reshape(len(widths), -1), why)
        return runs
    if not all(varies(size) for size in sizes):
        return None
    return runs if all([s.follows(run) for s, run in zip(sizes, runs, strict=True)]) else None


def chunk(call: Call, input: Value, chunks: int, dim: int = 0) -> Any:
    """A split into a number of equal parts."""
    if isinstance(chunks, Number):
        chunks.pin()
    if len(call.out) != chunks:
        return call.freeze(input, why=", whose parts are unequal")
    return parts(call, input, dim, None)


def split(call: Call, tensor: Value, split_size_or_sections: Any = None, dim: int = 0,
          split_size: Any = None, split_sizes: Any = None) -> Any:  # fmt: skip
    """A split into parts of given sizes, which may shrink if the code derives them."""
    sizes = next(s for s in (split_size_or_sections, split_size, split_sizes) if s is not None)
    if isinstance(sizes, int):
        place = position(dim, len(tensor.shape))
        if tensor.shape[place] % int(sizes):
            return call.freeze(tensor, sizes, why=", whose parts are unequal")
        sizes = [sizes] * len(call.out)
    return parts(call, tensor, dim, list(sizes))


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
            call.ledger.fix(input.axes[axis], f"feeds {call.what}{BAKED}")
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


def indexed(call: Call, input: Value, keys: list[Any]) -> Value:
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
            call.ledger.fix(input.axes[dim], f"feeds {call.what}{BAKED}")
        dim += 1
    return call.value(axes)


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
        call.ledger.fix(ids, f"feeds {call.what}{BAKED}")
    elif (left, right) == (0, count):
        for end in (key.start, key.stop):
            if varies(end):
                end.pin()
    return result


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
    simple = all(key is None or key is Ellipsis or isinstance(key, int | slice) for key in keys)
    if not simple:
        call.freeze(input, index, value, why=" by computed positions")
    elif isinstance(value, Value):
        call.freeze(input, index, value, why=", which writes into a part of another tensor")
    else:
        call.ledger.lift(np.concatenate([nobody(0), *input.axes.values()]))
        call.freeze([] if not written_channels(input, keys) else input, why=BAKED)
    return ()


def written_channels(input: Value, keys: list[Any]) -> bool:
    """Whether a part of the channels is written, rather than a part of each."""
    at = next((i for i, key in enumerate(keys) if key is Ellipsis), len(keys))
    after = [key for key in keys[at + 1 :] if key is not None]
    before_ = [key for key in keys[:at] if key is not None]
    dims = dict(enumerate(before_))
    dims |= {len(input.shape) - len(after) + i: key for i, key in enumerate(after)}
    return any(dims.get(axis, slice(None)) != slice(None) for axis in input.axes)


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


def flip(call: Call, input: Value, *dims: Any, **options: Any) -> Any:
    """Positions in reverse order along some dimensions; reversed channels stay in that order."""
    asked = options.get("dims", dims)
    if len(asked) == 1 and isinstance(asked[0], list | tuple):
        (asked,) = asked
    axes = dict(input.axes)
    for dim in [asked] if isinstance(asked, int) else asked:
        place = position(dim, len(input.shape))
        if place in axes:
            axes[place] = call.ledger.descend(axes[place][::-1], axes[place])
    result = call.value(axes)
    call.layer("move", input, result)
    return result


def roll(call: Call, input: Value, shifts: Any, dims: Any = None) -> Any:
    """Positions shifted in a circle along some dimensions.

    Channels can only be followed if the shift is one that moves equal parts of them, such as half.
    """
    if dims is None or dims in ([], ()):
        return call.freeze(input, shifts, why=", which shifts over all dimensions at once")
    by = [shifts] if isinstance(shifts, int) else list(shifts)
    along = [dims] if isinstance(dims, int) else list(dims)
    axes = dict(input.axes)
    for shift, dim in zip(by, along, strict=True):
        place = position(dim, len(input.shape))
        if place in axes:
            axes[place] = rolled(call, axes[place], shift)
        elif varies(shift):
            call.freeze(shift, why=", which shifts positions by it")
    result = call.value(axes)
    call.layer("move", input, result)
    return result


def rolled(call: Call, ids: Ids, shift: Any) -> Ids:
    """Channels shifted in a circle."""
    count, by = len(ids), int(shift) % len(ids)
    if by and varies(shift) and shift.over(ids):
        why = f"is shifted by {call.what} beside channels of a fixed width"
        call.ledger.couple(ids.reshape(-1, int(np.gcd(by, count))), why)
    elif by:
        call.freeze(shift)
        call.ledger.fix(ids, f"feeds {call.what} along the channels by a constant")
    return call.ledger.descend(np.roll(ids, by), ids)


def copied(call: Call, input: Value, source: Value, *_: Any) -> Any:
    """A tensor written over another."""
    call.alias()
    return meet(call, [input, source])
