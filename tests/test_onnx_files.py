"""ONNX files from the field: read right, or refused in one true sentence."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from netadapt.assembly import Source
from netadapt.cli import main
from netadapt.errors import DeviceError, ShapeError, UsageError
from netadapt.measure import workload
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.platforms.ort.files import read_onnx, refusal
from netadapt.platforms.ort.quantization import feeds_of

ONCE = Effort(passes=1, bursts=1, runs=2, warmups=1)
Dims = list[int | str | None] | None


def scaled(
    path: Path, dims: Dims = (1, 3, 4, 4), *, ir: int = 9, opset: int = 17, **inputs: Dims
) -> Path:
    """A file that multiplies its inputs, ``x`` and others, by 64 weights, all of them 2."""
    named = {"x": dims, **inputs}
    weights = numpy_helper.from_array(np.full((64, 1, 1, 1, 1), 2, np.float32), "w")
    nodes = [helper.make_node("Mul", [name, "w"], [f"y{name}"]) for name in named]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in named.items()],
        [helper.make_tensor_value_info(f"y{n}", TensorProto.FLOAT, None) for n in named],
        [weights],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir
    onnx.save(model, path)
    return path


def outside(path: Path) -> Path:
    """The same with its weights in a file beside it."""
    model = onnx.load(scaled(path))
    onnx.save_model(
        model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0
    )
    return path


def output(data: bytes) -> np.ndarray:
    """What ONNX Runtime computes of ones, in a folder where no weights lie."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (value,) = session.run(None, {"x": np.ones((1, 3, 4, 4), np.float32)})
    return value


def shapes(data: bytes) -> list[list[int | str]]:
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return [i.shape for i in session.get_inputs()]


def test_weights_beside_a_file_travel_with_it(tmp_path, monkeypatch):
    path = outside(tmp_path / "deep.onnx")
    monkeypatch.chdir(tmp_path.parent)
    assert (output(read_onnx(path)) == 2).all()
    assert (output(read_onnx(path.relative_to(Path.cwd()))) == 2).all()
    platform = open_platform("ort:cpu")
    (reading,) = platform.measure_networks([Workload("deep", read_onnx(path), ())], ONCE)
    assert reading["latency"].value > 0


def test_weights_beside_a_file_may_be_links_as_model_hubs_make_them(tmp_path):
    path = outside(tmp_path / "a.onnx")
    data = tmp_path / "a.onnx.data"
    data.rename(tmp_path / "blob")
    data.symlink_to(tmp_path / "blob")
    assert (output(read_onnx(path)) == 2).all()


def test_weights_that_are_missing_cut_off_or_elsewhere_are_told(tmp_path):
    path = outside(tmp_path / "a.onnx")
    data = tmp_path / "a.onnx.data"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"a\.onnx\.data, where it keeps its weights, was cut off"):
        read_onnx(path)
    data.unlink()
    with pytest.raises(UsageError, match=r"keeps its weights in .*a\.onnx\.data \(No such file"):
        read_onnx(path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = "../a.onnx.data"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UsageError, match=r"weights in \.\./a\.onnx\.data, outside of its folder"):
        read_onnx(path)


def test_the_batch_may_stay_open_and_nothing_else(tmp_path):
    path = scaled(tmp_path / "a.onnx", ["N", 3, 8, 8])
    assert shapes(read_onnx(path)) == [["N", 3, 8, 8]]
    for dims, shown in [
        (["N", 3, "H", "W"], r"x \[N, 3, H, W\]"),
        ([1, 3, None, 8], r"x \[1, 3, \?, 8\]"),
        ([-1, 3, 0, 8], r"x \[\?, 3, \?, 8\]"),
        (None, "x of no known shape"),
    ]:
        scaled(path, dims)
        with pytest.raises(ShapeError, match=f"open beside the batch: {shown}"):
            read_onnx(path)


def test_a_shape_fills_what_is_open(tmp_path):
    path = scaled(tmp_path / "a.onnx", ["N", 3, "H", "W"])
    assert shapes(read_onnx(path, {"": (3, 8, 6)})) == [["N", 3, 8, 6]]
    assert shapes(read_onnx(path, {"x": (2, 3, 8, 6)})) == [[2, 3, 8, 6]]
    scaled(path, None)
    assert shapes(read_onnx(path, {"": (3, 8, 6)}))[0][1:] == [3, 8, 6]
    scaled(path, ["N", 3, 8, 6])
    assert shapes(read_onnx(path, {"": (3, 8, 6)})) == [["N", 3, 8, 6]]


def test_a_shape_that_does_not_fit_is_refused(tmp_path):
    path = scaled(tmp_path / "a.onnx", ["N", 3, "H", "W"])
    for shape in ((4, 8, 8), (8, 8), (1, 1, 3, 8, 8)):
        with pytest.raises(ShapeError, match=r"\[N, 3, H, W\], which .* does not fit"):
            read_onnx(path, {"": shape})
    with pytest.raises(ShapeError, match=r"no input 'y'; its inputs are x"):
        read_onnx(path, {"y": (3, 8, 8)})


def test_several_inputs_are_given_by_name_and_shared_sizes_once(tmp_path):
    path = scaled(tmp_path / "a.onnx", ["N", 3, "H", "W"], mask=["N", 1, "H", "W"], z=["N", 5])
    assert shapes(read_onnx(path, {"x": (3, 8, 6)})) == [["N", 3, 8, 6], ["N", 1, 8, 6], ["N", 5]]
    with pytest.raises(ShapeError, match="several inputs that a shape may be of: x, mask"):
        read_onnx(path, {"": (3, 8, 6)})
    scaled(path, ["N", 3, "H", 8], z=["N", 5])
    assert shapes(read_onnx(path, {"": (3, 4, 8)})) == [["N", 3, 4, 8], ["N", 5]]
    scaled(path, ["N", 3, 8, 8], z=["N", "M"])
    with pytest.raises(ShapeError, match=r"open beside the batch: z \[N, M\]"):
        read_onnx(path)


@given(st.lists(st.one_of(st.integers(1, 9), st.sampled_from(["a", "b", "c"])), min_size=1,
                max_size=5), st.data())  # fmt: skip
def test_every_open_dimension_becomes_what_was_given(tmp_path_factory, dims, draw):
    path = scaled(tmp_path_factory.mktemp("any") / "a.onnx", dims)
    sizes = {name: draw.draw(st.integers(1, 9)) for name in ("a", "b", "c")}
    wanted = [sizes.get(dim, dim) for dim in dims]
    model = onnx.load_from_string(read_onnx(path, {"x": wanted}))
    found = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in found] == wanted


FILES = {
    "empty": (b"", "it is empty"),
    "text": (b"hello, this is no model at all", "no ONNX model, or was cut off"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "page": (b"<!DOCTYPE html>", "web page"),
    "noise": (bytes(range(256)), "no ONNX model, or was cut off"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_are_no_models_are_told_for_what_they_are(tmp_path, kind):
    content, says = FILES[kind]
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UsageError, match=says):
        read_onnx(tmp_path / "a.onnx")


def test_cut_files_folders_pipes_and_nothing(tmp_path):
    path = scaled(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UsageError, match="no ONNX model, or was cut off"):
        read_onnx(path)
    with pytest.raises(UsageError, match="a folder; name a file in it"):
        read_onnx(tmp_path)
    with pytest.raises(UsageError, match=r"There is no file .*none\.onnx"):
        read_onnx(tmp_path / "none.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UsageError, match="no regular file"):
        read_onnx(tmp_path / "pipe.onnx")


def test_inputs_that_no_number_can_be_fed_to_are_told(tmp_path):
    text = helper.make_tensor_value_info("t", TensorProto.STRING, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["t"], ["y"])], "g", [text], [
        helper.make_tensor_value_info("y", TensorProto.STRING, [1])])  # fmt: skip
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(UsageError, match=r"The input t of .* is of type string"):
        read_onnx(tmp_path / "a.onnx")


@pytest.mark.parametrize(
    ("ir", "opset", "says"),
    [(99, 17, r"version 99 of ONNX's format, and the runtime there reads up to \d+"),
     (9, 99, r"opset 99 of ai\.onnx, and the runtime there knows up to \d+")],
)  # fmt: skip
def test_what_is_newer_than_the_runtime_is_said_in_one_sentence(tmp_path, ir, opset, says):
    path = scaled(tmp_path / "a.onnx", ir=ir, opset=opset)
    with pytest.raises(DeviceError, match=says) as caught:
        open_platform("ort:cpu").measure_networks([Workload("a", read_onnx(path), ())], ONCE)
    assert "onnxruntime_src" not in str(caught.value)


def test_operators_that_the_runtime_lacks_are_named():
    assert "no operator my.domain:Foo" in refusal(
        "Fatal error: my.domain:Foo(-1) is not a registered function/op"
    )
    assert "no operator Foo in opset 17" in refusal(
        "Error No Op registered for Foo with domain_version of 17"
    )
    assert refusal("out of memory") == ""


def test_noise_for_calibration_has_the_type_of_each_input(tmp_path):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2]),
              helper.make_tensor_value_info("mask", TensorProto.INT64, [1, 2])]  # fmt: skip
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])])  # fmt: skip
    feed = feeds_of(helper.make_model(graph).SerializeToString())[0]
    assert {name: str(array.dtype) for name, array in feed.items()} == {
        "x": "float32", "mask": "int64",
    }  # fmt: skip


def test_any_existing_file_is_taken_for_onnx_whatever_its_name(tmp_path):
    info = open_platform("synthetic:").describe()
    path = scaled(tmp_path / "a.onnx").rename(tmp_path / "model.bin")
    assert onnx.load_from_string(workload(Source(str(path), {}), info).onnx).graph.node
    with pytest.raises(UsageError, match=r"There is no file .*none\.ONNX"):
        workload(Source(str(tmp_path / "none.ONNX"), {}), info)


def test_the_command_line_says_how_to_give_a_shape(tmp_path, capsys):
    path = scaled(tmp_path / "a.onnx", ["N", 3, "H", "W"])
    with pytest.raises(SystemExit) as stop:
        main(["measure", str(path), "--on", "ort:cpu"])
    assert stop.value.code == 2
    assert "--input-shape 3x224x224" in capsys.readouterr().err
    command = ["measure", str(path), "--passes", "1", "--min-seconds", "0", "--input-shape"]
    with pytest.raises(SystemExit) as stop:
        main([*command, "x=3x8x6"])
    assert stop.value.code == 0
    for text in ("3x", "axb", "x=0x3", "3x-8"):
        with pytest.raises(SystemExit) as stop:
            main([*command, text])
        assert stop.value.code == 2
        assert "write it like 3x224x224" in capsys.readouterr().err
