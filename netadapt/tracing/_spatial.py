"""Rules of operations over height and width: pooling, means, interpolation, padding."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._elementwise import join, lift
from netadapt.tracing._ledger import Ids, nobody
from netadapt.tracing._values import BAKED, Call, Rule, Value, pair, plane, varies


def planar(call: Call, input: Value, dims: int = 2) -> Value:
    """The input without channels along its last dimensions, which are fixed if there are any."""
    first = len(input.shape) - dims
    for axis, ids in input.axes.items():
        if axis >= first:
            call.ledger.fix(ids, f"feeds {call.what}, which mixes the channels")
    return Value(input.shape, {axis: ids for axis, ids in input.axes.items() if axis < first})


def pool(op: str, dims: int = 2) -> Rule:
    """The rule of a pooling by a window, which may return positions too."""

    def rule(
        call: Call, input: Value, kernel_size: Any, stride: Any = None, padding: Any = 0,
        *more: Any, **options: Any,
    ) -> Any:  # fmt: skip
        source = planar(call, input, dims)
        outs = call.out if isinstance(call.out, tuple | list) else [call.out]
        results = [call.value(source.axes, out.shape) for out in outs]
        dilation = options.get("dilation", more[0] if more and op == "max_pool" else 1)
        kernel = pair(kernel_size)
        step = kernel if stride is None or stride == [] else pair(stride)
        if dims == 2:
            call.layer(
                op, source, results[0], kernel=kernel, stride=step, padding=pair(padding),
                dilation=pair(dilation if isinstance(dilation, list | tuple) else int(dilation)),
            )  # fmt: skip
        else:
            call.layer("other", source, results[0])
        return results if isinstance(call.out, tuple | list) else results[0]

    return rule


def lp_pool(call: Call, input: Value, norm_type: float, kernel_size: Any, *_: Any,
            **__: Any) -> Any:  # fmt: skip
    """The norm of each window."""
    result = call.value(planar(call, input, len(input.shape) - 2).axes)
    call.layer("other", input, result)
    return result


def unpool(call: Call, input: Value, indices: Value, *args: Any, **options: Any) -> Any:
    """Each element put back to the position that a pooling took it from."""
    source, where = planar(call, input), planar(call, indices)
    for axis, ids in source.axes.items():
        call.ledger.tie(ids, where.along(axis), f"meets fixed channels in {call.what}")
    call.freeze(args, list(options.values()))
    result = call.value({**where.axes, **source.axes})
    call.layer("other", input, result)
    return result


def adaptive(op: str, dims: int = 2) -> Rule:
    """The rule of a pooling to a given size, which is a window where the sizes divide."""

    def rule(call: Call, input: Value, output_size: Any, *_: Any, **__: Any) -> Any:
        outs = call.out if isinstance(call.out, tuple | list) else [call.out]
        axes = planar(call, input, dims).axes
        results = [call.value(axes, out.shape) for out in outs]
        result = results[0]
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
        return results if isinstance(call.out, tuple | list) else result

    return rule


ADDING = frozenset({"sum", "norm", "vector_norm", "matrix_norm", "linalg_norm", "nansum"})
"""Reductions to which a channel of zeros adds nothing."""


def reduce(call: Call, input: Value, *args: Any, **options: Any) -> Any:
    """Mean, sum, maximum over some dimensions; over channels, each depends on the others."""
    if call.op in ("norm", "linalg_norm", "vector_norm", "linalg_vector_norm"):
        first = options.pop("p", options.pop("ord", args[0] if args else 2))
        args = args[1:]
        if call.op == "norm" and isinstance(first, list | tuple):
            args = (first, *args)
    if call.op in ("quantile", "nanquantile"):
        args = args[1:]
    dim = options.get("dim", options.get("axis", args[0] if args else None))
    if isinstance(dim, bool):  # var(x, unbiased)
        dim = None
    if isinstance(dim, Value) or isinstance(options.get("other"), Value):  # torch.max(a, b)
        return join(call, "maximum", input, dim if dim is not None else options["other"])
    ndim = len(input.shape)
    asked = [dim] if isinstance(dim, int) else dim
    over = {int(d) % ndim for d in asked} if asked is not None and len(asked) else set(range(ndim))
    return reduced(call, input, over)


def reduced(call: Call, input: Value, over: set[int]) -> Any:
    """The outcome of a reduction over some dimensions."""
    outs = call.out if isinstance(call.out, tuple | list) else [call.out]
    keeps = len(outs[0].shape) == len(input.shape)
    for axis in over & input.axes.keys():
        mark_reduced(call, input.axes[axis])
    axes = {axis - (0 if keeps else sum(d < axis for d in over)): ids
            for axis, ids in input.axes.items() if axis not in over}  # fmt: skip
    results = [call.value(axes, out.shape) for out in outs]
    if call.op not in (*ADDING, "mean", "amax", "amin", "max", "min"):
        lift(call, *results)
    plane_dims = {1, 2, 3} - {input.axis or 1}
    pooled = len(input.shape) == 4 and over == plane_dims and call.op == "mean"
    call.layer("global_pool" if pooled else "other", input, results[0])
    return results if isinstance(call.out, tuple | list) else results[0]


def mark_reduced(call: Call, ids: Ids) -> None:
    """Note that channels are reduced to one value; positions among them are constants."""
    if call.op in ("argmax", "argmin", "median", "mode", "kthvalue"):
        call.ledger.fix(ids, f"feeds {call.what}, which finds positions among the channels")
    elif call.op in ADDING:
        call.ledger.sum_over(ids)
    else:
        call.ledger.blur(ids)


def interpolate(call: Call, input: Value, *args: Any, **options: Any) -> Any:
    """Change of height and width by interpolation."""
    if any(varies(option) and not option.from_attributes for option in sizes_in(args, options)):
        return call.freeze(input, args, list(options.values()))
    call.freeze([option for option in sizes_in(args, options) if varies(option)])
    spatial = len(input.shape) - 2
    result = call.value(planar(call, input, spatial).axes)
    call.layer("resize" if spatial == 2 else "other", input, result)
    return result


def sizes_in(args: Sequence[Any], options: dict[str, Any]) -> list[Any]:
    """All integers in arguments."""
    flat: list[Any] = []
    for arg in [*args, *options.values()]:
        flat += arg if isinstance(arg, list | tuple) else [arg]
    return flat


def sampled(call: Call, input: Value, grid: Any, *_: Any, **__: Any) -> Any:
    """Each channel read at the positions that another tensor gives."""
    call.freeze(grid, why=" as positions")
    result = call.value(planar(call, input, len(input.shape) - 2).axes)
    call.layer("other", input, result)
    return result


def affine_grid(call: Call, theta: Value, size: Any, *_: Any, **__: Any) -> Any:
    """Positions to read at; of the size asked for, the number of channels takes no part."""
    return call.freeze(theta, why=" as positions")


def pad(
    call: Call, input: Value, pad: Sequence[Any], mode: str = "constant", value: Any = None
) -> Any:
    """Padding from the last dimension on; constant channels added are nobody's to remove."""
    axes, last = {}, len(input.shape) - 1
    for axis, ids in input.axes.items():
        from_last = 2 * (last - axis)
        before, after = (list(pad) + [0] * (from_last + 2))[from_last : from_last + 2]
        if before == 0 and after == 0:
            axes[axis] = ids
            continue
        counted = [n for n in (before, after) if varies(n)]
        if mode != "constant" or min(before, after) < 0:
            call.freeze(before, after)
            call.ledger.fix(ids, f"feeds {call.what} along the channels{BAKED}")
        elif not all(n.from_attributes for n in counted):
            call.freeze(before, after, why=", which adds as many channels")
            call.ledger.fix(ids, f"feeds {call.what}, which adds channels by the number of others")
        else:
            for number in counted:
                number.pin()
            axes[axis] = np.concatenate([nobody(before), ids, nobody(after)])
            call.ledger.lift(ids)
    result = call.value(axes)
    call.layer("move", input, result)
    return result


def constant_pad(call: Call, input: Value, pad_: Sequence[Any], value: Any = 0) -> Any:
    """ATen's padding by a constant."""
    return pad(call, input, pad_, "constant", value)


def pixel_shuffle(call: Call, input: Value, upscale_factor: int) -> Any:
    """``[N, C * r * r, H, W]`` to ``[N, C, H * r, W * r]``: ``r * r`` channels become one."""
    dim = len(input.shape) - 3
    axes = dict(planar(call, input).axes)
    if dim in axes:
        rows = axes[dim].reshape(-1, int(upscale_factor) ** 2).T
        why = f"is merged by {call.what} with channels of a fixed width"
        axes[dim] = call.ledger.couple(rows, why)
    return moved(call, input, axes)


def pixel_unshuffle(call: Call, input: Value, downscale_factor: int) -> Any:
    """``[N, C, H * r, W * r]`` to ``[N, C * r * r, H, W]``: a channel becomes ``r * r``."""
    dim = len(input.shape) - 3
    axes = dict(planar(call, input).axes)
    if dim in axes:
        axes[dim] = np.repeat(axes[dim], int(downscale_factor) ** 2)
    return moved(call, input, axes)


def channel_shuffle(call: Call, input: Value, groups: int) -> Any:
    """Channels seen as ``[groups, C / groups]`` and transposed."""
    axes = dict(input.axes)
    if 1 in axes:
        rows = axes[1].reshape(int(groups), -1)
        heads = call.ledger.couple(rows, f"is shuffled by {call.what} with fixed channels")
        axes[1] = np.repeat(heads, int(groups))
    return moved(call, input, axes)


def unfold(call: Call, input: Value, kernel_size: Any = None, *more: Any, **options: Any) -> Any:
    """Windows as columns: ``[N, C, H, W]`` to ``[N, C * k * k, L]``; or as a tensor's method."""
    if "dimension" in options or "step" in options or "Tensor" in call.what:
        return windows(call, input, options.get("dimension", kernel_size))
    kernel = pair(kernel_size)
    axes = dict(planar(call, input).axes)
    if 1 in axes:
        axes[1] = np.repeat(axes[1], kernel[0] * kernel[1])
    return moved(call, input, axes)


def fold(call: Call, input: Value, output_size: Any, kernel_size: Any, *_: Any, **__: Any) -> Any:
    """Windows put back: ``[N, C * k * k, L]`` to ``[N, C, H, W]``."""
    kernel = pair(kernel_size)
    axes = dict(input.axes)
    if 1 in axes:
        rows = axes[1].reshape(-1, kernel[0] * kernel[1]).T
        why = f"is merged by {call.what} with channels of a fixed width"
        axes[1] = call.ledger.couple(rows, why)
    if 2 in axes:
        call.ledger.fix(axes.pop(2), f"feeds {call.what}, which mixes the channels")
    return moved(call, input, axes)


def windows(call: Call, input: Value, dimension: int) -> Any:
    """``Tensor.unfold``: windows along a dimension become a new last one."""
    place = dimension % len(input.shape)
    axes = dict(input.axes)
    if place in axes:
        call.ledger.fix(axes.pop(place), f"feeds {call.what}, which mixes the channels")
    return moved(call, input, axes)


def transform(call: Call, input: Value, *args: Any, **options: Any) -> Any:
    """A Fourier transform along the last dimensions, or those that are named."""
    dims = options.get("dim", (-2, -1) if "2" in call.op else (-1,))
    asked = [dims] if isinstance(dims, int) else dims
    axes = dict(input.axes)
    for place in {d % len(input.shape) for d in asked} if asked else set(axes):
        if place in axes:
            call.ledger.fix(axes.pop(place), f"feeds {call.what}, which mixes the channels")
    return moved(call, input, axes)


def moved(call: Call, input: Value, axes: dict[int, Ids]) -> Value:
    """Record a movement of data; the value with these channels."""
    result = call.value(axes)
    call.layer("move", input, result)
    return result
