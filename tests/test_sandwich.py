"""The tiny models that layers are timed by: valid, runnable, and without needless reordering."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from netadapt.errors import DeviceError
from netadapt.network import OPS, LayerShape
from netadapt.platforms import OVERHEAD
from netadapt.platforms.ort.graph import ACTIVATIONS
from netadapt.platforms.ort.probes import MEASURABLE, Probe, Term, alone, build, terms


def square(op, cin, cout, size=8, out=None, **more):
    return LayerShape(op, cin, cout, (size, size), (out or size, out or size), **more)


LAYERS = [
    square("conv", 32, 48, kernel=(3, 3), padding=(1, 1), bias=True, act="relu"),
    square("conv", 32, 48, kernel=(3, 3), padding=(1, 1), residual=True, act="relu"),
    square("conv", 3, 32, 9, 5, kernel=(3, 3), stride=(2, 2), padding=(1, 1), bias=True),
    square("conv", 32, 32, 8, 4, kernel=(3, 3), stride=(2, 2), padding=(1, 1), groups=32),
    square("conv", 64, 64, kernel=(3, 3), padding=(2, 2), dilation=(2, 2), groups=4),
    square("conv", 8, 33),
    LayerShape("conv", 16, 16, (7, 9), (4, 9), (3, 1), (2, 1), (1, 0)),
    square("conv_transpose", 32, 16, 7, 14, kernel=(2, 2), stride=(2, 2)),
    square(
        "conv_transpose", 32, 16, 7, 14, kernel=(3, 3), stride=(2, 2), padding=(1, 1), bias=True
    ),
    square("linear", 64, 10, 1, bias=True),
    square("linear", 64, 10, 7, bias=True, act="gelu", residual=True),
    square("norm", 32, 32, act="relu"),
    square("layer_norm", 32, 32),
    square("group_norm", 32, 32, groups=4, act="relu"),
    square("add", 32, 32, act="relu", inputs=(32, 32, 32)),
    square("mul", 32, 32),
    square("scale", 32, 32),
    square("concat", 48, 48, inputs=(16, 32)),
    square("max_pool", 32, 32, 7, 4, kernel=(2, 2), stride=(2, 2)),
    square("max_pool", 32, 32, 8, 4, kernel=(3, 3), stride=(2, 2), padding=(1, 1)),
    square("avg_pool", 32, 32, 8, 4, kernel=(2, 2), stride=(2, 2)),
    square("global_pool", 32, 32, 8, 1),
    square("act", 32, 32, act="relu"),
    square("resize", 32, 32, 8, 16),
    square("resize", 32, 32, 8, 11),
    square("move", 32, 32),
    square("move", 32, 8, 8, 16),
    square("move", 32, 128, 8, 4),
    square("move", 32, 16),
    square("move", 32, 40, 8, 10),
]


def run(model, path=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if path:
        options.optimized_model_filepath = str(path)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: np.ones(i.shape, np.float32) for i in session.get_inputs()})


def test_every_kind_of_layer_can_be_timed():
    priced = {name for name, op in OPS.items() if op.priced}
    assert {shape.op for shape in LAYERS} == MEASURABLE == priced


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_probes_are_valid_and_run(shape, batch):
    for term in terms(shape):
        model = build(term.probe, batch)
        onnx.checker.check_model(model, full_check=True)
        assert len(model) < 2000
        assert all(output.shape[0] == batch for output in run(model))


@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_a_layer_alone_is_a_network_too(shape):
    [term] = alone(shape)
    assert term.factor == 1
    run(build(term.probe))


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("op", ["conv", "linear", "act"])
def test_activations_are_valid_and_run(op, act):
    model = build(Probe("layer", square(op, 16, 16, act=act)))
    onnx.checker.check_model(model, full_check=True)
    run(model)


@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_the_layer_in_a_probe_has_the_output_size_that_was_asked_for(shape):
    model = onnx.shape_inference.infer_shapes(
        onnx.load_from_string(build(Probe("layer", shape))), strict_mode=True, data_prop=True
    )
    dims = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info
    }
    main = [n for n in model.graph.node if n.op_type == "Conv"]  # the last is the sink
    if OPS[shape.op].rows:
        assert run(build(Probe("layer", shape)))[0].shape[-1] == shape.cout
    else:
        assert dims[main[-1].input[0]] == [1, shape.cout, *shape.out_hw]


@pytest.mark.parametrize(
    "shape",
    [s for s in LAYERS if s.op in ("conv", "max_pool", "norm", "mul", "concat")
     and s.cin % 16 == 0 and s.cout % 16 == 0],
    ids=str,
)  # fmt: skip
def test_no_whole_tensor_is_reordered_in_a_blocked_layout(shape, tmp_path):
    run(build(Probe("layer", shape)), tmp_path / "optimized.onnx")
    optimized = onnx.load(tmp_path / "optimized.onnx")
    if not any(node.domain == "com.microsoft.nchwc" for node in optimized.graph.node):
        pytest.skip("this processor has no blocked layout")
    assert not [n for n in optimized.graph.node if n.op_type == "ReorderInput"]
    outputs = {output.name for output in optimized.graph.output}
    for node in optimized.graph.node:  # only the one pixel of a sink or a tap leaves the layout
        if node.op_type == "ReorderOutput":
            assert node.output[0] in outputs


def test_residual_and_activation_are_absorbed(tmp_path):
    shape = square("conv", 32, 48, kernel=(3, 3), padding=(1, 1), residual=True, act="relu")
    run(build(Probe("layer", shape)), tmp_path / "optimized.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert not kinds & {"Add", "Relu"}


def test_what_stands_alone_is_not_absorbed(tmp_path):
    run(build(Probe("layer", square("act", 32, 32, act="relu"))), tmp_path / "optimized.onnx")
    assert "Relu" in {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}


def factors(shape):
    return {str(term.probe): term.factor for term in terms(shape)}


def test_a_chain_layer_is_one_difference():
    assert factors(square("conv", 32, 48)) == {
        "layer conv 32>48 8x8": 1,
        "stem input 32>32 8x8": -1,
    }


def test_a_residual_layer_takes_off_the_second_stem_too():
    # B = call + stem(32) + stem(48) + layer + sink; A(48, 1x1) holds call, sink and a node
    assert factors(square("conv", 32, 48, residual=True)) == {
        "layer conv 32>48 8x8 add": 1,
        "stem input 32>32 8x8": -1,
        "stem input 48>48 8x8": -1,
        "stem input 48>48 1x1": 1,
        "nodes chain 9>9 1x1": -0.125,
        "nodes chain 1>1 1x1": 0.125,
    }


def test_the_first_layer_reads_the_image_itself():
    # no stem is in the model, so of A(32, 1x1) all but its one-pixel stem is taken off
    assert factors(square("conv", 3, 32)) == {
        "layer conv 3>32 8x8": 1,
        "stem input 32>32 1x1": -1,
        "nodes chain 9>9 1x1": 0.125,
        "nodes chain 1>1 1x1": -0.125,
    }


def test_rows_and_the_call_itself():
    assert factors(square("linear", 64, 10, 1)) == {
        "layer linear 64>10 1x1": 1,
        f"call {OVERHEAD}": -1,
    }
    assert terms(OVERHEAD) == (Term(1, Probe("call", OVERHEAD)),)


def test_calls_and_extra_stems_cancel():
    """Each probe holds one call: in every layer's sum, calls cancel."""
    for shape in LAYERS:
        assert sum(t.factor for t in terms(shape)) == pytest.approx(0)


def test_other_layers_are_refused():
    with pytest.raises(DeviceError, match="no way to time"):
        terms(LayerShape("other", 8, 8))
