"""Rules of layers with weights: convolutions, linear layers, normalizations.

Each has the signature of its ``torch.nn.functional`` namesake, whatever the front end saw: modules
are lowered to these by :mod:`netadapt.tracing._modules`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from netadapt.tracing._ledger import Ids, Role, nobody
from netadapt.tracing._values import Call, Dim, Value, pair

COMPUTED = ", whose weight is computed from other tensors"


def holder(value: Value | None, call: Call) -> str:
    """Qualified name of the module that holds a parameter, otherwise of the calling module."""
    return value.name.rpartition(".")[0] if value is not None and value.name else call.owner


def titled(weight: Value) -> str:
    """Name of the layer that a weight belongs to: of its module, or of the tensor itself."""
    return weight.name.removesuffix(".weight")


def attach(call: Call, param: Value | None, ids: Ids, role: Role = "channelwise") -> None:
    """Enter that a 1-d parameter has one element for each channel."""
    if param is None:
        return
    if param.name:
        call.ledger.slot(param.name, 0, role, ids)
    else:
        call.ledger.tie(param.along(0), ids, f"feeds {call.what}{COMPUTED}")


def grouped(call: Call, into: Ids, groups: int | Dim, module: str) -> Ids | None:
    """Tie what a grouped convolution can only lose together; one channel for each group.

    Whole groups are removed, so that ``groups`` changes and the widths of a group do not.
    Returns None, and removes nothing, if the number of groups is baked into the code.
    """
    count = groups.size if isinstance(groups, Dim) else groups
    why = f"shares a group of {call.what} with channels of a fixed width"
    heads = call.ledger.couple(into.reshape(count, -1).T, why)
    if isinstance(groups, Dim):
        held = call.ledger.proportional(groups.ids, heads)
    else:
        held = call.attr(module, "groups", heads)
    return heads if held else None


def convolve(
    call: Call, input: Value, weight: Value, bias: Value | None, groups: int | Dim, swap: bool,
    **geometry: Any,
) -> Any:  # fmt: skip
    """Any convolution; ``swap`` if the weight is ``[C_in, C_out / groups, ...]`` (transposed)."""
    if not weight.name:
        return call.freeze(input, weight, bias, why=COMPUTED)
    ledger, module = call.ledger, holder(weight, call)
    dim = len(input.shape) - len(weight.shape) + 1  # 0 if there is no batch dimension
    into = call.channels(input, dim)
    count = groups.size if isinstance(groups, Dim) else groups
    c_out = call.shape[dim]
    heads: Ids | None = None
    if count == 1:
        out = ledger.fresh(c_out)
        ledger.slot(weight.name, 1 if swap else 0, "out", out, titled(weight))
        ledger.slot(weight.name, 0 if swap else 1, "in", into)
    else:
        heads = grouped(call, into, groups, module)
        if heads is None:
            ledger.leave([module], f"its number of groups is a constant in {call.what}")
            return call.freeze(input, why=", whose number of groups is a constant in the code")
        out = np.repeat(heads, c_out // count)
        if swap:
            ledger.slot(weight.name, 0, "channelwise", into, titled(weight))
        else:
            role: Role = "out" if len(into) > count else "channelwise"
            ledger.slot(weight.name, 0, role, out, titled(weight))
    attach(call, bias, out, "out")
    call.attr(module, "in_channels", into)
    call.attr(module, "out_channels", out)
    result = call.value(dim, out)
    flat = len(weight.shape) <= 4  # 1-d and 2-d
    kind = ("conv_transpose" if swap else "conv") if flat else "other"
    call.layer(
        kind, input, result, name=titled(weight), cin=into, kernel=pair(weight.shape[2:]),
        groups=heads, bias=bias is not None, module=module, **(geometry if flat else {}),
    )  # fmt: skip
    return result


def geometry(
    weight: Value, stride: Any, padding: int | str | Sequence[int], dilation: Any
) -> dict[str, Any]:
    """Options of a convolution as height and width; ``same`` and ``valid`` in pixels."""
    ndim = len(weight.shape) - 2

    def each(value: Any) -> tuple[int, ...]:
        return (value,) * ndim if isinstance(value, int) else tuple(value) * (ndim // len(value))

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
    padding: Any = 0, dilation: Any = 1, groups: int | Dim = 1,
) -> Any:  # fmt: skip
    """Convolution with weight ``[C_out, C_in / groups, ...]``."""
    return convolve(
        call, input, weight, bias, groups, False, **geometry(weight, stride, padding, dilation)
    )


def conv_transpose(
    call: Call, input: Value, weight: Value, bias: Value | None = None, stride: Any = 1,
    padding: Any = 0, output_padding: Any = 0, groups: int | Dim = 1, dilation: Any = 1,
) -> Any:  # fmt: skip
    """Transposed convolution with weight ``[C_in, C_out / groups, ...]``."""
    return convolve(
        call, input, weight, bias, groups, True, **geometry(weight, stride, padding, dilation)
    )


def linear(call: Call, input: Value, weight: Value, bias: Value | None = None) -> Any:
    """Matrix product over the last dimension, weight ``[out, in]``."""
    last = len(input.shape) - 1
    if not weight.name:
        return call.freeze(input, weight, bias, why=COMPUTED)
    if len(weight.shape) != 2 or input.axis not in (None, last):
        # Channels lie in another dimension, and pass through; the weight mixes positions only.
        call.ledger.leave([holder(weight, call)], "it mixes positions, not channels")
        call.freeze(weight, bias)
        return call.like(input) if len(weight.shape) == 2 else call.freeze(input)
    ledger, into, module = call.ledger, input.along(last), holder(weight, call)
    out = ledger.fresh(weight.shape[0])
    ledger.slot(weight.name, 0, "out", out, titled(weight))
    ledger.slot(weight.name, 1, "in", into)
    attach(call, bias, out, "out")
    call.attr(module, "in_features", into)
    call.attr(module, "out_features", out)
    result = call.value(last, out)
    middle = input.shape[1:-1]
    rows = (math.prod(middle[:1]), math.prod(middle[1:]))
    call.layer(
        "linear", input, result, name=titled(weight), cin=into, cout=out, in_hw=rows, out_hw=rows,
        bias=bias is not None, module=module,
    )  # fmt: skip
    return result


def batch_norm(
    call: Call, input: Value, running_mean: Value | None = None, running_var: Value | None = None,
    weight: Value | None = None, bias: Value | None = None, *_: Any, **__: Any,
) -> Any:  # fmt: skip
    """Normalization of each channel by its own statistics, of the batch or as learned."""
    ids = call.channels(input, 1)
    for param in (weight, bias, running_mean, running_var):
        attach(call, param, ids)
    module = holder(weight or running_mean, call)
    call.attr(module, "num_features", ids)
    result = call.value(1, ids) if input.axis in (None, 1) else call.freeze(input)
    call.layer("norm", input, result, module=module)
    return result


def instance_norm(call: Call, input: Value, *args: Any, **kwargs: Any) -> Any:
    """Normalization of each channel of each image by its own statistics."""
    result = batch_norm(call, input, *args, **kwargs)
    call.found.records[-1].op = "other"  # no convolution can absorb it
    return result


def layer_norm(
    call: Call, input: Value, normalized_shape: Sequence[int | Dim], weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, *_: Any,
) -> Any:  # fmt: skip
    """Normalization over the last dimensions; over channels, it mixes them."""
    module = holder(weight, call)
    result = call.like(input)
    dims = range(len(input.shape) - len(normalized_shape), len(input.shape))
    if input.axis is not None and input.ids is not None and input.axis in dims:
        (size, *more) = normalized_shape
        if more:
            return call.freeze(input, weight, bias, why=" over more than the channels")
        runtime = isinstance(size, Dim) and call.ledger.proportional(size.ids, input.ids)
        if not runtime and not call.attr(module, "normalized_shape", input.ids, as_tuple=True):
            return call.freeze(input, weight, bias, why=" over a constant number of channels")
        call.ledger.blur(input.ids)
        attach(call, weight, input.ids)
        attach(call, bias, input.ids)
    else:
        call.freeze(weight, bias)
        call.ledger.leave([module], "it normalizes positions or fixed channels")
    call.layer("layer_norm", input, result, module=module)
    return result


def group_norm(
    call: Call, input: Value, num_groups: int | Dim, weight: Value | None = None,
    bias: Value | None = None, eps: float = 1e-5, *_: Any,
) -> Any:  # fmt: skip
    """Normalization over groups of channels, which can only be removed whole."""
    ids, module = call.channels(input, 1), holder(weight, call)
    if num_groups == 1:
        call.ledger.blur(ids)
        heads = nobody(1)
    else:
        found = grouped_norm(call, ids, num_groups, module)
        if found is None:
            return call.freeze(input, weight, bias, why=" with a constant number of groups")
        heads = found
    attach(call, weight, ids)
    attach(call, bias, ids)
    call.attr(module, "num_channels", ids)
    result = call.like(input)
    call.layer("group_norm", input, result, groups=heads, module=module)
    return result


def grouped_norm(call: Call, ids: Ids, num_groups: int | Dim, module: str) -> Ids | None:
    """Tie the channels of each group; one of each, or None if their number is a constant."""
    count = num_groups.size if isinstance(num_groups, Dim) else num_groups
    why = f"shares a group of {call.what} with channels of a fixed width"
    heads = call.ledger.couple(ids.reshape(count, -1).T, why)
    if isinstance(num_groups, Dim):
        return heads if call.ledger.proportional(num_groups.ids, heads) else None
    return heads if call.attr(module, "num_groups", heads) else None


def prelu(call: Call, input: Value, weight: Value) -> Any:
    """Leaky ReLU whose slope is learned, for all channels or for each."""
    result = call.like(input)
    if weight.shape and weight.shape[0] > 1:
        ids = call.channels(input, 1)
        attach(call, weight, ids)
        call.attr(holder(weight, call), "num_parameters", ids)
    call.layer("act", input, result, act="prelu", module=holder(weight, call))
    return result
