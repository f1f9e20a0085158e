import hashlib
import itertools
import json
import math
import os
import pickle
import re
import urllib.error
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import DenseNet, WeightsEnum, get_model_weights, googlenet, squeezenet1_1

from netadapt.assembly import Source, assemble
from netadapt.config import RunConfig
from netadapt.errors import ModelError, RunError, UnknownName, UsageError
from netadapt.models import ModelSpec, build, known_models, mobilenet_v1, restore
from netadapt.models.presets import preset_of
from netadapt.models.published import published_as
from netadapt.models.weights import load_weights, save_weights
from netadapt.space import settings_of


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_mobilenet_v1_has_the_papers_parameters_and_macs():
    model = build("mobilenet_v1", num_classes=1000).eval()
    channels = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    weights = 3 * 9 * 32
    for cin, cout in itertools.pairwise(channels):
        weights += 9 * cin + cin * cout
    norms = 2 * (sum(channels) + sum(channels[:-1]))  # one after each of the 27 convolutions
    assert parameters(model) == weights + norms + 1024 * 1000 + 1000 == 4_231_976
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    assert counter.get_total_flops() / 2 == pytest.approx(569e6, rel=0.001)  # paper, table 4


@pytest.mark.parametrize(("stem", "pixels"), [("imagenet", 1), ("cifar", 2)])
def test_mobilenet_v1_stems_divide_the_image_by_32_and_16(stem, pixels):
    model = build(
        "mobilenet_v1", num_classes=10, input_shape=(3, 32, 32), args={"stem": stem, "width": 0.25}
    ).eval()
    pool = model.get_submodule("pool")
    seen = []
    pool.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0].shape))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert seen == [(2, 256, pixels, pixels)]
    assert model(torch.zeros(1, 3, 50, 70)).shape == (1, 10)


def test_mobilenet_v1_takes_any_width_and_any_number_of_image_channels():
    model = build("mobilenet_v1", num_classes=2, input_shape=(1, 32, 32), args={"width": 0.1})
    assert model.get_submodule("stem.conv").weight.shape == (8, 1, 3, 3)
    assert model.get_submodule("pw13.conv").weight.shape == (math.floor(102.4), 102, 1, 1)
    with pytest.raises(ModelError, match="above zero"):
        mobilenet_v1(width=0)
    with pytest.raises(ModelError, match="imagenet or cifar"):
        build("mobilenet_v1", num_classes=2, args={"stem": "mnist"})


def test_the_seed_decides_the_weights_and_the_global_state_stays():
    state = torch.get_rng_state()
    one, same, other = (
        build("mobilenet_v1", num_classes=3, args={"width": 0.25}, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    weights = [m.get_submodule("pw3.conv").weight for m in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


SMALL = ["mnasnet0_5", "shufflenet_v2_x0_5", "googlenet", "squeezenet1_1", "regnet_y_400mf"]


@pytest.mark.parametrize("name", [*SMALL, "timm:mobilenetv3_small_050"])
def test_models_of_others_are_built_by_name_without_a_warning(name):
    model = build(name, num_classes=7, input_shape=(3, 64, 64)).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 7)


def test_known_models_are_cnns():
    names = known_models()
    assert names[0] == "mobilenet_v1"
    assert {"resnet18", "inception_v3", "convnext_tiny", "densenet121"} < set(names)
    assert not any("vit" in name or "swin" in name for name in names)


def test_unknown_models_are_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean mobilenet_v") as caught:
        build("mobilenet_v11", num_classes=2)
    assert "package.module:callable" in str(caught.value)
    with pytest.raises(UnknownName, match="timm model 'resnet_18'"):
        build("timm:resnet_18", num_classes=2)


def test_wrong_arguments_are_named():
    with pytest.raises(ModelError, match=r"'resnet18' cannot be built with .*depth=3"):
        build("resnet18", num_classes=2, args={"depth": 3})
    with pytest.raises(ModelError, match="3 channels, and the data set has 1"):
        build("resnet18", num_classes=2, input_shape=(1, 32, 32))


def test_without_timm_the_message_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(ModelError, match=r"pip install netadapt\[timm\]"):
        build("timm:resnet18", num_classes=2)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A module in the working directory, which a console script does not search by itself."""
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n"
        "def plain(num_classes, hidden=4):\n"
        "    last = nn.Linear(hidden, num_classes)\n"
        "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(hidden), last)\n"
        "def fixed():\n"
        "    return nn.Identity()\n"
        "def wrong(**kwargs):\n"
        "    return sorted(kwargs)\n"
        "number = 3\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p])


@pytest.mark.usefixtures("own_module")
def test_a_users_own_callable_gets_what_it_accepts():
    model = build("own_nets:plain", num_classes=5, args={"hidden": 6})
    assert model(torch.zeros(2, 3, 4, 4)).shape == (2, 5)
    assert isinstance(build("own_nets:fixed", num_classes=5), nn.Identity)
    with pytest.raises(ModelError, match=r"gave a list; it must return a torch\.nn\.Module"):
        build("own_nets:wrong", num_classes=5)
    with pytest.raises(UsageError, match="is a int, not a callable"):
        build("own_nets:number", num_classes=5)
    with pytest.raises(UsageError, match=r"cannot be imported: .*no_such"):
        build("own_nets:no_such", num_classes=5)
    with pytest.raises(UsageError, match="No module named 'own_netz'"):
        build("own_netz:plain", num_classes=5)


def test_a_spec_survives_json_and_rebuilds_the_model():
    spec = ModelSpec("mobilenet_v1", 4, (3, 32, 32), {"width": 0.25, "stem": "cifar"})
    again = ModelSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    for mine, theirs in zip(spec.build().parameters(), again.build().parameters(), strict=True):
        assert torch.equal(mine, theirs)


def small(seed: int = 0, classes: int = 3) -> nn.Module:
    return build("mobilenet_v1", num_classes=classes, args={"width": 0.25}, seed=seed)


def assert_same(one: nn.Module, other: nn.Module) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_weights_survive_safetensors_and_build_loads_them(tmp_path):
    model = small(1).to(memory_format=torch.channels_last)
    save_weights(model, tmp_path / "deep" / "weights.safetensors")
    path = tmp_path / "deep" / "weights.safetensors"
    assert_same(
        model,
        build("mobilenet_v1", num_classes=3, args={"width": 0.25}, weights=str(path)),
    )
    assert [p.name for p in path.parent.iterdir()] == [path.name]  # no partial file stays


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3},
        lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
        lambda s: {f"module._orig_mod.{k}": v for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if "num_batches" not in k},
    ],
)
def test_what_training_scripts_save_is_understood(tmp_path, wrap):
    model = small(1)
    torch.save(wrap(model.state_dict()), tmp_path / "weights.pth")
    other = small(2)
    load_weights(other, tmp_path / "weights.pth")
    assert_same(model, other)


def test_weights_may_be_read_by_whoever_may_read_other_files(tmp_path):
    (tmp_path / "plain").touch()
    save_weights(small(), tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tied_tensors_are_written_once_and_tied_again(tmp_path):
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[1].weight = model[0].weight
        return model

    model, other = tied(), tied()
    save_weights(model, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert_same(model, other)
    assert other[0].weight is other[1].weight


def test_weights_of_another_architecture_are_refused_with_their_keys(tmp_path):
    save_weights(small(classes=4), tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as caught:
        load_weights(small(classes=3), tmp_path / "w.safetensors")
    assert "classifier.weight [4, 256] in the file, [3, 256] in the model" in str(caught.value)
    with pytest.raises(ModelError, match="102 missing") as caught:
        build("resnet18", num_classes=3, weights=tmp_path / "w.safetensors")
    assert "(conv1.weight [64, 3, 7, 7], bn1.weight [64], bn1.bias [64], ...)" in str(caught.value)
    assert "137 unexpected (classifier.bias [4]" in str(caught.value)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch pickle_was_run",)


def test_no_pickle_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(small(), tmp_path / "w.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(small(), tmp_path / "p.pt")
    assert not (tmp_path / "pickle_was_run").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_damaged_and_missing_weight_files(tmp_path, name):
    with pytest.raises(ModelError, match="There is no weight file"):
        load_weights(small(), tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights at all")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        load_weights(small(), tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        load_weights(small(), tmp_path / "list.pt")


def test_weights_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Cannot write"):
        save_weights(small(), tmp_path / "file" / "w.safetensors")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    save_weights(small(1), tmp_path / "w.safetensors")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        save_weights(small(2), tmp_path / "w.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "w.safetensors"]
    monkeypatch.undo()
    other = small(3)
    load_weights(other, tmp_path / "w.safetensors")
    assert_same(other, small(1))  # the old file is whole


def test_published_weights_but_for_the_classifier(monkeypatch):
    published = squeezenet1_1(weights=None)
    monkeypatch.setattr(
        WeightsEnum, "get_state_dict", lambda _self, **_: dict(published.state_dict())
    )
    model = build("squeezenet1_1", num_classes=5, weights="pretrained")
    assert torch.equal(model.features[0].weight, published.features[0].weight)
    assert model.classifier[1].weight.shape == (5, 512, 1, 1)
    full = build("squeezenet1_1", num_classes=1000, weights="IMAGENET1K_V1")
    assert torch.equal(full.classifier[1].weight, published.classifier[1].weight)
    with pytest.raises(UnknownName, match="did you mean IMAGENET1K_V1"):
        build("squeezenet1_1", num_classes=5, weights="IMAGENET1K_V9")
    with pytest.raises(ModelError, match="no published weights"):
        build("mobilenet_v1", num_classes=5, weights="pretrained")


def test_published_weights_without_a_network(monkeypatch):
    def offline(_self, **_):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(WeightsEnum, "get_state_dict", offline)
    with pytest.raises(ModelError, match=r"cannot be downloaded .*no route to host"):
        build("squeezenet1_1", num_classes=5, weights="DEFAULT")


def test_a_path_object_is_always_a_file():
    with pytest.raises(ModelError, match="There is no weight file pretrained"):
        build("squeezenet1_1", num_classes=5, weights=Path("pretrained"))


def test_a_network_is_built_anew_as_its_published_weights_were_trained(monkeypatch, tmp_path):
    published = googlenet(weights=None, init_weights=False)
    monkeypatch.setattr(
        WeightsEnum, "get_state_dict", lambda _self, **_: dict(published.state_dict())
    )
    source = Source("googlenet", {}, "pretrained", 32)
    subject = assemble(source)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = subject.module.eval()
        for norm in [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]:
            norm.weight.data.uniform_(0.8, 1.2)
    images = torch.rand(1, 3, 32, 32)
    save_weights(model, tmp_path / "w.safetensors")
    again = ModelSpec.from_json(json.loads(json.dumps(subject.spec.to_json()))).build().eval()
    elsewhere = assemble(replace(source, weights=None, seen_by="pretrained")).module.eval()
    for other in (again, elsewhere):
        restore(other, tmp_path / "w.safetensors")
        assert torch.equal(other(images), model(images))
    asked = assemble(replace(source, args={"transform_input": False})).spec.args
    assert asked == {"transform_input": False}
    assert assemble(replace(source, weights=None)).spec.args == {}


@pytest.fixture
def published_file(monkeypatch, tmp_path):
    """Writes weights as a file that torchvision publishes for a model, under another name."""

    def write(name, model):
        path = tmp_path / "mine.bin"
        torch.save(model.state_dict(), path)
        begins = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        member = get_model_weights(name).IMAGENET1K_V1
        url = f"https://download.pytorch.org/models/{name}-{begins}.pth"
        monkeypatch.setattr(member, "_value_", replace(member.value, url=url))
        return str(path)

    return write


def test_a_published_file_is_known_by_its_content(published_file, tmp_path, caplog):
    model = googlenet(num_classes=10, init_weights=False, transform_input=True)
    path = published_file("googlenet", model)
    assert published_as("googlenet", path) == "IMAGENET1K_V1"
    assert published_as("inception_v3", path) is None
    assert preset_of("googlenet", path) == preset_of("googlenet", "pretrained") is not None
    subject = assemble(Source("googlenet", {}, path, 32, data="digits"))
    assert subject.spec.args == {"transform_input": True}
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(subject.module.eval()(images), model.eval()(images))
    assert not caplog.records
    config = RunConfig("googlenet", "digits", (), weights=path)
    settings = settings_of(config, subject, (), tmp_path / "run", fresh=False)
    Path(path).unlink()  # what goes on from the run needs the file no more
    assert settings["seen_by"] == "IMAGENET1K_V1"
    assert settings["model"]["args"] == subject.spec.args


def test_weights_that_do_not_tell_how_they_were_trained_are_warned_of(
    published_file, tmp_path, caplog
):
    model = googlenet(weights=None, init_weights=False)
    path = tmp_path / "anew.safetensors"
    save_weights(model, path)
    build("googlenet", num_classes=1000, weights=path, args={"transform_input": False})
    assert not caplog.records
    build("googlenet", num_classes=1000, weights=path)
    (record,) = caplog.records
    assert "does not tell whether it was trained with transform_input" in record.getMessage()
    assert str(path) in record.getMessage()


def test_a_densenet_takes_its_published_weights_under_their_old_names(monkeypatch, tmp_path):
    args = {"growth_rate": 4, "block_config": (2, 2), "num_init_features": 8}
    published = DenseNet(**args)
    names = {n: re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", n)
             for n in published.state_dict()}  # fmt: skip
    assert "features.denseblock1.denselayer2.norm.1.weight" in names.values()
    old = {names[name]: tensor for name, tensor in published.state_dict().items()}
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    other = DenseNet(**args)
    load_weights(other, tmp_path / "old.pth")
    assert_same(other, published)
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda _self, **_: dict(old))
    monkeypatch.setattr(torchvision.models, "densenet121", lambda **_: DenseNet(**args))
    assert_same(build("densenet121", num_classes=1000, weights="pretrained"), published)
