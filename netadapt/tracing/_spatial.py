"""Rules of operations over height and width: pooling, means, interpolation, padding."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._elementwise import join
from netadapt.tracing._ledger import NONE, Ids, nobody
from netadapt.tracing._values import Call, Dim, Rule, Value, pair, plane


def planar(call: Call, input: Value, dims: int = 2) -> bool:
    """Whether no channel lies along the last ``dims`` dimensions; otherwise they are fixed."""
    if input.axis is not None and input.axis >= len(input.shape) - dims:
        call.freeze(input, why=", which mixes the channels")
        return False
    return True


def pool(op: str, dims: int = 2) -> Rule:
    """The rule of a pooling by a window."""

    def rule(
        call: Call, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
        *more: Any, **options: Any,
    ) -> Any:  # fmt: skip
        result = call.like(input) if planar(call, input, dims) else Value(call.shape)
        dilation = options.get("dilation", more[0] if more and op == "max_pool" else 1)
        kernel = pair(kernel_size)
        step = kernel if stride is None or stride == [] else pair(stride)
        if dims == 2:
            call.layer(
                op, input, result, kernel=kernel, stride=step, padding=pair(padding),
                dilation=pair(dilation),
            )  # fmt: skip
        else:
            call.layer("other", input, result)
        return result

    return rule


def adaptive(op: str, dims: int = 2) -> Rule:
    """The rule of a pooling to a given size, which is a window where the sizes divide."""

    def rule(call: Call, input: Value, output_size: Any, *_: Any, **__: Any) -> Any:
        result = call.like(input) if planar(call, input, dims) else Value(call.shape)
        source, target = plane(input)[1], plane(result)[1]
        if source == target:
            call.alias()
        elif dims != 2 or source[0] % target[0] or source[1] % target[1]:
            call.layer("other", input, result)
        elif target == (1, 1) and op == "avg_pool":
            call.layer("global_pool", input, result)
        else:
            kernel = (source[0] // target[0], source[1] // target[1])
            call.layer(op, input, result, kernel=kernel, stride=kernel)
        return result

    return rule


def reduce(
    call: Call, input: Value, dim: Any = None, keepdim: bool = False, *_: Any, **options: Any
) -> Any:  # fmt: skip
    """Mean, sum, maximum over some dimensions; over channels, it mixes them."""
    dim, ndim = options.get("axis", dim), len(input.shape)
    if isinstance(dim, Value):  # torch.max(a, b)
        return join(call, "maximum", input, dim)
    asked = [dim] if isinstance(dim, int) else dim
    over = {d % ndim for d in asked} if asked else set(range(ndim))
    axis, ids = input.axis, input.ids
    if axis in over:
        call.freeze(input, why=", which mixes the channels")
        axis = ids = None
    if axis is not None and not keepdim:
        axis -= sum(d < axis for d in over)
    if isinstance(call.out, tuple):  # max along a dimension returns positions too
        values = [Value(tuple(part.shape), axis, ids) for part in call.out]
        call.layer("other", input, values[0])
        return values
    result = call.value(axis, ids)
    plane_dims = {1, 2, 3} - {input.axis or 1}
    pooled = ndim == 4 and over == plane_dims and call.what.endswith(("mean", "mean.dim"))
    call.layer("global_pool" if pooled else "other", input, result)
    return result


def interpolate(call: Call, input: Value, *args: Any, **options: Any) -> Any:
    """Change of height and width by interpolation."""
    if any(isinstance(option, Dim) for option in [*args, *options.values()]):
        return call.freeze(input, args, list(options.values()))
    spatial = len(input.shape) - 2
    result = call.like(input) if planar(call, input, spatial) else Value(call.shape)
    call.layer("resize" if spatial == 2 else "other", input, result)
    return result


def pad(
    call: Call, input: Value, pad: Sequence[int], mode: str = "constant", value: Any = None
) -> Any:
    """Padding from the last dimension on; constant channels added are nobody's to remove."""
    if input.axis is None:
        result = Value(call.shape)
    else:
        from_last = 2 * (len(input.shape) - 1 - input.axis)
        before, after = (list(pad) + [0] * (from_last + 2))[from_last : from_last + 2]
        baked = not isinstance(before, int) or not isinstance(after, int)
        if baked or ((before or after) and (mode != "constant" or min(before, after) < 0)):
            return call.freeze(input, pad, why=" along the channels")
        ids = np.concatenate([nobody(before), input.along(input.axis), nobody(after)])
        result = call.value(input.axis, ids)
    call.layer("move", input, result)
    return result


def pixel_shuffle(call: Call, input: Value, upscale_factor: int) -> Any:
    """``[N, C * r * r, H, W]`` to ``[N, C, H * r, W * r]``: ``r * r`` channels become one."""
    dim = len(input.shape) - 3
    rows = call.channels(input, dim).reshape(-1, upscale_factor**2).T
    ids = call.ledger.couple(rows, f"is merged by {call.what} with channels of a fixed width")
    return moved(call, input, dim, ids)


def pixel_unshuffle(call: Call, input: Value, downscale_factor: int) -> Any:
    """``[N, C, H * r, W * r]`` to ``[N, C * r * r, H, W]``: a channel becomes ``r * r``."""
    dim = len(input.shape) - 3
    return moved(call, input, dim, np.repeat(call.channels(input, dim), downscale_factor**2))


def channel_shuffle(call: Call, input: Value, groups: int) -> Any:
    """Channels seen as ``[groups, C / groups]`` and transposed."""
    rows = call.channels(input, 1).reshape(groups, -1)
    heads = call.ledger.couple(rows, f"is shuffled by {call.what} with fixed channels")
    return moved(call, input, 1, np.repeat(heads, groups))


def moved(call: Call, input: Value, dim: int, ids: Ids) -> Value:
    """Record a movement of data; the value with these channels along ``dim``."""
    result = Value(call.shape) if (ids == NONE).all() else call.value(dim, ids)
    call.layer("move", input, result)
    return result
