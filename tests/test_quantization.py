"""Networks and probes in 8 bits."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from netadapt.errors import UsageError
from netadapt.export import to_onnx
from netadapt.export.deployment import OnnxModel, calibration_images, deployable
from netadapt.network import LayerShape
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.ort.quantization import feeds_of, is_quantized, quantize, quantize_probe
from tests.examples import small_net, stripes

FLOAT = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0")
INT8 = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0", precision="int8")
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


def test_a_quantized_network_computes_nearly_the_same(task, tmp_path):
    torch.manual_seed(0)
    model = small_net(2).eval()
    images = calibration_images(task)
    assert images.shape == (32, 3, 16, 16)
    written = deployable(model, (3, 16, 16), INT8, images)
    assert is_quantized(written)
    assert not is_quantized(to_onnx(model, (3, 16, 16)))
    assert "QLinearConv" in kinds(written, tmp_path)
    assert "Conv" not in kinds(written, tmp_path)
    inputs = torch.from_numpy(images[:8])
    with torch.no_grad():
        expected = model(inputs)
    found = OnnxModel(written)(inputs)
    assert found.shape == expected.shape
    # 8 bits in five layers: within a few percent of the range
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_float32_is_left_as_it_is_and_batches_are_written(task):
    model = small_net(2).eval()
    assert deployable(model, (3, 16, 16), FLOAT) == to_onnx(model, (3, 16, 16))
    batched = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0", batch=4)
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
    found = kinds(quantize(model, feeds_of(model)), tmp_path)
    assert "QLinearConv" in found
    assert "BatchNormalization" not in found


@pytest.mark.parametrize("shape", [CONV, DEPTHWISE, RESIDUAL, LINEAR], ids=str)
def test_a_probe_in_8_bits_stays_small_and_runs_as_in_a_network(shape, tmp_path):
    model = quantize_probe(build(Probe("layer", shape)))
    onnx.checker.check_model(model)
    assert len(model) < 6000
    found = kinds(model, tmp_path)
    assert ("QGemm" if shape.op == "linear" else "QLinearConv") in found
    assert not {"Conv", "Gemm", "Relu", "ConstantOfShape"} & set(found)
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()})


def test_images_must_fit_the_model():
    model = to_onnx(nn.Conv2d(3, 4, 1).eval(), (3, 8, 8))
    assert [f["input"].shape for f in feeds_of(model, np.zeros((3, 3, 8, 8), np.float32))] == [
        (1, 3, 8, 8)
    ] * 3
    with pytest.raises(UsageError, match=r"\[3, 9, 9\] do not fit .*input \[3, 8, 8\]"):
        feeds_of(model, np.zeros((3, 3, 9, 9), np.float32))
    batched = to_onnx(nn.Conv2d(3, 4, 1).eval(), (3, 8, 8), batch=4)
    with pytest.raises(UsageError, match="less than the batch of 4"):
        feeds_of(batched, np.zeros((3, 3, 8, 8), np.float32))
    assert len(feeds_of(batched)) == 4


def test_what_cannot_be_quantized_is_one_sentence():
    with pytest.raises(UsageError, match=r"cannot quantize this network .*precision=float32"):
        quantize(b"no model", [])
