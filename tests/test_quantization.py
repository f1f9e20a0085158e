"""Networks and probes in 8 bits."""

import dataclasses

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from netadapt.errors import UsageError
from netadapt.export import deployment, to_onnx
from netadapt.export.deployment import (
    BATCH,
    OnnxModel,
    as_computed,
    calibration_images,
    deployable,
    scored_model,
)
from netadapt.network import LayerShape
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.graph import Graph
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.ort.quantization import feeds_of, is_quantized, quantize, quantize_probe
from netadapt.platforms.ort.saturation import this_machine_saturates
from tests.examples import small_net, stripes

FLOAT = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0")
EXACT = dataclasses.replace(FLOAT, precision="int8")
SATURATING = dataclasses.replace(EXACT, saturates=True)
CONV = LayerShape("conv", 256, 256, (4, 4), (4, 4), bias=True, act="relu")
DEPTHWISE = LayerShape("conv", 32, 32, (8, 8), (8, 8), (3, 3), (1, 1), (1, 1), groups=32)
RESIDUAL = LayerShape("conv", 32, 32, (8, 8), (8, 8), bias=True, act="relu", residual=True)
LINEAR = LayerShape("linear", 256, 100, bias=True)


def kinds(model, tmp_path):
    """Operators of the optimized graph."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]


@pytest.fixture(scope="module")
def task():
    return stripes()


@pytest.fixture(scope="module")
def network(task):
    """A trained network's stand-in, its ONNX, and images."""
    torch.manual_seed(0)
    model = small_net(2).eval()
    return model, to_onnx(model, (3, 16, 16)), calibration_images(task)


@pytest.mark.parametrize("info", [SATURATING, EXACT], ids=["saturating", "exact"])
def test_a_quantized_network_computes_nearly_the_same(info, network, tmp_path):
    """In the form for either kind of device, on any: what is scored are the device's sums."""
    model, written, images = network
    assert images.shape == (32, 3, 16, 16)
    quantized = quantize(written, feeds_of(written, images), weight_bits=info.weight_bits)
    assert is_quantized(quantized)
    assert not is_quantized(written)
    assert "QLinearConv" in kinds(quantized, tmp_path)
    assert "Conv" not in kinds(quantized, tmp_path)
    inputs = torch.from_numpy(images[:8])
    with torch.no_grad():
        expected = model(inputs)
    found = as_computed(quantized, info)(inputs)
    assert found.shape == expected.shape
    # 8 bits in five layers: within a few percent of the range
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def test_weights_have_the_bits_that_the_device_adds_exactly(network):
    _, written, images = network
    for info, largest in ((SATURATING, 64), (EXACT, 127)):
        quantized = quantize(written, feeds_of(written, images), weight_bits=info.weight_bits)
        weights = integer_weights(quantized)
        assert weights
        assert max(int(abs(w.astype(int)).max()) for w in weights) == largest
    # the largest sum of two products: of 7 bits it fits in 16, of 8 it does not
    assert 2 * 255 * 64 <= 2**15 - 1 < 2 * 255 * 127


@pytest.mark.parametrize("integers", [True, False])
@pytest.mark.parametrize("weight_bits", [7, 8])
def test_sums_are_those_of_exact_integers_where_they_are_said_to_be(weight_bits, integers):
    """One layer of extreme values against numpy; 8 bits by integers only where none saturate."""
    exact = weight_bits == 7 or not integers or not this_machine_saturates()
    source = np.random.default_rng(0)
    largest = 2 ** (weight_bits - 1) - (weight_bits == 8)
    weights = source.choice([-largest, largest], (16, 64)).astype(np.int8)
    weights[0] = largest  # a row whose sums are the largest that there are
    images = source.integers(200, 256, (3, 64, 1, 1)).astype(np.float32)
    sums = weights.astype(np.int64) @ images.astype(np.int64).reshape(3, 64, 1)
    step = 64 * largest * 2
    found = OnnxModel(layer(weights, step), integers=integers)(torch.from_numpy(images))
    levels = np.clip(np.rint(sums / step) + 128, 0, 255) - 128
    assert (abs(found.numpy().reshape(3, 16) / step - levels[:, :, 0]).max() <= 1e-5) == exact


def layer(weights, step):
    """``images [N, 64, 1, 1] -> sums``, activations and weights with a scale of one."""
    graph, kind = Graph(1), onnx.TensorProto
    one, coarse = graph.constant((1.0,)), graph.constant((float(step),))
    zero, signed = graph.integers((0,), (), kind.UINT8), graph.integers((0,), (), kind.INT8)
    middle = graph.integers((128,), (), kind.UINT8)
    filled = graph.integers(weights.ravel().tolist(), (*weights.shape, 1, 1), kind.INT8)
    x = graph.add("QuantizeLinear", graph.input(weights.shape[1], 1, 1), one, zero)
    x = graph.add("DequantizeLinear", x, one, zero)
    y = graph.add("Conv", x, graph.add("DequantizeLinear", filled, one, signed))
    y = graph.add("QuantizeLinear", y, coarse, middle)
    graph.output(graph.add("DequantizeLinear", y, coarse, middle))
    return graph.model()


def integer_weights(model):
    """Quantized weights of two and more dimensions."""
    tensors = onnx.load_from_string(model).graph.initializer
    arrays = [onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == t.INT8]
    return [a for a in arrays if a.ndim > 1]


@pytest.mark.parametrize(
    ("info", "saturates", "integers"),
    [
        (SATURATING, True, True),
        (SATURATING, False, True),
        (EXACT, True, False),
        (EXACT, False, True),
    ],
)
def test_integers_are_scored_as_such_where_this_machine_adds_them_as_the_device_does(
    info, saturates, integers, monkeypatch
):
    asked = []
    monkeypatch.setattr(deployment, "this_machine_saturates", lambda: saturates)
    monkeypatch.setattr(deployment, "OnnxModel", lambda data, integers: asked.append(integers))
    as_computed(b"", info)
    assert asked == [integers]


def test_what_is_scored_is_the_quantized_network_and_in_float32_the_network_itself(network):
    model, written, images = network
    assert scored_model(model, (3, 16, 16), FLOAT) is model
    batched = dataclasses.replace(SATURATING, batch=4)
    scored = scored_model(model, (3, 16, 16), batched, images)
    inputs = torch.from_numpy(images)
    single = OnnxModel(quantize(written, feeds_of(written, images), weight_bits=7))
    assert torch.equal(scored(inputs), torch.cat([single(image[None]) for image in inputs]))


def test_many_images_at_a_time_are_scored_as_one_by_one():
    """With reshapes that name the batch, as exporters write them, and two outputs."""
    graph = Graph(1)
    weights = (torch.arange(360.0) % 7 - 3).reshape(72, 5)  # small integers: sums are exact

    def reshaped(x, *dims):
        return graph.add("Reshape", x, graph.constant(dims, (len(dims),), "int64"), allowzero=1)

    x = reshaped(graph.input(8, 3, 3), 1, 2, 4, 3, 3)
    x = reshaped(graph.add("Transpose", x, perm=(0, 2, 1, 3, 4)), 1, 8, 3, 3)
    flat = graph.add(
        "MatMul", reshaped(x, 1, 72), graph.constant(weights.flatten().tolist(), (72, 5))
    )
    graph.output(flat, rank=2)
    graph.output(x)
    scored = OnnxModel(graph.model())
    assert scored.many
    images = (torch.arange((BATCH + 3) * 72.0) % 17).reshape(-1, 8, 3, 3)
    found, shuffled = scored(images)
    expected = images[:, [0, 4, 1, 5, 2, 6, 3, 7]]
    assert torch.equal(shuffled, expected)
    assert torch.equal(found, expected.flatten(1) @ weights)


def test_a_network_that_mixes_its_images_is_scored_one_at_a_time():
    graph = Graph(1)
    x = graph.input(3, 4, 4)
    graph.output(graph.add("Sub", x, graph.add("ReduceMean", x, axes=(0, 2, 3))))
    scored = OnnxModel(graph.model())
    assert not scored.many
    images = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scored(images), images - images.mean((2, 3), keepdim=True))


def test_float32_is_left_as_it_is_and_batches_are_written(network):
    model, written, _ = network
    assert deployable(model, (3, 16, 16), FLOAT) == written
    batched = dataclasses.replace(FLOAT, batch=4)
    dims = onnx.load_from_string(deployable(model, (3, 16, 16), batched)).graph.input[0]
    assert [d.dim_value for d in dims.type.tensor_type.shape.dim] == [4, 3, 16, 16]


def test_normalizations_are_folded_first(tmp_path):
    def value(name, *dims):
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)

    weights = [onnx.numpy_helper.from_array(np.full(shape, 0.5, np.float32), name)
               for name, shape in [("w", (8, 3, 1, 1)), *((n, (8,)) for n in "abcd")]]  # fmt: skip
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["y"]),
        onnx.helper.make_node("BatchNormalization", ["y", *"abcd"], ["z"]),
    ]
    graph = onnx.helper.make_graph(
        nodes, "bn", [value("x", 1, 3, 4, 4)], [value("z", 1, 8, 4, 4)], weights
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    found = kinds(quantize(model, feeds_of(model), weight_bits=8), tmp_path)
    assert "QLinearConv" in found
    assert "BatchNormalization" not in found


@pytest.mark.parametrize("weight_bits", [7, 8])
@pytest.mark.parametrize("shape", [CONV, DEPTHWISE, RESIDUAL, LINEAR], ids=str)
def test_a_probe_in_8_bits_stays_small_and_runs_as_in_a_network(shape, weight_bits, tmp_path):
    model = quantize_probe(build(Probe("layer", shape)), weight_bits=weight_bits)
    onnx.checker.check_model(model)
    assert len(model) < 6000
    found = kinds(model, tmp_path)
    assert ("QGemm" if shape.op == "linear" else "QLinearConv") in found
    assert not {"Conv", "Gemm", "Relu", "ConstantOfShape"} & set(found)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()})


def test_images_must_fit_the_model():
    def model(batch):
        graph = Graph(batch)
        graph.output(graph.add("Relu", graph.input(3, 8, 8)))
        return graph.model()

    fitting = feeds_of(model(1), np.zeros((3, 3, 8, 8), np.float32))
    assert [feed["x0"].shape for feed in fitting] == [(1, 3, 8, 8)] * 3
    with pytest.raises(UsageError, match=r"\[3, 9, 9\] do not fit .*x0 \[3, 8, 8\]"):
        feeds_of(model(1), np.zeros((3, 3, 9, 9), np.float32))
    with pytest.raises(UsageError, match="less than the batch of 4"):
        feeds_of(model(4), np.zeros((3, 3, 8, 8), np.float32))
    assert len(feeds_of(model(4))) == 4


def test_what_cannot_be_quantized_is_one_sentence():
    with pytest.raises(UsageError, match=r"cannot quantize this network .*precision=float32"):
        quantize(b"no model", [], weight_bits=8)
