"""Tiny ONNX models from which a layer's time inside a network is computed.

A layer alone is not timed: ONNX Runtime computes convolutions in a blocked layout, so that a lone
layer pays for reordering its whole input and output, which no network does. Each layer is instead
put between two cheap convolutions, and the time of the same model without it is taken off ("the
sandwich difference")::

    B: x [N, 1, H, W] -> stem 1x1, 1 > cin -> LAYER -> sink 1x1, reading one pixel
    A: x [N, 1, H, W] -> stem 1x1, 1 > cin          -> sink 1x1, reading one pixel
    t(LAYER) = t(B) - t(A)

Neighbours are convolutions as in a network, the input is freshly produced, the overhead of the
call cancels, and a reordering that a layer does force is counted once: with the layer whose
consumers need it, or with the consumer if it is narrower than a block. ``A`` is shared by all
layers with that input. The sinks of a chain of layers telescope: what one adds, the next takes off.

Layers of several inputs take one stem for each; a stem whose output has a second reader cannot
absorb what follows it, so elementwise layers are measured as they run where nothing absorbs them.
The time of such an extra stem is taken off as ``A(c, H, W) - A(c, 1, 1) + node``, where ``node`` is
the time of a convolution of one pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from netadapt.errors import DeviceError
from netadapt.network import LayerShape, Pair, op_of
from netadapt.platforms import OVERHEAD, REFILL
from netadapt.platforms.ort.graph import Graph, activate, window_attributes

_COLD_CHAIN = 32  # 4.7 MB of weights: more than the second-level cache of a core holds
_CHAIN = 9  # convolutions of one pixel, from which the time of a node is computed


@dataclass(frozen=True, slots=True)
class Probe:
    """One tiny model.

    Attributes:
        kind: ``layer`` (B above), ``stem`` (A above), ``tapped`` and ``pooled`` (A, its stem read
            twice), ``nodes`` (``shape.cin`` convolutions of one pixel), ``call`` (no layer at
            all), ``cold`` (a chain whose weights do not fit the cache), ``alone`` (the layer
            without neighbours, for comparison).
        shape: the layer; for stems only its input counts.
    """

    kind: str
    shape: LayerShape

    def __str__(self) -> str:
        return f"{self.kind} {self.shape}"


@dataclass(frozen=True, slots=True)
class Term:
    """One summand of a layer's time: ``factor * time(probe)``."""

    factor: float
    probe: Probe


def _stem(channels: int, hw: Pair, kind: str = "stem") -> Probe:
    return Probe(kind, LayerShape("input", channels, channels, hw, hw))


_CALL = Probe("call", OVERHEAD)


def _nodes(count: float) -> list[Term]:
    """Time of ``count`` convolutions of one pixel."""
    chains = [Probe("nodes", LayerShape("chain", n, n)) for n in (_CHAIN, 1)]
    each = count / (_CHAIN - 1)
    return [Term(each, chains[0]), Term(-each, chains[1])]


def _less_stem(channels: int, hw: Pair, kind: str = "stem") -> list[Term]:
    """Takes off one stem beyond the first, and its tap if it has one."""
    taken = [Term(-1, _stem(channels, hw, kind)), Term(1, _stem(channels, (1, 1), kind))]
    return taken + _nodes(-1 if kind == "stem" else -2)


def inputs_of(shape: LayerShape) -> tuple[int, ...]:
    """Channels of each input of a layer; those of its kind if none are given."""
    return shape.inputs or (shape.cin,) * op_of(shape.op).inputs


def is_first(shape: LayerShape) -> bool:
    """Whether it reads the image itself: what computes 1 to 3 channels is no layer of a network."""
    return shape.op == "conv" and shape.cin < 4 and shape.groups == 1


def _refill_terms(channels: int) -> tuple[Term, ...]:
    """A chain, less what its layers take alone, for each megabyte of its large weights."""
    each_mb = 1 / (channels * channels * 4e-6)
    whole = each_mb / _COLD_CHAIN
    stem = _stem(channels, (1, 1))
    spatial = LayerShape("conv", channels, channels, kernel=(3, 3), padding=(1, 1), groups=channels)
    dense = LayerShape("conv", channels, channels)
    return (
        Term(whole, Probe("cold", LayerShape("refill", channels, channels))),
        Term(2 * each_mb - whole, stem),
        Term(-each_mb, Probe("layer", spatial)),
        Term(-each_mb, Probe("layer", dense)),
    )


def terms(shape: LayerShape) -> tuple[Term, ...]:
    """What to time, and how the layer's time is computed from it.

    Raises:
        DeviceError: no model can be built for such a layer.
    """
    if shape == OVERHEAD:
        return (Term(1, _CALL),)
    if shape == REFILL:
        return _refill_terms(shape.cin)
    if shape.op not in _BUILDERS:
        raise DeviceError(
            f"There is no way to time a layer of kind {shape.op!r} alone ({shape}); its time is "
            "part of the measured network only."
        )
    found = [Term(1, Probe("layer", shape))]
    widths = inputs_of(shape)
    if op_of(shape.op).rows:
        found.append(Term(-1, _CALL))
    elif is_first(shape):
        found += [Term(-1, _stem(shape.cout, (1, 1))), *_nodes(1)]
    else:
        kind = op_of(shape.op).tap
        found.append(Term(-1, _stem(widths[0], shape.in_hw, kind)))
        for channels in widths[1:]:
            found += _less_stem(channels, shape.in_hw, kind)
        if shape.op == "scale":
            found += _nodes(-1)
    if shape.residual and not op_of(shape.op).rows:
        found += _less_stem(shape.cout, shape.out_hw)
    merged: dict[Probe, float] = {}
    for term in found:
        merged[term.probe] = merged.get(term.probe, 0.0) + term.factor
    return tuple(Term(factor, probe) for probe, factor in merged.items() if factor)


def alone(shape: LayerShape) -> tuple[Term, ...]:
    """The layer as a network of its own, as simple tables have it: what ours is compared with."""
    return (Term(1, Probe("alone", shape)),)


def build(probe: Probe, batch: int = 1) -> bytes:
    """The probe as a serialized ONNX model, of one to two kilobytes whatever the layer's size."""
    graph = Graph(batch)
    shape = probe.shape
    if probe.kind == "call":
        graph.output(graph.add("Relu", graph.input(1, 1, 1)))
    elif probe.kind == "nodes":
        x = graph.stem(16, (1, 1))
        for _ in range(shape.cin):
            x = graph.add("Conv", x, graph.weight(16, 16, 1, 1))
        graph.sink(x, 16, (1, 1))
    elif probe.kind == "cold":
        _build_chain(graph, shape.cin)
    elif probe.kind in ("stem", "tapped", "pooled"):
        x = graph.stem(shape.cin, shape.in_hw)
        graph.tap(probe.kind, x, shape.in_hw)
        graph.sink(x, shape.cin, shape.in_hw)
    elif op_of(shape.op).rows:
        _build_rows(graph, shape)
    elif probe.kind == "alone":
        inputs = [graph.input(channels, *shape.in_hw) for channels in inputs_of(shape)]
        x = _BUILDERS[shape.op](graph, inputs, shape)
        if shape.residual:
            x = graph.add("Add", x, graph.input(shape.cout, *shape.out_hw))
        graph.output(activate(graph, x, shape))
    else:
        _build_layer(graph, shape)
    return graph.model()


def _build_chain(graph: Graph, channels: int) -> None:
    """Depthwise and 1x1 convolutions of one pixel in turn: little to compute, much to read."""
    x = graph.stem(channels, (1, 1))
    for number in range(_COLD_CHAIN):
        spatial = graph.weight(channels, 1, 3, 3)
        x = graph.add("Conv", x, spatial, group=channels, pads=(1, 1, 1, 1))
        distinct = 0.01 + 1e-4 * number  # equal weights might be stored once
        x = graph.add("Conv", x, graph.weight(channels, channels, 1, 1, value=distinct))
    graph.sink(x, channels, (1, 1))


def _build_layer(graph: Graph, shape: LayerShape) -> None:
    skip = graph.stem(shape.cout, shape.out_hw) if shape.residual else ""
    if is_first(shape):
        sources = [graph.input(shape.cin, *shape.in_hw)]
    else:
        sources = [graph.stem(channels, shape.in_hw) for channels in inputs_of(shape)]
    for source in sources:
        graph.tap(op_of(shape.op).tap, source, shape.in_hw)
    x = _BUILDERS[shape.op](graph, sources, shape)
    if skip:
        x = graph.add("Add", x, skip)
    x = activate(graph, x, shape)
    graph.sink(x, shape.cout, shape.out_hw)


def _build_rows(graph: Graph, shape: LayerShape) -> None:
    """Layers over the last axis: they read ``[N, rows, C]`` as it is, and no layout is at stake."""
    rows = shape.in_hw[0] * shape.in_hw[1]
    leading = () if rows == 1 else (rows,)
    x = _BUILDERS[shape.op](graph, [graph.input(*leading, shape.cin)], shape)
    if shape.residual:
        x = graph.add("Add", x, graph.input(*leading, shape.cout))
    graph.output(activate(graph, x, shape), rank=len(leading) + 2)


def _conv(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    weights = [graph.weight(shape.cout, shape.cin // shape.groups, *shape.kernel)]
    if shape.bias:
        weights.append(graph.weight(shape.cout))
    return graph.add("Conv", sources[0], *weights, group=shape.groups, **window_attributes(shape))


def _conv_transpose(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    weights = [graph.weight(shape.cin, shape.cout // shape.groups, *shape.kernel)]
    if shape.bias:
        weights.append(graph.weight(shape.cout))
    full = [
        (shape.in_hw[i] - 1) * shape.stride[i] + shape.dilation[i] * (shape.kernel[i] - 1) + 1
        for i in (0, 1)
    ]
    extra = [max(shape.out_hw[i] + 2 * shape.padding[i] - full[i], 0) for i in (0, 1)]
    ends = [full[i] + extra[i] - shape.padding[i] - shape.out_hw[i] for i in (0, 1)]
    return graph.add(
        "ConvTranspose", sources[0], *weights, kernel_shape=shape.kernel, strides=shape.stride,
        dilations=shape.dilation, pads=(*shape.padding, *ends), output_padding=extra,
        group=shape.groups,
    )  # fmt: skip


def _linear(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    if shape.in_hw == (1, 1):
        weights = [graph.weight(shape.cout, shape.cin)]
        if shape.bias:
            weights.append(graph.weight(shape.cout))
        return graph.add("Gemm", sources[0], *weights, transB=1)
    x = graph.add("MatMul", sources[0], graph.weight(shape.cin, shape.cout))
    return graph.add("Add", x, graph.weight(shape.cout)) if shape.bias else x


def _norm(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    parameters = [graph.weight(shape.cin) for _ in range(4)]
    return graph.add("BatchNormalization", sources[0], *parameters)


def _layer_norm(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    scale, bias = graph.weight(shape.cin), graph.weight(shape.cin)
    return graph.add("LayerNormalization", sources[0], scale, bias, axis=-1)


def _group_norm(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    """As exporters write it: normalize ``[N, groups, -1]``, then scale and shift each channel."""
    split = graph.constant((0, shape.groups, -1), (3,), "int64")
    whole = graph.constant((graph.batch, shape.cin, *shape.in_hw), (4,), "int64")
    parameters = [graph.weight(shape.groups) for _ in range(2)]
    x = graph.add("InstanceNormalization", graph.add("Reshape", sources[0], split), *parameters)
    x = graph.add("Reshape", x, whole)
    x = graph.add("Mul", x, graph.weight(shape.cin, 1, 1))
    return graph.add("Add", x, graph.weight(shape.cin, 1, 1))


def _elementwise(op: str) -> "Builder":
    def built(graph: Graph, sources: list[str], shape: LayerShape) -> str:
        x = sources[0]
        for source in sources[1:]:
            x = graph.add(op, x, source)
        return x

    return built


def _scale(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    return graph.add("Mul", sources[0], graph.stem(shape.cin, (1, 1)))


def _concat(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    return graph.add("Concat", *sources, axis=1)


def _max_pool(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    return graph.add("MaxPool", sources[0], **window_attributes(shape))


def _avg_pool(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    window = window_attributes(replace(shape, dilation=(1, 1)))
    return graph.add("AveragePool", sources[0], count_include_pad=1, **window)


def _global_pool(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    """As torch's exporter writes it, which is not ``GlobalAveragePool``: in the plain layout."""
    return graph.add("ReduceMean", sources[0], axes=(2, 3))


def _identity(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    return sources[0]


def _resize(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    """Nearest for whole factors, as in feature pyramids; bilinear otherwise."""
    sizes = graph.constant((graph.batch, shape.cout, *shape.out_hw), (4,), "int64")
    whole = all(out % size == 0 for out, size in zip(shape.out_hw, shape.in_hw, strict=True))
    how = (
        {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        if whole
        else {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    )
    return graph.add("Resize", sources[0], "", "", sizes, **how)


def _move(graph: Graph, sources: list[str], shape: LayerShape) -> str:
    """One copy with the same extents: shuffle, pixel shuffle or its inverse, slice, or pad."""
    (h, w), (out_h, out_w) = shape.in_hw, shape.out_hw
    x = sources[0]
    if (shape.cin, h, w) == (shape.cout, out_h, out_w):
        parts = 2 if shape.cin % 2 == 0 else 1
        split = (graph.batch, parts, shape.cin // parts, h, w)
        x = graph.add("Reshape", x, graph.constant(split, (5,), "int64"))
        x = graph.add("Transpose", x, perm=(0, 2, 1, 3, 4))
        whole = (graph.batch, shape.cin, h, w)
        return graph.add("Reshape", x, graph.constant(whole, (4,), "int64"))
    if shape.cin * h * w == shape.cout * out_h * out_w:
        if out_h % h == 0 and out_h // h * w == out_w:
            return graph.add("DepthToSpace", x, blocksize=out_h // h, mode="CRD")
        if h % out_h == 0 and h // out_h * out_w == w:
            return graph.add("SpaceToDepth", x, blocksize=h // out_h)
    less = [min(a, b) for a, b in zip((shape.cin, h, w), (shape.cout, out_h, out_w), strict=True)]
    if less != [shape.cin, h, w]:
        ends = graph.constant(less, (3,), "int64")
        axes = graph.constant((1, 2, 3), (3,), "int64")
        x = graph.add("Slice", x, graph.constant((0, 0, 0), (3,), "int64"), ends, axes)
    more = [a - b for a, b in zip((shape.cout, out_h, out_w), less, strict=True)]
    if any(more):
        x = graph.add("Pad", x, graph.constant((0, 0, 0, 0, 0, *more), (8,), "int64"))
    return x


Builder = Callable[[Graph, list[str], LayerShape], str]

_BUILDERS: dict[str, Builder] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "linear": _linear,
    "norm": _norm,
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "add": _elementwise("Add"),
    "mul": _elementwise("Mul"),
    "scale": _scale,
    "concat": _concat,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _global_pool,
    "act": _identity,
    "resize": _resize,
    "move": _move,
}

MEASURABLE = frozenset(_BUILDERS)
"""Every ``LayerShape.op`` that can be timed alone."""
