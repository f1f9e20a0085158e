"""Rules of functions, tensor methods and ATen operators, in plain tables."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.ops

from netadapt.tracing import _elementwise as elementwise
from netadapt.tracing import _parts as parts
from netadapt.tracing import _shapes as shapes
from netadapt.tracing import _spatial as spatial
from netadapt.tracing import _weights as weights
from netadapt.tracing._modules import ACTS, AVG_POOL, MAX_POOL
from netadapt.tracing._values import Call, Rule

BINARY = {
    "add": ("add", "add_", "iadd"),
    "sub": ("sub", "sub_", "isub", "subtract", "rsub"),
    "mul": ("mul", "mul_", "imul", "multiply"),
    "div": ("div", "div_", "truediv", "itruediv", "true_divide", "divide"),
    "floordiv": ("floordiv", "ifloordiv", "floor_divide"),
    "pow": ("pow", "pow_", "ipow"),
    "maximum": ("maximum", "fmax"),
    "minimum": ("minimum", "fmin"),
    "mod": ("mod", "remainder", "fmod"),
    "compare": ("eq", "ne", "lt", "le", "gt", "ge"),
}
UNARY = (
    "abs", "absolute", "neg", "negative", "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt",
    "square", "sin", "cos", "tan", "atan", "asinh", "erf", "floor", "ceil", "round", "trunc",
    "sign", "reciprocal", "sinh", "cosh", "nan_to_num", "logit", "pos", "positive",
)  # fmt: skip
FREE = (
    "float", "double", "half", "bfloat16", "to", "type", "type_as", "zeros_like", "ones_like",
    "empty_like", "rand_like", "randn_like", "full_like", "bernoulli_", "bernoulli", "cpu", "cuda",
)  # fmt: skip
IDENTITY = (
    "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_dropout", "feature_alpha_dropout", "contiguous", "clone", "detach", "requires_grad_",
)  # fmt: skip
REDUCE = ("mean", "sum", "amax", "amin", "prod", "std", "var", "max", "min", "norm", "logsumexp",
          "argmax", "argmin", "any", "all")  # fmt: skip
ACROSS = ("softmax", "log_softmax", "softmin", "cumsum", "cumprod", "flip", "roll")
SHAPES: dict[str, Rule] = {
    "reshape": shapes.reshape, "view": shapes.reshape, "_unsafe_view": shapes.reshape,
    "view_as": shapes.reshape_as, "reshape_as": shapes.reshape_as,
    "flatten": shapes.flatten, "unflatten": shapes.unflatten, "permute": shapes.permute,
    "transpose": shapes.transpose, "transpose_": shapes.transpose, "swapaxes": shapes.transpose,
    "swapdims": shapes.transpose, "t": shapes.matrix_transpose, "movedim": shapes.movedim,
    "moveaxis": shapes.movedim, "cat": shapes.cat, "concat": shapes.cat,
    "concatenate": shapes.cat, "stack": shapes.stack, "chunk": parts.chunk, "split": parts.split,
    "split_with_sizes": parts.split, "unbind": parts.unbind, "unsqueeze": shapes.unsqueeze,
    "unsqueeze_": shapes.unsqueeze, "squeeze": shapes.squeeze, "squeeze_": shapes.squeeze,
    "expand": shapes.expand, "expand_as": shapes.expand_as, "size": shapes.shape,
}  # fmt: skip
SPATIAL: dict[str, Rule] = {
    "max_pool2d": MAX_POOL, "avg_pool2d": AVG_POOL, "lp_pool2d": spatial.pool("other"),
    "max_pool1d": spatial.pool("max_pool", 1), "avg_pool1d": spatial.pool("avg_pool", 1),
    "max_pool3d": spatial.pool("max_pool", 3), "avg_pool3d": spatial.pool("avg_pool", 3),
    "adaptive_avg_pool2d": spatial.adaptive("avg_pool"),
    "adaptive_max_pool2d": spatial.adaptive("max_pool"),
    "adaptive_avg_pool1d": spatial.adaptive("avg_pool", 1),
    "adaptive_max_pool1d": spatial.adaptive("max_pool", 1),
    "interpolate": spatial.interpolate, "upsample": spatial.interpolate,
    "pixel_shuffle": spatial.pixel_shuffle, "pixel_unshuffle": spatial.pixel_unshuffle,
    "channel_shuffle": spatial.channel_shuffle, "pad": spatial.pad,
}  # fmt: skip
WEIGHTS: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), weights.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
                    weights.conv_transpose),
    "linear": weights.linear, "layer_norm": weights.layer_norm, "group_norm": weights.group_norm,
    "batch_norm": weights.batch_norm, "instance_norm": weights.instance_norm,
    "prelu": weights.prelu,
}  # fmt: skip

NAMED: dict[str, Rule] = {
    **{name: elementwise.binary(kind) for kind, names in BINARY.items() for name in names},
    **{act + tail: elementwise.activation(act) for act in ACTS for tail in ("", "_")},
    **{name + tail: elementwise.unary for name in UNARY for tail in ("", "_")},
    **dict.fromkeys(FREE, elementwise.free),
    **dict.fromkeys(IDENTITY, elementwise.identity),
    **dict.fromkeys(REDUCE, spatial.reduce),
    **dict.fromkeys(ACROSS, elementwise.across),
    **dict.fromkeys(("clamp", "clamp_", "clip", "hardtanh", "hardtanh_"), elementwise.clamp),
    "glu": elementwise.glu,
    "where": elementwise.where,
    "lerp": elementwise.where,
    **SHAPES,
    **SPATIAL,
    **WEIGHTS,
}
"""Rules by the name that an operation has in torch, torch.nn.functional and as a tensor method."""


def _nothing(call: Call, *args: Any, **kwargs: Any) -> Any:
    """An assertion: it computes nothing, but one about a number of channels fixes it."""
    call.freeze(args)
    return call.out


def _container(call: Call, *args: Any, **kwargs: Any) -> Any:
    """A named tuple, such as the outputs of a network with auxiliary heads."""
    return list(call.node.target(*args, **kwargs))  # type: ignore[operator]


def _aten_batch_norm(
    call: Call, input: Any, weight: Any, bias: Any, running_mean: Any, running_var: Any, *_: Any
) -> Any:
    return weights.batch_norm(call, input, running_mean, running_var, weight, bias)


def _aten_conv_transpose(call: Call, input: Any, weight: Any, bias: Any = None, *rest: Any) -> Any:
    return weights.conv_transpose(call, input, weight, bias, *rest)


FUNCTIONS: dict[Any, Rule] = {
    getattr: shapes.attribute,
    operator.getitem: parts.getitem,
    torch._assert: _nothing,
    torchvision.ops.stochastic_depth: elementwise.identity,
    **{
        getattr(space, name): rule
        for space in (operator, torch, F)
        for name, rule in NAMED.items()
        if hasattr(space, name)
    },
}
"""Rules of Python functions."""

ATEN: dict[str, Rule] = {**NAMED, "batch_norm": _aten_batch_norm}
"""Rules of ATen operators by name, where their arguments differ from the functions'."""

METHODS = {name: rule for name, rule in NAMED.items() if hasattr(torch.Tensor, name)}
METHODS["dim"] = METHODS["numel"] = METHODS["item"] = _nothing
"""Rules of tensor methods."""


def rule_of(target: Any) -> Rule | None:
    """The rule of a function, or None if it is not known."""
    if isinstance(target, torch._ops.OpOverload):
        return ATEN.get(target._schema.name.removeprefix("aten::"))
    if isinstance(target, type) and issubclass(target, tuple):
        return _container
    return FUNCTIONS.get(target)
