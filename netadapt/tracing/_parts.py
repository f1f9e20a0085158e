"""Rules of operations that take parts of a tensor: split, chunk, index."""

from typing import Any

from netadapt.tracing._ledger import Ids
from netadapt.tracing._values import BAKED, Call, Dim, Value, position


def equal_parts(call: Call, input: Value, axis: int, count: int) -> list[Ids]:
    """Channels in ``count`` equal runs, which stay equal: position is tied to position."""
    rows = input.along(axis).reshape(count, -1)
    call.ledger.couple(rows, f"is split by {call.what} beside channels of a fixed width")
    return list(rows)


def parts(call: Call, input: Value, dim: int, equal: bool, why: str) -> Any:
    """The tensors that a split along a dimension returns."""
    place, shapes = position(dim, len(input.shape)), [tuple(out.shape) for out in call.out]
    if input.axis != place:
        return [Value(shape, input.axis, input.ids) for shape in shapes]
    call.layer("move", input, input)
    if not equal or len({shape[place] for shape in shapes}) > 1:
        return call.freeze(input, why=why)
    rows = equal_parts(call, input, place, len(shapes))
    return [Value(shape, place, ids) for shape, ids in zip(shapes, rows, strict=True)]


def chunk(call: Call, input: Value, chunks: int, dim: int = 0) -> Any:
    """A split into a number of equal parts."""
    full = len(call.out) == chunks
    return parts(call, input, dim, full, ", whose parts are unequal")


def split(call: Call, tensor: Value, split_size_or_sections: Any, dim: int = 0) -> Any:
    """A split into parts of given sizes, which may shrink if the code derives them."""
    sizes = split_size_or_sections
    listed = sizes if isinstance(sizes, list | tuple) else [sizes]
    runtime = tensor.ids is not None and all(
        isinstance(size, Dim) and call.ledger.proportional(size.ids, tensor.ids) for size in listed
    )
    return parts(call, tensor, dim, runtime, BAKED)


def unbind(call: Call, input: Value, dim: int = 0) -> Any:
    """All slices along a dimension."""
    place = position(dim, len(input.shape))
    if input.axis == place:
        return call.freeze(input, why=BAKED)
    axis = None if input.axis is None else input.axis - (input.axis > place)
    return [Value(tuple(out.shape), axis, input.ids) for out in call.out]


def getitem(call: Call, input: Any, index: Any) -> Any:
    """``tensor[...]``, or an item of what an earlier call returned."""
    if not isinstance(input, Value):
        return input[index]
    keys = list(index) if isinstance(index, tuple) else [index]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        used = sum(key is not None for key in keys) - 1
        keys[at : at + 1] = [slice(None)] * (len(input.shape) - used)
    if not all(key is None or isinstance(key, int | slice | Dim) for key in keys):
        return call.freeze(input, index, why=" by computed positions")
    if input.axis is None:
        call.freeze(keys)
        result = call.value(None, None)
    else:
        result = indexed(call, input, keys)
    if any(isinstance(key, slice) and key != slice(None) for key in keys):
        call.layer("move", input, result)
    return result


def indexed(call: Call, input: Value, keys: list[Any]) -> Value:
    """A tensor indexed by integers, slices and None, where it holds channels."""
    dim = place = 0  # of the input, of the output
    for key in [*keys, *[slice(None)] * len(input.shape)]:
        if key is None:
            place += 1
        elif dim == input.axis:
            return (
                call.value(place, sliced(call, input, key))
                if isinstance(key, slice)
                else (call.freeze(input, key, why=BAKED))
            )
        else:
            dim, place = dim + 1, place + isinstance(key, slice)
    raise AssertionError(f"axis {input.axis} of {input.shape} is not indexed by {keys}")


def sliced(call: Call, input: Value, key: slice) -> Ids:
    """The channels in a slice; removable if it is one of equal parts that the code derives."""
    assert input.ids is not None
    if key == slice(None):
        return input.ids
    sizes = [part for part in (key.start, key.stop) if part not in (None, 0)]
    step = min((part.size for part in sizes if isinstance(part, Dim)), default=0)
    runtime = (
        key.step is None
        and step > 0
        and len(input.ids) % step == 0
        and all(
            isinstance(part, Dim)
            and part.size % step == 0
            and call.ledger.proportional(part.ids, input.ids)
            for part in sizes
        )
    )
    if runtime:
        call.ledger.couple(input.ids.reshape(-1, step), f"is sliced by {call.what} beside others")
    else:
        call.freeze(input, key, why=BAKED)
    ends = [
        part.size if isinstance(part, Dim) else part for part in (key.start, key.stop, key.step)
    ]
    return input.ids[slice(*ends)]
