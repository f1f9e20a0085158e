"""Rules of modules that are called whole: each is lowered to the rule of its function.

Modules are looked up by their exact type: a subclass may compute something else.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from netadapt.tracing import _elementwise as elementwise
from netadapt.tracing import _shapes as shapes
from netadapt.tracing import _spatial as spatial
from netadapt.tracing import _weights as weights
from netadapt.tracing._values import Call, Rule


def _conv(call: Call, input: Any) -> Any:
    m: Any = call.module
    return weights.conv(
        call, input, call.weight, call.param("bias"), m.stride, m.padding, m.dilation,
        m.groups,
    )  # fmt: skip


def _conv_transpose(call: Call, input: Any, output_size: Any = None) -> Any:
    m: Any = call.module
    if output_size is not None:
        return call.freeze(input, output_size)
    return weights.conv_transpose(
        call, input, call.weight, call.param("bias"), m.stride, m.padding,
        m.output_padding, m.groups, m.dilation,
    )  # fmt: skip


def _linear(call: Call, input: Any) -> Any:
    return weights.linear(call, input, call.weight, call.param("bias"))


def _with_statistics(rule: Rule) -> Rule:
    def lowered(call: Call, input: Any) -> Any:
        names = ("running_mean", "running_var", "weight", "bias")
        return rule(call, input, *map(call.param, names))

    return lowered


def _layer_norm(call: Call, input: Any) -> Any:
    m: Any = call.module
    return weights.layer_norm(
        call, input, m.normalized_shape, call.param("weight"), call.param("bias")
    )


def _group_norm(call: Call, input: Any) -> Any:
    m: Any = call.module
    return weights.group_norm(call, input, m.num_groups, call.param("weight"), call.param("bias"))


def _prelu(call: Call, input: Any) -> Any:
    return weights.prelu(call, input, call.weight)


def _taking(rule: Rule, *attrs: str, **constants: Any) -> Rule:
    """The rule of a function whose further arguments are attributes of the module."""

    def lowered(call: Call, input: Any) -> Any:
        return rule(call, input, *[getattr(call.module, attr) for attr in attrs], **constants)

    return lowered


def _max_pool(call: Call, input: Any) -> Any:
    m: Any = call.module
    return MAX_POOL(call, input, m.kernel_size, m.stride, m.padding, dilation=m.dilation)


def _pad(call: Call, input: Any) -> Any:
    m: Any = call.module
    ndim = len(input.shape) - 2
    padding = [m.padding] * 2 * ndim if isinstance(m.padding, int) else list(m.padding)
    return spatial.pad(call, input, padding)


def _upsample(call: Call, input: Any) -> Any:
    return spatial.interpolate(call, input)


MAX_POOL = spatial.pool("max_pool")
AVG_POOL = spatial.pool("avg_pool")

ACTS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "relu6": nn.ReLU6, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU, "hardsigmoid": nn.Hardsigmoid, "hardswish": nn.Hardswish,
    "silu": nn.SiLU, "gelu": nn.GELU, "elu": nn.ELU, "selu": nn.SELU, "celu": nn.CELU,
    "mish": nn.Mish, "softplus": nn.Softplus, "softsign": nn.Softsign, "hardtanh": nn.Hardtanh,
    "logsigmoid": nn.LogSigmoid, "tanhshrink": nn.Tanhshrink, "softshrink": nn.Softshrink,
    "hardshrink": nn.Hardshrink, "threshold": nn.Threshold, "rrelu": nn.RReLU,
}  # fmt: skip
"""Activations by the name that ``LayerSpec.act`` gives them."""

DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip

MODULES: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Conv1d: _conv,
    nn.Conv2d: _conv,
    nn.Conv3d: _conv,
    nn.ConvTranspose1d: _conv_transpose,
    nn.ConvTranspose2d: _conv_transpose,
    nn.ConvTranspose3d: _conv_transpose,
    nn.Linear: _linear,
    nn.BatchNorm1d: _with_statistics(weights.batch_norm),
    nn.BatchNorm2d: _with_statistics(weights.batch_norm),
    nn.BatchNorm3d: _with_statistics(weights.batch_norm),
    nn.SyncBatchNorm: _with_statistics(weights.batch_norm),
    nn.InstanceNorm1d: _with_statistics(weights.instance_norm),
    nn.InstanceNorm2d: _with_statistics(weights.instance_norm),
    nn.InstanceNorm3d: _with_statistics(weights.instance_norm),
    nn.LayerNorm: _layer_norm,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
    nn.Identity: elementwise.identity,
    **{cls: elementwise.activation(act) for act, cls in ACTS.items()},
    **dict.fromkeys(DROPOUTS, elementwise.identity),
    nn.Hardtanh: lambda call, x: elementwise.clamp(
        call, x, call.module.min_val, call.module.max_val
    ),
    nn.GLU: _taking(elementwise.glu, "dim"),
    nn.Softmax: _taking(elementwise.across, "dim"),
    nn.LogSoftmax: _taking(elementwise.across, "dim"),
    nn.Softmin: _taking(elementwise.across, "dim"),
    nn.Softmax2d: _taking(elementwise.across, dim=-3),
    nn.MaxPool2d: _max_pool,
    nn.AvgPool2d: _taking(AVG_POOL, "kernel_size", "stride", "padding"),
    nn.LPPool2d: _taking(spatial.pool("other"), "kernel_size", "stride"),
    nn.MaxPool1d: _taking(spatial.pool("max_pool", 1), "kernel_size"),
    nn.AvgPool1d: _taking(spatial.pool("avg_pool", 1), "kernel_size"),
    nn.MaxPool3d: _taking(spatial.pool("max_pool", 3), "kernel_size"),
    nn.AvgPool3d: _taking(spatial.pool("avg_pool", 3), "kernel_size"),
    nn.AdaptiveAvgPool2d: _taking(spatial.adaptive("avg_pool"), "output_size"),
    nn.AdaptiveMaxPool2d: _taking(spatial.adaptive("max_pool"), "output_size"),
    nn.AdaptiveAvgPool1d: _taking(spatial.adaptive("avg_pool", 1), "output_size"),
    nn.AdaptiveMaxPool1d: _taking(spatial.adaptive("max_pool", 1), "output_size"),
    nn.AdaptiveAvgPool3d: _taking(spatial.adaptive("avg_pool", 3), "output_size"),
    nn.AdaptiveMaxPool3d: _taking(spatial.adaptive("max_pool", 3), "output_size"),
    nn.Upsample: _upsample,
    nn.UpsamplingNearest2d: _upsample,
    nn.UpsamplingBilinear2d: _upsample,
    nn.ZeroPad1d: _pad,
    nn.ZeroPad2d: _pad,
    nn.ZeroPad3d: _pad,
    nn.ConstantPad1d: _pad,
    nn.ConstantPad2d: _pad,
    nn.ReflectionPad1d: _pad,
    nn.ReflectionPad2d: _pad,
    nn.ReplicationPad1d: _pad,
    nn.ReplicationPad2d: _pad,
    nn.PixelShuffle: _taking(spatial.pixel_shuffle, "upscale_factor"),
    nn.PixelUnshuffle: _taking(spatial.pixel_unshuffle, "downscale_factor"),
    nn.ChannelShuffle: _taking(spatial.channel_shuffle, "groups"),
    nn.Flatten: _taking(shapes.flatten, "start_dim", "end_dim"),
    nn.Unflatten: _taking(shapes.unflatten, "dim", "unflattened_size"),
}
"""The rule of each module type."""

NOISE = frozenset({"StochasticDepth", "DropPath", "DropBlock2d", "DropBlock3d"})
"""Type names of modules without parameters that only add noise, and only in training."""


def rule_of(module: nn.Module) -> Rule | None:
    """The rule of a module, or None if its type is not known."""
    rule = MODULES.get(type(module))
    if rule is None and type(module).__name__ in NOISE and not any(module.parameters()):
        return elementwise.identity
    return rule
