"""Rules of layers with weights: convolutions, linear layers, normalizations.

Each has the signature of its ``torch.nn.functional`` namesake. A weight may be a parameter as it
stands or be computed from parameters, as by weight normalization.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._ledger import NONE, Ids, Role, nobody
from netadapt.tracing._numbers import Number
from netadapt.tracing._values import Call, Value, pair


def holder(value: Value | None, call: Call) -> str:
    """Qualified name of the module that holds a parameter, otherwise of the calling module."""
    return value.name.rpartition(".")[0] if value is not None and value.name else call.owner


def titled(call: Call, weight: Value) -> str:
    """Name of the layer that a weight belongs to: of its module, or of the tensor itself."""
    if weight.name:
        return weight.name.removesuffix(".weight")
    places = call.ledger.places(weight.along(0)) | call.ledger.places(weight.along(1))
    owners = {tensor.rpartition(".")[0].partition(".parametrizations")[0] for tensor, _ in places}
    known = call.owner if call.owner in owners or not owners else min(owners)
    return known or call.name


def produced(call: Call, weight: Value, dim: int, size: int) -> Ids:
    """The channels that a weight's dimension makes, new ones unless it was used before."""
    if not weight.name:
        return weight.along(dim).copy()
    held = call.ledger.slots.get((call.ledger.canonical[weight.name], dim))
    return call.ledger.fresh(size) if held is None else held


def passing(call: Call, input: Value, weight: Value, dim: int, **geometry: Any) -> dict[int, Ids]:
    """Channels along the batch and along positions, which a convolution over them blurs."""
    axes = {}
    for axis, ids in input.axes.items():
        if axis == dim:
            continue
        k = axis - dim - 1
        if axis < dim or (weight.shape[k + 2] == 1 and input.shape[axis] == call.shape[axis]):
            axes[axis] = ids
        elif input.shape[axis] == call.shape[axis]:
            call.ledger.blur(ids)  # each sees its neighbours, which removal changes
            axes[axis] = ids
        else:
            call.ledger.fix(ids, f"feeds {call.what}, which mixes the channels")
    return axes


def convolve(
    call: Call, input: Value, weight: Value, bias: Value | None, groups: Any, swap: bool,
    **geometry: Any,
) -> Any:  # fmt: skip
    """Any convolution; ``swap`` if the weight is ``[C_in, C_out / groups, ...]`` (transposed)."""
    input = call.solid(input)
    dim = len(input.shape) - len(weight.shape) + 1  # 0 if there is no batch dimension
    into, c_out, name = input.along(dim), call.shape[dim], titled(call, weight)
    rows, columns = (1, 0) if swap else (0, 1)
    axes = passing(call, input, weight, dim)
    heads: Ids | None = None
    if groups == 1:
        out = produced(call, weight, rows, c_out)
        call.hold(weight, columns, into, "in")
        call.hold(weight, rows, out, "out", name)
    else:
        out, heads = grouped(call, weight, into, groups, swap)
    call.hold(bias, 0, out, "out")
    module = holder(weight, call)
    call.attr(module, "in_channels", into)
    call.attr(module, "out_channels", out)
    result = call.value({**axes, dim: out})
    spatial = len(weight.shape) - 2
    if dim and input.shape[0] < call.found.batch and heads is not None:
        into, out, heads = one_image(call, into), one_image(call, out), one_image(call, heads)
    kind = ("conv_transpose" if swap else "conv") if spatial < 3 else "conv_nd"
    call.layer(
        kind, input, result, name=name, cin=into, cout=out, in_hw=pixels(call, input, dim),
        out_hw=pixels(call, result, dim), kernel=pair(weight.shape[2:]), groups=heads,
        bias=bias is not None, module=module, **(geometry if spatial < 3 else {}),
    )  # fmt: skip
    return result


def one_image(call: Call, ids: Ids) -> Ids:
    """The channels of one image, where code lays all images side by side as channels."""
    count = call.found.batch
    return ids if len(ids) % count else ids[: len(ids) // count]


def pixels(call: Call, value: Value, dim: int) -> tuple[int, int]:
    """Height and width of a convolution's input or output; one dimension is a row.

    What code makes several images of counts as one image, its parts below each other.
    """
    sizes = value.shape[dim + 1 :]
    parts = call.found.images(value) if dim else 1
    return (parts, *sizes) if len(sizes) == 1 else (parts * sizes[0], math.prod(sizes[1:]))


def grouped(call: Call, weight: Value, into: Ids, groups: Any, swap: bool) -> tuple[Ids, Ids]:
    """What a grouped convolution makes, and one channel for each of its groups.

    It loses whole groups, so that ``groups`` changes and their widths do not; or the same
    channels of each group, whichever leaves more choices. The latter always works.
    """
    count, name = int(groups), titled(call, weight)
    a, b = len(into) // count, weight.shape[1] if swap else weight.shape[0] // count
    why = f"shares a group of {call.what} with channels of a fixed width"
    alone = a == 1 and (b == 1 or (into != NONE).any())
    whole = alone or (count > max(a, b) and name not in call.found.even)
    if not (whole and isinstance(groups, Number)):
        if isinstance(groups, Number):
            groups.freeze(why)
        if a == 1:
            call.ledger.fix(into, f"feeds {call.what}, whose number of groups is a constant in "
                                  "the code")  # fmt: skip
        return even(call, weight, into, count, (a, b), swap), nobody(count)
    if a > 1:
        call.found.grouped.add(name)
    heads = call.ledger.couple(into.reshape(count, -1).T, why)
    if not groups.follows(heads):
        call.ledger.fix(heads, f"feeds {call.what}, whose number of groups is fixed")
    out = np.repeat(heads, b)
    if swap:
        call.hold(weight, 0, into, "channelwise", name)
    else:
        role: Role = "out" if a > 1 else "channelwise"
        call.hold(weight, 0, out, role, name)
    return out, heads


def even(
    call: Call, weight: Value, into: Ids, count: int, widths: tuple[int, int], swap: bool
) -> Ids:
    """Tie the channels at one position of every group, in the input and in what is made."""
    a, b = widths
    why = f"shares a position in groups of {call.what} with channels of a fixed width"
    heads_in = call.ledger.couple(into.reshape(count, a), why)
    name = titled(call, weight)
    if swap:
        heads = produced(call, weight, 1, b)
        call.hold(weight, 0, np.tile(heads_in, count), "in")
        call.hold(weight, 1, heads, "out", name)
        return np.tile(heads, count)
    held = produced(call, weight, 0, count * b)
    made = call.ledger.couple(held.reshape(count, b), why)
    out = np.tile(made, count)
    call.hold(weight, 1, heads_in, "in")
    call.hold(weight, 0, out, "out", name)
    return out


def geometry(
    weight: Value, stride: Any, padding: int | str | Sequence[int], dilation: Any
) -> dict[str, Any]:
    """Options of a convolution as height and width; ``same`` and ``valid`` in pixels."""
    ndim = len(weight.shape) - 2

    def each(value: Any) -> tuple[int, ...]:
        if isinstance(value, int):
            return (int(value),) * ndim
        return tuple(int(v) for v in value) * (ndim // len(value))

    if padding == "valid":
        padding = 0
    elif padding == "same":
        sizes = zip(weight.shape[2:], each(dilation), strict=True)
        padding = [(size - 1) * step // 2 for size, step in sizes]
    pixels = each(padding) if ndim > 1 else (0, *each(padding))
    return {"stride": one(each(stride)), "padding": pixels[:2], "dilation": one(each(dilation))}


def one(values: tuple[int, ...]) -> tuple[int, int]:
    """Height and width; a 1-d option belongs to the width."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def conv(
    call: Call, input: Value, weight: Value, bias: Value | None = None, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: Any = 1,
) -> Any:  # fmt: skip
    """Convolution with weight ``[C_out, C_in / groups, ...]``."""
    return convolve(
        call, input, weight, bias, groups, False, **geometry(weight, stride, padding, dilation)
    )


def conv_transpose(
    call: Call, input: Value, weight: Value, bias: Value | None = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: Any = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """Transposed convolution with weight ``[C_in, C_out / groups, ...]``."""
    return convolve(
        call, input, weight, bias, groups, True, **geometry(weight, stride, padding, dilation)
    )


def convolution(
    call: Call, input: Value, weight: Value, bias: Value | None, stride: Any, padding: Any,
    dilation: Any, transposed: bool, output_padding: Any, groups: Any,
) -> Any:  # fmt: skip
    """ATen's operator for every convolution."""
    options = geometry(weight, stride, padding, dilation)
    return convolve(call, input, weight, bias, groups, bool(transposed), **options)


def deform_conv(
    call: Call, input: Value, offset: Value, weight: Value, bias: Value | None = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, mask: Value | None = None,
) -> Any:  # fmt: skip
    """Convolution at computed positions."""
    call.freeze(offset, mask, why=" as positions")
    input = call.solid(input)
    groups = len(input.along(1)) // weight.shape[1]
    result = convolve(call, input, weight, bias, groups, False,
                      **geometry(weight, stride, padding, dilation))  # fmt: skip
    call.rename("deform_conv")
    return result


def linear(call: Call, input: Value, weight: Value, bias: Value | None = None) -> Any:
    """Matrix product over the last dimension, weight ``[out, in]``."""
    input = call.solid(input)
    last = len(input.shape) - 1
    if len(weight.shape) != 2:
        return call.freeze(input, weight, bias, why=" with a vector for a weight")
    into, module, name = input.along(last), holder(weight, call), titled(call, weight)
    out = produced(call, weight, 0, weight.shape[0])
    call.hold(weight, 1, into, "in")
    call.hold(weight, 0, out, "out", name)
    call.hold(bias, 0, out, "out")
    call.attr(module, "in_features", into)
    call.attr(module, "out_features", out)
    others = {axis: ids for axis, ids in input.axes.items() if axis != last}
    result = call.value({**others, last: out})
    middle = input.shape[1:-1]
    rows = (call.found.images(input) * math.prod(middle[:1]), math.prod(middle[1:]))
    call.layer(
        "linear", input, result, name=name, cin=into, cout=out, in_hw=rows, out_hw=rows,
        bias=bias is not None, module=module,
    )  # fmt: skip
    return result


def batch_norm(
    call: Call, input: Value, running_mean: Value | None = None, running_var: Value | None = None,
    weight: Value | None = None, bias: Value | None = None, *_: Any, **__: Any,
) -> Any:  # fmt: skip
    """Normalization of each channel by its own statistics, of the batch or as learned."""
    input = call.solid(input)
    ids = input.along(1)
    for axis in input.axes.keys() - {1}:
        call.ledger.blur(input.axes[axis])  # statistics are taken over them
    for param in (weight, bias, running_mean, running_var):
        call.hold(param, 0, ids)
    module = holder(weight or running_mean, call)
    if weight is not None or running_mean is not None:
        call.attr(module, "num_features", ids)
    result = call.like(input)
    call.layer("norm", input, result, module=module)
    return result


def instance_norm(call: Call, input: Value, *args: Any, **kwargs: Any) -> Any:
    """Normalization of each channel of each image by its own statistics."""
    result = batch_norm(call, input, *args, **kwargs)
    call.rename("other")  # no convolution can absorb it
    return result


def aten_batch_norm(
    call: Call, input: Value, weight: Any, bias: Any, running_mean: Any, running_var: Any, *_: Any
) -> Any:
    """ATen's operators, whose arguments are in another order."""
    return batch_norm(call, input, running_mean, running_var, weight, bias)


def layer_norm(
    call: Call, input: Value, normalized_shape: Sequence[Any], weight: Value | None = None,
    bias: Value | None = None, eps: float | None = 1e-5, *_: Any,
) -> Any:  # fmt: skip
    """Normalization over the last dimensions; over channels, each depends on the others."""
    input = call.solid(input)
    first = len(input.shape) - len(normalized_shape)
    for k, size in enumerate(normalized_shape):
        ids = input.axes.get(first + k)
        if ids is None:
            if isinstance(size, Number):
                size.freeze(f"feeds {call.what}, which normalizes another tensor by it")
            continue
        if not (isinstance(size, Number) and size.follows(ids)):
            call.ledger.fix(ids, f"feeds {call.what} over a constant number of channels")
        call.ledger.blur(ids)
        call.hold(weight, k, ids)
        call.hold(bias, k, ids)
    module = holder(weight, call)
    call.ledger.leave([module], "it normalizes positions or fixed channels")
    result = call.like(input)
    call.layer("layer_norm", input, result, module=module)
    return result


def group_norm(
    call: Call, input: Value, num_groups: Any, weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, *_: Any,
) -> Any:  # fmt: skip
    """Normalization over groups of channels: whole groups are removed, or some of each."""
    input = call.solid(input)
    ids, module = input.along(1), holder(weight, call)
    heads = norm_groups(call, ids, num_groups, module)
    call.hold(weight, 0, ids)
    call.hold(bias, 0, ids)
    if weight is not None:
        call.attr(module, "num_channels", ids)
    result = call.like(input)
    call.layer("group_norm", input, result, groups=heads, module=module)
    return result


def norm_groups(call: Call, ids: Ids, num_groups: Any, module: str) -> Ids:
    """Tie channels by whole groups if their number may change, otherwise by position in them."""
    count = int(num_groups)
    why = f"shares a group of {call.what} with channels of a fixed width"
    if count > 1 and isinstance(num_groups, Number) and module not in call.found.even:
        call.found.grouped.add(module)
        heads = call.ledger.couple(ids.reshape(count, -1).T, why)
        if num_groups.follows(heads):
            return heads
        call.ledger.fix(heads, f"feeds {call.what} with a fixed number of groups")
        return nobody(count)
    if isinstance(num_groups, Number):
        num_groups.freeze(why)
    if count > 1:
        call.ledger.couple(ids.reshape(count, -1), why)
    call.ledger.blur(ids)
    return nobody(count)


def prelu(call: Call, input: Value, weight: Value) -> Any:
    """Leaky ReLU whose slope is learned, for all channels or for each."""
    result = call.like(input)
    if weight.shape and math.prod(weight.shape) > 1:
        ids = result.along(1) if len(result.shape) > 1 else result.along(0)
        call.hold(weight, 0, ids)
        call.attr(holder(weight, call), "num_parameters", ids)
    call.layer("act", input, result, act="prelu", module=holder(weight, call))
    return result


def embedding(call: Call, input: Value, weight: Value, *_: Any, **__: Any) -> Any:
    """Rows of a table, whose columns are channels."""
    call.freeze(input)
    table = call.solid(weight)
    call.ledger.fix(table.axes.get(0), f"feeds {call.what} as a table")
    last = len(call.shape) - 1
    return call.value({last: table.axes[1]} if 1 in table.axes else {})


def recurrent(call: Call, input: Value, hidden: Any, weights: Any, *rest: Any) -> Any:
    """A recurrent layer, which stays as it is; counted for every step."""
    result = call.freeze(input, hidden, weights, why=", a recurrent layer, which stays as it is")
    steps = math.prod(input.shape[:-1]) // max(call.found.batch, 1)
    listed = (
        [w for w in weights if isinstance(w, Value)] if isinstance(weights, tuple | list) else []
    )
    matrices = [w.shape for w in listed if len(w.shape) == 2]
    for k in range(0, len(matrices) - 1, 2):
        cin = matrices[k][1] + matrices[k + 1][1]
        name = call.name if k == 0 else f"{call.name}.{k // 2}"
        call.layer("recurrent", input, result[0], name=name, cin=nobody(cin),
                   cout=nobody(matrices[k][0]), in_hw=(1, steps), out_hw=(1, steps))  # fmt: skip
    return result
