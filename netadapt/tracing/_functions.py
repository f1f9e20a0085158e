"""Rules of functions, tensor methods and ATen operators, in plain tables by name.

A function of torch, of ``torch.nn.functional``, a tensor's method, an operator and the ATen
operation beneath have one name and, but for a few, one signature.
"""

from fractions import Fraction
from functools import lru_cache, wraps
from typing import Any

import torch

from netadapt.tracing import _elementwise as elementwise
from netadapt.tracing import _order as order
from netadapt.tracing import _parts as parts
from netadapt.tracing import _products as products
from netadapt.tracing import _shapes as shapes
from netadapt.tracing import _spatial as spatial
from netadapt.tracing import _weights as weights
from netadapt.tracing._ledger import Ledger
from netadapt.tracing._numbers import Source, number
from netadapt.tracing._values import Call, Rule, Value, channel_dims

BINARY = {
    "add": ("add", "add_", "iadd"),
    "sub": ("sub", "sub_", "isub", "subtract", "rsub"),
    "mul": ("mul", "mul_", "imul", "multiply"),
    "div": ("div", "div_", "idiv", "rdiv", "true_divide", "divide"),
    "floordiv": ("floordiv", "ifloordiv", "floor_divide", "rfloordiv"),
    "pow": ("pow", "pow_", "ipow", "rpow", "float_power"),
    "maximum": ("maximum", "fmax"),
    "minimum": ("minimum", "fmin"),
    "mod": ("mod", "remainder", "fmod", "rmod", "imod"),
    "compare": ("eq", "ne", "lt", "le", "gt", "ge", "isclose", "logical_and", "logical_or",
                "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor", "greater", "less"),
    "atan2": ("atan2", "hypot", "copysign", "heaviside", "xlogy"),
}  # fmt: skip
UNARY = (
    "abs", "absolute", "neg", "negative", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt",
    "rsqrt", "square", "sin", "cos", "tan", "atan", "asin", "acos", "asinh", "erf", "floor", "ceil",
    "round", "trunc", "frac", "sign", "reciprocal", "sinh", "cosh", "nan_to_num", "logit", "pos",
    "positive", "isnan", "isinf", "isfinite", "logical_not", "bitwise_not", "sgn", "angle",
)  # fmt: skip
FREE = (
    "zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "full_like", "bernoulli_",
    "bernoulli", "normal_", "uniform_", "zero_", "fill_", "random_", "exponential_", "dropout_mask",
)  # fmt: skip
CASTS = (
    "float", "double", "half", "bfloat16", "int", "long", "bool", "to", "type", "type_as", "cpu",
    "cuda", "contiguous", "clone", "detach", "detach_", "requires_grad_", "data", "alias",
    "_to_copy", "real", "conj", "resolve_conj", "lift_fresh", "lift_fresh_copy",
)  # fmt: skip
DROPOUT = (
    "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
    "feature_dropout", "feature_alpha_dropout", "native_dropout",
)  # fmt: skip
REDUCE = (
    "mean", "sum", "nansum", "amax", "amin", "prod", "std", "var", "max", "min", "norm",
    "logsumexp", "argmax", "argmin", "any", "all", "var_mean", "std_mean", "median", "nanmedian",
    "nanmean", "aminmax", "count_nonzero", "linalg_norm", "linalg_vector_norm", "vector_norm",
    "quantile", "mode",
)  # fmt: skip
ACROSS = ("softmax", "log_softmax", "softmin", "gumbel_softmax", "_softmax", "_log_softmax")
IN_ORDER = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "diff")
SHAPES: dict[str, Rule] = {
    "reshape": shapes.reshape, "view": shapes.reshape, "_unsafe_view": shapes.reshape,
    "view_as": shapes.reshape_as, "reshape_as": shapes.reshape_as,
    "flatten": shapes.flatten, "ravel": shapes.flatten, "unflatten": shapes.unflatten,
    "permute": shapes.permute, "transpose": shapes.transpose, "transpose_": shapes.transpose,
    "swapaxes": shapes.swapaxes, "swapdims": shapes.transpose, "t": shapes.matrix_transpose,
    "mT": shapes.matrix_transpose, "mH": shapes.matrix_transpose, "H": shapes.matrix_transpose,
    "T": shapes.adjoint, "movedim": shapes.movedim, "moveaxis": shapes.movedim,
    "unsqueeze": shapes.unsqueeze, "unsqueeze_": shapes.unsqueeze, "squeeze": shapes.squeeze,
    "squeeze_": shapes.squeeze, "expand": shapes.expand, "broadcast_to": shapes.expand,
    "expand_as": shapes.expand_as, "repeat": shapes.repeat, "tile": shapes.repeat,
    "repeat_interleave": shapes.repeat_interleave,
}  # fmt: skip
MADE = ("zeros", "ones", "empty", "rand", "randn", "new_zeros", "new_ones", "new_empty",
        "new_empty_strided")  # fmt: skip
PARTS: dict[str, Rule] = {
    "cat": parts.cat, "concat": parts.cat, "concatenate": parts.cat, "stack": parts.stack,
    "chunk": parts.chunk, "split": parts.split, "split_with_sizes": parts.split,
    "tensor_split": parts.tensor_split, "unbind": parts.unbind, "narrow": parts.narrow,
    "select": parts.select, "index_select": parts.index_select, "gather": parts.gather,
    "__getitem__": parts.getitem, "__setitem__": parts.setitem, "flip": order.flip,
    "flipud": order.flipud, "fliplr": order.fliplr, "rot90": order.rot90, "roll": order.roll,
}  # fmt: skip
SPATIAL: dict[str, Rule] = {
    "max_pool2d": spatial.pool("max_pool"), "avg_pool2d": spatial.pool("avg_pool"),
    "max_pool2d_with_indices": spatial.pool("max_pool"),
    "max_pool1d": spatial.pool("max_pool", 1), "avg_pool1d": spatial.pool("avg_pool", 1),
    "max_pool1d_with_indices": spatial.pool("max_pool", 1),
    "max_pool3d": spatial.pool("max_pool", 3), "avg_pool3d": spatial.pool("avg_pool", 3),
    "max_pool3d_with_indices": spatial.pool("max_pool", 3),
    "lp_pool1d": spatial.lp_pool, "lp_pool2d": spatial.lp_pool, "lp_pool3d": spatial.lp_pool,
    "max_unpool1d": spatial.unpool, "max_unpool2d": spatial.unpool, "max_unpool3d": spatial.unpool,
    "adaptive_avg_pool1d": spatial.adaptive("avg_pool", 1),
    "adaptive_avg_pool2d": spatial.adaptive("avg_pool"),
    "adaptive_avg_pool3d": spatial.adaptive("avg_pool", 3),
    "adaptive_max_pool1d": spatial.adaptive("max_pool", 1),
    "adaptive_max_pool2d": spatial.adaptive("max_pool"),
    "adaptive_max_pool3d": spatial.adaptive("max_pool", 3),
    "adaptive_max_pool1d_with_indices": spatial.adaptive("max_pool", 1),
    "adaptive_max_pool2d_with_indices": spatial.adaptive("max_pool"),
    "interpolate": spatial.interpolate, "upsample": spatial.interpolate,
    "upsample_nearest": spatial.interpolate, "upsample_bilinear": spatial.interpolate,
    "upsample_nearest2d": spatial.interpolate, "upsample_bilinear2d": spatial.interpolate,
    "upsample_bicubic2d": spatial.interpolate, "upsample_nearest1d": spatial.interpolate,
    "upsample_linear1d": spatial.interpolate, "grid_sample": spatial.sampled,
    "affine_grid": spatial.affine_grid,
    "grid_sampler": spatial.sampled, "grid_sampler_2d": spatial.sampled,
    "pixel_shuffle": spatial.pixel_shuffle, "pixel_unshuffle": spatial.pixel_unshuffle,
    "channel_shuffle": spatial.channel_shuffle, "native_channel_shuffle": spatial.channel_shuffle,
    "unfold": spatial.unfold, "fold": spatial.fold, "im2col": spatial.unfold,
    "col2im": spatial.fold, "pad": spatial.pad, "constant_pad_nd": spatial.constant_pad,
    **dict.fromkeys(("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_fft2", "fft_ifft2",
                     "fft_rfft2", "fft_irfft2"), spatial.transform),
}  # fmt: skip
WEIGHTS: dict[str, Rule] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), weights.conv),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
                    weights.conv_transpose),
    "convolution": weights.convolution, "deform_conv2d": weights.deform_conv,
    "linear": weights.linear, "layer_norm": weights.layer_norm, "rms_norm": weights.layer_norm,
    "group_norm": weights.group_norm, "batch_norm": weights.batch_norm,
    "instance_norm": weights.instance_norm, "prelu": weights.prelu,
    "embedding": weights.embedding, "lstm": weights.recurrent, "gru": weights.recurrent,
    "rnn_tanh": weights.recurrent, "rnn_relu": weights.recurrent,
}  # fmt: skip
PRODUCTS: dict[str, Rule] = {
    **dict.fromkeys(("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner"), products.matmul),
    "rmatmul": products.rmatmul, "imatmul": products.matmul,
    **dict.fromkeys(("addmm", "baddbmm", "addmv", "addbmm"), products.added),
    "einsum": products.einsum, "tensordot": products.tensordot,
    "scaled_dot_product_attention": products.attention,
    "multi_head_attention_forward": products.multi_head,
}  # fmt: skip
NAMED: dict[str, Rule] = {
    **{name: elementwise.binary(kind) for kind, names in BINARY.items() for name in names},
    **{act + tail: elementwise.activation(act) for act in elementwise.ACTS for tail in ("", "_")},
    **{name + tail: elementwise.unary for name in UNARY for tail in ("", "_")},
    **dict.fromkeys(FREE, elementwise.free),
    **dict.fromkeys(CASTS, elementwise.cast),
    **dict.fromkeys(DROPOUT, elementwise.identity),
    **dict.fromkeys(REDUCE, spatial.reduce),
    **dict.fromkeys(ACROSS, elementwise.across),
    **dict.fromkeys(IN_ORDER, elementwise.in_order),
    **dict.fromkeys(("sort", "topk", "argsort", "kthvalue"), elementwise.in_order),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_", "hardtanh", "hardtanh_", "clamp_min",
                     "clamp_max", "clamp_min_"), elementwise.clamp),
    **dict.fromkeys(MADE, shapes.made),
    "glu": elementwise.glu, "where": elementwise.where, "lerp": elementwise.where,
    "addcmul": elementwise.addcmul, "addcdiv": elementwise.addcmul,
    "addcmul_": elementwise.addcmul, "lerp_": elementwise.where,
    **dict.fromkeys(("__float__", "__int__", "__bool__", "__index__", "item", "tolist", "numpy"),
                    elementwise.read),
    "masked_fill": elementwise.masked_fill, "masked_fill_": elementwise.masked_fill,
    "local_response_norm": elementwise.neighbours, "normalize": elementwise.normalize,
    "_weight_norm": elementwise.weight_norm, "copy_": parts.copied, "set data": parts.assigned,
    **SHAPES, **PARTS, **SPATIAL, **WEIGHTS, **PRODUCTS,
}  # fmt: skip
"""Rules by the name that an operation has, as :func:`netadapt.tracing._run.bare` gives it."""

ATEN: dict[str, Rule] = {
    "batch_norm": weights.aten_batch_norm, "_native_batch_norm_legit_no_training":
    weights.aten_batch_norm,
}  # fmt: skip
"""Rules of ATen operators whose arguments differ from the functions' of the same name."""

BARE = frozenset({
    *WEIGHTS, *PRODUCTS, *(name for names in BINARY.values() for name in names), "where", "lerp",
    "lerp_", "set data", "addcmul", "addcdiv", "addcmul_", "masked_fill", "masked_fill_", "copy_",
    "clamp",
    "clip", "clamp_", "maximum", "minimum",
})  # fmt: skip
"""Operations whose rules are given parameters as they stand; others see their channels."""

SIZES = frozenset({"shape", "size", "__len__", "numel", "nelement"})
"""Calls that return sizes of a tensor."""

QUERIES = frozenset({
    "dim", "ndim", "ndimension", "device", "dtype", "layout", "is_cuda",
    "is_cpu", "is_mps", "is_meta", "is_sparse", "is_quantized", "is_complex", "is_floating_point",
    "is_contiguous", "requires_grad", "grad", "grad_fn", "is_leaf", "get_device", "element_size",
    "stride", "storage_offset", "data_ptr", "_version", "names", "retains_grad", "is_inference",
    "is_signed", "is_nested", "itemsize", "nbytes", "hash", "repr", "format", "is_shared",
    "set requires_grad", "has_names", "is_same_size", "is_pinned", "is_nonzero", "_is_view",
    "is_conj", "is_neg", "untyped_storage", "_base", "backward_hooks", "is_xla", "is_tensor",
    "is_autocast_enabled", "result_type", "can_cast", "is_inference_mode_enabled",
})  # fmt: skip
"""Calls that tell of a tensor what no number of channels decides."""


def sizes_of(value: Value, ledger: Ledger, dim: Any) -> Any:
    """The sizes of a tensor; along channels, numbers that follow them."""

    def sized(d: int) -> int:
        size = value.shape[d]
        ids = value.axes.get(d)
        if ids is None and value.name and size > 1 and d in channel_dims(value.shape):
            ids = ledger.param(value.name, d)
        if ids is None:
            return size
        return number(size, ledger, [(Source(size, ids), Fraction(1))])

    if dim is not None:
        return sized(int(dim) % len(value.shape))
    return torch.Size(tuple(sized(d) for d in range(len(value.shape))))


def rule_of(name: str, func: Any) -> Rule | None:
    """The rule of an operation, or None if it is not known."""
    return _rule_of(name, isinstance(func, torch._ops.OpOverload))


@lru_cache(maxsize=1024)
def _rule_of(name: str, aten: bool) -> Rule | None:
    rule = ATEN.get(name, NAMED.get(name)) if aten else NAMED.get(name)
    return rule if rule is None or name in BARE else _solid(rule)


def _solid(rule: Rule) -> Rule:
    """The rule, given the channels of parameters too."""

    @wraps(rule)
    def solid(call: Call, *args: Any, **kwargs: Any) -> Any:
        def made(arg: Any) -> Any:
            if isinstance(arg, list | tuple) and any(isinstance(part, Value) for part in arg):
                return type(arg)(call.solid(part) for part in arg)
            return call.solid(arg)

        return rule(call, *map(made, args), **{key: made(arg) for key, arg in kwargs.items()})

    return solid
