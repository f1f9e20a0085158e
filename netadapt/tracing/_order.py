"""Rules of operations that put positions in another order."""

from typing import Any

import numpy as np

from netadapt.tracing._ledger import Ids
from netadapt.tracing._values import Call, Value, position, varies


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


def flipud(call: Call, input: Value) -> Any:
    """The first dimension in reverse order."""
    return flip(call, input, 0)


def fliplr(call: Call, input: Value) -> Any:
    """The second dimension in reverse order."""
    return flip(call, input, 1)


def rot90(call: Call, input: Value, k: int = 1, dims: Any = (0, 1)) -> Any:
    """A plane turned by quarters: one of its dimensions in reverse order, and both swapped."""
    first, second = (position(dim, len(input.shape)) for dim in dims)
    axes = dict(input.axes)
    turned = {1: (second,), 2: (first, second), 3: (first,)}.get(int(k) % 4, ())
    for place in turned:
        if place in axes:
            axes[place] = call.ledger.descend(axes[place][::-1], axes[place])
    if int(k) % 2:
        swap = {first: second, second: first}
        axes = {swap.get(axis, axis): ids for axis, ids in axes.items()}
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
