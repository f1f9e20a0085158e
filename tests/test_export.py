import json
import shutil
import subprocess
import sys

import pytest
import torch

import netadapt
from netadapt import export
from netadapt.errors import CheckFailed, ModelError, UsageError
from netadapt.export import write_preprocessing
from netadapt.export.loader import loader_source
from netadapt.models import ModelSpec
from netadapt.network import keep_first
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace


def halves(network):
    return {g.id: max(1, g.size // 2) for g in network.groups.values() if not g.fixed}


def enlivened(model):
    """Random statistics, so that no normalization is the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.named_buffers():
        if name.endswith("running_mean"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


def written(folder, name, size, args=None):
    """A model with half of each group removed, written in every format."""
    spec = ModelSpec(name, 7, (3, size, size), args or {})
    model = spec.build(seed=1)
    network = trace(model, spec.input_shape)
    sizes = halves(network)
    keep = {g: units for g, units in keep_first(network, sizes).items() if g in sizes}
    smaller = enlivened(shrink(model, network, keep)).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    report = export.write_result(
        folder, smaller, spec=spec, network=network, sizes=sizes, images=images
    )
    return smaller, images, report


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A narrow MobileNetV1 as it was written, for tests that leave it as it is, and its folder."""
    folder = tmp_path_factory.mktemp("narrow")
    return folder, *written(folder, "mobilenet_v1", 32, {"width": 0.25})


LOADER = """
import sys, torch
before = set(sys.modules)
for folder in sys.argv[1:]:
    sys.path[0] = folder
    sys.modules.pop("load_adapted", None)
    from load_adapted import load
    images = torch.load(folder + "/images.pt", weights_only=True)
    with torch.no_grad():
        torch.save(load()(images), folder + "/output.pt")
imported = {name.split(".")[0] for name in set(sys.modules) - before}
assert not imported & {"netadapt", "torchvision", "timm"}, imported
"""


def test_the_loader_needs_torch_alone(narrow, tmp_path):
    loaded = [narrow, (tmp_path, *written(tmp_path, "mobilenet_v3_small", 48))]
    for folder, _, images, report in loaded:
        assert report["loader"] == "graph"
        torch.save(images, folder / "images.pt")
    subprocess.run(
        [sys.executable, "-c", LOADER, *(str(folder) for folder, *_ in loaded)],
        check=True, cwd=tmp_path, capture_output=True,
    )  # fmt: skip
    for folder, model, images, _ in loaded:
        with torch.no_grad():
            assert torch.equal(torch.load(folder / "output.pt", weights_only=True), model(images))


def test_every_format_agrees(narrow):
    folder, model, images, report = narrow
    with torch.no_grad():
        expected = model(images)
        assert torch.equal(netadapt.load(folder)(images), expected)
        program = torch.export.load(folder / "adapted.pt2").module()
        torch.testing.assert_close(program(images[:1]), expected[:1])
    assert report["onnx_difference"] < 1e-4
    assert report["files"].keys() == {
        "adapted.onnx", "adapted.pt2", "adapted.pt", "arch.json", "load_adapted.py",
    }  # fmt: skip
    arch = json.loads((folder / "arch.json").read_text())
    assert arch["attributes"]["pw1.conv"] == {"in_channels": 4, "out_channels": 8}


def test_what_is_known_of_preprocessing_is_written_beside_the_network(tmp_path):
    assert write_preprocessing(tmp_path, {}) == {}
    told = netadapt.data.load("digits", input_size=16).preprocessing
    (name, size), *_ = write_preprocessing(tmp_path, told).items()
    assert (tmp_path / name).stat().st_size == size
    assert json.loads((tmp_path / name).read_text()) == {
        "resize_shorter_side": 16, "center_crop": 16, "interpolation": "bilinear",
        "antialias": True, "channels": "RGB", "scale": "0..255 to 0..1",
        "mean": [0.306] * 3, "std": [0.325] * 3,
    }  # fmt: skip


@torch.fx.wrap
def doubled(x):
    return x * 2


def test_a_graph_that_text_cannot_say_gets_the_program_loader():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x):
            return doubled(self.conv(x)).mean((2, 3))

    text, kind = loader_source(Net().eval(), torch.zeros(1, 3, 8, 8))
    assert kind == "program"
    assert "torch.export.load" in text


def test_onnx_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export.result, "onnx_difference", lambda *_: 0.5)
    with pytest.raises(CheckFailed, match=r"differ from torch's by 0\.5"):
        written(tmp_path, "mobilenet_v1", 32, {"width": 0.25})
    assert not (tmp_path / "adapted.onnx").exists()


def test_half_precision_is_exported_as_it_is():
    model = enlivened(ModelSpec("mobilenet_v1", 3, (3, 32, 32), {"width": 0.25}).build()).half()
    data = export.to_onnx(model, (3, 32, 32))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).half()
    assert 0 < export.onnx_difference(data, model, images) < export.TOLERANCE


def test_training_flags_survive_the_export():
    model = ModelSpec("mobilenet_v1", 3, (3, 32, 32), {"width": 0.25}).build().train()
    model[0].eval()
    export.to_onnx(model, (3, 32, 32))
    assert model.training
    assert not model[0].training


def test_loading_from_a_folder_without_a_result_says_so(tmp_path):
    with pytest.raises(UsageError, match="holds no adapted network"):
        netadapt.load(tmp_path)


def test_loading_into_another_architecture_names_the_difference(narrow, tmp_path):
    shutil.copytree(narrow[0], tmp_path, dirs_exist_ok=True)
    arch = json.loads((tmp_path / "arch.json").read_text())
    arch["model"]["name"] = "squeezenet1_1"
    arch["model"]["args"] = {}
    (tmp_path / "arch.json").write_text(json.dumps(arch))
    with pytest.raises(ModelError, match="another architecture"):
        netadapt.load(tmp_path)


def test_a_model_that_cannot_be_captured_is_one_sentence():
    class Dynamic(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            return x * self.weight if x.sum() > 0 else x

    with pytest.raises(ModelError, match=r"torch\.export cannot capture Dynamic"):
        export.to_onnx(Dynamic(), (3, 8, 8))


def test_wrappers_are_looked_through_and_types_without_a_runtime_refused():
    model = ModelSpec("mobilenet_v1", 3, (3, 32, 32), {"width": 0.25}).build().eval()
    wrapped = torch.nn.DataParallel(model)
    assert (
        export.export_program(wrapped, (3, 32, 32)).state_dict.keys() <= model.state_dict().keys()
    )
    with pytest.raises(ModelError, match=r"computes in bfloat16.*model\.float\(\)"):
        export.to_onnx(model.bfloat16(), (3, 32, 32))


def test_not_a_number_is_a_difference():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1)).eval()
    data = export.to_onnx(model, (3, 4, 4))
    with torch.no_grad():
        model[0].weight.fill_(float("nan"))
    assert export.onnx_difference(data, model, torch.zeros(1, 3, 4, 4)) == float("inf")


def test_the_weights_of_a_result_are_told_from_those_of_another_architecture(narrow):
    with pytest.raises(ModelError, match=r"is the result of a run.*netadapt\.load"):
        ModelSpec("mobilenet_v1", 7, (3, 32, 32), {"width": 0.25}).build(narrow[0] / "adapted.pt")
