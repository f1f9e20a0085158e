"""What is accepted can be loaded: proved before a run says it is done, and before it trains."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

import netadapt
from netadapt import export
from netadapt.errors import CheckFailed, ModelError
from netadapt.models import ModelSpec
from netadapt.network import keep_first
from netadapt.pruning.surgery import shrink
from netadapt.tracing import trace

BUILT: list[nn.Module] = []


class Scaled(nn.Module):
    """A convolution whose outputs are multiplied by a buffer or by a plain tensor."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.last = nn.Conv2d(8, 4, 1)
        values = torch.full((1, 4, 1, 1), 2.0 + len(BUILT) if kind == "counted" else 2.0)
        if kind == "counted":
            self.scale = values  # another with each model that is built
        else:
            self.register_buffer("scale", values)
        BUILT.append(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.conv(x))) * self.scale


def steady() -> nn.Module:
    return Scaled("buffer")


def unsteady() -> nn.Module:
    return Scaled("counted")


def other_each_time() -> nn.Module:
    BUILT.append(nn.Identity())
    layers = {
        f"conv{len(BUILT)}": nn.Conv2d(3, 8, 3),
        "relu": nn.ReLU(),
        "last": nn.Conv2d(8, 2, 1),
    }
    return nn.Sequential(OrderedDict(layers))


IMAGES = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def opened(name: str) -> tuple[ModelSpec, nn.Module, object]:
    spec = ModelSpec(f"tests.test_proof:{name}", 4, (3, 6, 6))
    model = spec.build().eval()
    return spec, model, trace(model, spec.input_shape)


def written(folder, name: str):
    spec, model, network = opened(name)
    sizes = {g.id: 4 for g in network.groups.values() if not g.fixed}
    smaller = shrink(model, network, keep_first(network, sizes)).eval()
    export.write_result(folder, smaller, spec=spec, network=network, sizes=sizes, images=IMAGES)
    return smaller


def test_what_is_written_has_been_loaded(tmp_path):
    smaller = written(tmp_path, "steady")
    with torch.no_grad():
        assert torch.equal(netadapt.load(tmp_path)(IMAGES), smaller(IMAGES))


def test_what_loads_as_another_network_is_not_written(tmp_path):
    with pytest.raises(CheckFailed, match=r"differs by .* loaded by netadapt\.load"):
        written(tmp_path, "unsteady")
    assert not list(tmp_path.iterdir())


def test_a_broken_loader_is_not_written(tmp_path, monkeypatch):
    def broken(*_: object) -> tuple[str, str]:
        return "def load():\n    raise OSError('no such thing')\n", "graph"

    monkeypatch.setattr("netadapt.export.result.loader_source", broken)
    with pytest.raises(CheckFailed, match=r"load\(\) of load_adapted\.py: no such thing"):
        written(tmp_path, "steady")
    assert not list(tmp_path.iterdir())


def test_a_model_that_could_not_be_loaded_is_refused_before_it_is_trained():
    spec, model, network = opened("steady")
    export.rehearse(model, spec, network, IMAGES)
    for name, says in (
        ("unsteady", "neither a parameter nor a buffer"),
        ("other_each_time", r"cannot be loaded by netadapt\.load"),
    ):
        spec, model, network = opened(name)
        with pytest.raises(ModelError, match=says) as caught:
            export.rehearse(model, spec, network, IMAGES)
        assert "before any training" in str(caught.value)


def test_a_model_that_changes_its_input_in_place_is_proved_right(tmp_path):
    class InPlace(Scaled):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.mul_(2))

    model = InPlace("buffer").eval()
    before = IMAGES.clone()
    same = InPlace("buffer").eval()
    same.load_state_dict(model.state_dict())
    export.prove({"itself": lambda: same}, model, IMAGES)
    assert torch.equal(IMAGES, before)
    nothing = InPlace("buffer").eval()
    with pytest.raises(CheckFailed, match="loaded by another"):
        export.prove({"another": lambda: nothing}, model, IMAGES)


class Blurred(nn.Module):
    """Widths in a buffer outside the state dict, in a list, and in a number."""

    def __init__(self) -> None:
        super().__init__()
        self.parts, self.channels = [3, 5], 8
        self.conv, self.left, self.right = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(3, 4, 1),
            nn.Conv2d(5, 4, 1),
        )
        self.register_buffer("kernel", torch.full((8, 1, 3, 3), 1 / 9), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(self.conv(x), self.kernel, padding=1, groups=self.channels)
        left, right = x.split(self.parts, 1)
        return self.left(left) + self.right(right)


def blurred() -> nn.Module:
    return Blurred()


def test_widths_in_lists_numbers_and_unsaved_buffers_load(tmp_path) -> None:
    spec, model, network = opened("blurred")
    assert {spec.attr for spec in network.attrs if not spec.module} == {"parts", "channels"}
    sizes = {group.id: 2 for group in network.groups.values() if not group.fixed}
    keep = {g: units for g, units in keep_first(network, sizes).items() if g in sizes}
    pruned = shrink(model, network, keep).eval()
    export.write_result(tmp_path, pruned, spec=spec, network=network, sizes=sizes, images=IMAGES)
    loaded = netadapt.load(tmp_path)
    assert loaded.parts == [2, 2]
    assert loaded.channels == 4
    assert loaded.kernel.shape == (4, 1, 3, 3)
    assert torch.equal(loaded(IMAGES), pruned(IMAGES))


def test_an_exporters_cause_is_told_and_not_its_advice() -> None:
    layers = OrderedDict(body=nn.Conv2d(3, 8, 1), code=nn.Conv2d(8, 2, 1))
    with pytest.raises(ModelError) as refused:
        export.to_onnx(nn.Sequential(layers), (3, 6, 6))
    assert "cannot tell the model's 'code' from its own; rename it" in str(refused.value)
    assert "Next steps" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
