"""Eight-bit networks: static quantization by ONNX Runtime, in the QDQ form.

Weights are signed and scaled per output channel, activations unsigned (Jacob et al., CVPR 2018,
arXiv:1712.05877, section 2), which is the faster of ONNX Runtime's forms on x86 and as fast as any
on ARM. Ranges of activations are the least and greatest values that calibration images give.

On x86 without VNNI these kernels add pairs of products in 16 bits and cut what does not fit: of
three small networks the largest error, in percent of the largest output, was 11.6, 21.9 and 9.5.
There weights are given 7 bits: -64 to 64, with which no pair exceeds 2 * 255 * 64 = 32640. That
left 1.0, 0.9 and 0.4, as unsigned weights of 8 bits did (1.0, 0.8, 0.4), whose kernels take longer:
on an AVX2-only AMD EPYC, medians of adjacent runs of MobileNetV1 0.5 at 128 pixels are 0.998 (7
bits) and 1.07 (unsigned) of what signed weights of 8 bits take. The kernels of 7 bits being those
of 8, timings of one form are those of the other.
"""

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from netadapt.errors import ShapeError, UsageError

Feed = Mapping[str, Any]
"""An array for each input of a model."""

_WARNING, _FATAL = 2, 4  # ONNX Runtime's levels; the first is its default
_LARGE = 64  # elements of an initializer that is worth folding


class _Reader:
    """Calibration data as ONNX Runtime asks for it."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer and its sessions give advice that no user of ours can follow."""
    import onnxruntime

    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        yield
    finally:
        logging.disable(before)
        onnxruntime.set_default_logger_severity(_WARNING)


def is_quantized(onnx_model: bytes) -> bool:
    """Whether a serialized model computes in integers already."""
    import onnx

    model = onnx.load_from_string(onnx_model)
    return any("QuantizeLinear" in n.op_type or n.op_type.startswith("QLinear") or
               n.op_type.endswith("Integer") for n in model.graph.node)  # fmt: skip


def feeds_of(onnx_model: bytes, images: Any = None) -> list[Feed]:
    """Calibration data for a model: real images, or noise where only times matter.

    Args:
        onnx_model: the serialized model.
        images: float32 [N, C, H, W], as the model takes them; None for noise in 0..1.

    Raises:
        ShapeError: the images do not fit the model's input.
        UsageError: they are fewer than its batch.
    """
    import onnx

    graph = onnx.load_from_string(onnx_model).graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    dims = {i.name: [d.dim_value or 1 for d in i.type.tensor_type.shape.dim] for i in inputs}
    if images is None:
        return [_noise(inputs, seed) for seed in range(4)]
    (name, wanted), *others = dims.items()
    if others or list(images.shape[1:]) != wanted[1:]:
        raise ShapeError(
            f"Calibration images of {list(images.shape[1:])} do not fit the model, whose inputs "
            f"are {', '.join(f'{n} {d[1:]}' for n, d in dims.items())}; build it for images of "
            "that shape, or give other data."
        )
    each = wanted[0]
    whole = len(images) // each * each
    if not whole:
        raise UsageError(f"{len(images)} calibration images are less than the batch of {each}.")
    return [{name: images[at : at + each]} for at in range(0, whole, each)]


def _noise(inputs: Iterable[Any], seed: int) -> Feed:
    """Random numbers in 0..1 for each input, zeros for integers; an open dimension is one."""
    from onnx import helper

    source = np.random.default_rng(seed)
    feed = {}
    for value in inputs:
        tensor = value.type.tensor_type
        dims = [d.dim_value or 1 for d in tensor.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        feed[value.name] = source.random(dims, dtype=np.float32).astype(dtype)
    return feed


def quantize(onnx_model: bytes, feeds: Iterable[Feed], *, weight_bits: int) -> bytes:
    """A float32 model in 8 bits.

    Args:
        onnx_model: the serialized model.
        feeds: calibration data, see :func:`feeds_of`.
        weight_bits: 7 where integers saturate, 8 elsewhere; see
            :attr:`netadapt.platforms.measurement.DeviceInfo.weight_bits`.

    Raises:
        UsageError: ONNX Runtime cannot quantize it.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder, _quiet():
        done = Path(folder) / "done.onnx"
        try:
            model = onnx.load_from_string(_folded(onnx_model, Path(folder) / "folded.onnx"))
            quantize_static(
                model, str(done), _Reader(feeds), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                reduce_range=weight_bits == 7,
            )  # fmt: skip
        except Exception as error:  # the quantizer raises anything
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise UsageError(
                f"ONNX Runtime cannot quantize this network ({reason}); use precision=float32."
            ) from error
        return done.read_bytes()


def _folded(onnx_model: bytes, path: Path) -> bytes:
    """Normalizations that an exporter left, folded into their convolutions."""
    import onnx
    import onnxruntime

    kinds = {node.op_type for node in onnx.load_from_string(onnx_model).graph.node}
    if "BatchNormalization" not in kinds or "Conv" not in kinds:
        return onnx_model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(onnx_model, options, providers=["CPUExecutionProvider"])
    return path.read_bytes()


def quantize_probe(onnx_model: bytes, *, weight_bits: int) -> bytes:
    """A model of constant weights, quantized as a network is, and again of a few kilobytes."""
    real = _with_initializers(onnx_model)
    return _with_fills(quantize(real, feeds_of(real)[:1], weight_bits=weight_bits))


def _with_initializers(onnx_model: bytes) -> bytes:
    """``ConstantOfShape`` nodes as the weights that they stand for: only those are quantized."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(onnx_model)
    graph = model.graph
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes: list[Any] = []
    shapes: set[str] = set()
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            nodes.append(node)
            continue
        value = numpy_helper.to_array(node.attribute[0].t)
        full = np.full(known[node.input[0]], value[0])
        graph.initializer.append(numpy_helper.from_array(full, node.output[0]))
        shapes.add(node.input[0])
    kept = [tensor for tensor in graph.initializer if tensor.name not in shapes]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return bytes(model.SerializeToString())


def _with_fills(onnx_model: bytes) -> bytes:
    """Large weights of one value as ``ConstantOfShape``, which the runtime folds to the same."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(onnx_model)
    graph = model.graph
    kept, fills = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size < _LARGE or (values != values.flat[0]).any():
            kept.append(tensor)
            continue
        shape = f"{tensor.name}_shape"
        kept.append(numpy_helper.from_array(np.array(values.shape, np.int64), shape))
        one = numpy_helper.from_array(values.reshape(-1)[:1])
        fills.append(helper.make_node("ConstantOfShape", [shape], [tensor.name], value=one))
    nodes = [*fills, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    return bytes(model.SerializeToString())
