"""Zeros among activations: measured or given, they change what layers cost, and what is pruned."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from netadapt.adapt import describe_network
from netadapt.assembly import Assembly
from netadapt.cli import main
from netadapt.errors import UnknownName, UsageError
from netadapt.models import ModelSpec, save_weights
from netadapt.network import LayerShape, Network
from netadapt.platforms import Workload, open_platform
from netadapt.platforms.accelerators.eyeriss import Eyeriss, layer_energy
from netadapt.platforms.accelerators.row_stationary import Zeros
from netadapt.search.fleet import Device
from netadapt.search.pricing import Loads, Scale
from netadapt.search.strategies import energy_ordered
from netadapt.search.strategies.situation import Situation, alike
from netadapt.space import told_zeros
from netadapt.tracing import trace

PJ = 1e-12
FIRST = LayerShape("conv", 8, 8, (4, 4), (4, 4), name="a")
SECOND = LayerShape("conv", 8, 8, (4, 4), (4, 4), name="b")
IMAGES = torch.tensor([1.0, 2.0, 3.0, 0.0]).reshape(1, 1, 2, 2)


def told(shares, uri="eyeriss:?zeros=measured"):
    """The chip, told the zeros of two layers."""
    return open_platform(uri).with_zeros(("a", "b"), shares)


def test_layers_of_one_shape_cost_what_their_own_zeros_leave():
    """A quarter of zeros spares a quarter of 4 accesses of 1.694 pJ for each of 1024 products.

    These are the product itself, its weight, and its sum read and written; 3/4 of the words at 64
    bits for 48 are as long as before in DRAM, so that nothing else changes.
    """
    assert (FIRST, hash(FIRST), FIRST.macs) == (SECOND, hash(SECOND), 1024)
    cost = told({"b": 0.25}).cost("energy")
    assert cost.layer(FIRST) - cost.layer(SECOND) == pytest.approx(1024 * 1.694 * PJ)
    dense = open_platform("eyeriss:").cost("energy")
    assert cost.layer(FIRST) == dense.layer(FIRST) == dense.layer(SECOND)


def test_zeros_shorten_what_dram_hands_over_to_the_next_layer():
    """Half of zeros leaves 2/3 of the 128 words that ``a`` writes and ``b`` reads, in DRAM.

    Each spares 128 / 3 words: 200 * 1.694 pJ, and 1.3 ns a byte of clock at 0.145 W.
    """
    cost, dense = told({"b": 0.5}).cost("energy"), open_platform("eyeriss:").cost("energy")
    word_j = 200 * 1.694 * PJ + 2 * 1.3e-9 * 0.145
    assert dense.layer(FIRST) - cost.layer(FIRST) == pytest.approx(128 / 3 * word_j)
    assert dense.layer(SECOND) - cost.layer(SECOND) == pytest.approx(
        128 / 3 * word_j + 0.5 * 4 * 1.694 * PJ * 1024
    )
    faster = told({"b": 0.5}).cost("latency")
    assert open_platform("eyeriss:").cost("latency").layer(FIRST) - faster.layer(FIRST) == (
        pytest.approx(128 / 3 * 2 * 1.3e-9)
    )


def test_a_network_is_measured_with_the_zeros_that_it_was_priced_with():
    platform = told({"a": 0.25, "b": 0.5})
    cost = platform.cost("energy")
    (reading,) = platform.measure_networks([Workload("net", b"", (FIRST, SECOND))])
    assert reading["energy"].value == pytest.approx(cost.layer(FIRST) + cost.layer(SECOND))


def relu_chain():
    """Of the images' 4 pixels one is zero; of the 8 numbers after ReLU 5 are."""
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        first.bias.zero_()
    module = nn.Sequential(first, nn.ReLU(), second)
    task = SimpleNamespace(
        batches=lambda split, batch_size: iter([(IMAGES, None)]), metric_name="", train=(),
        metric_is_share=True, holdout=(), test=(),
    )  # fmt: skip
    return Assembly("chain", task, ModelSpec("chain", 1, (1, 2, 2), {}), module)


def test_zeros_are_measured_in_holdout_images_and_told_to_the_device():
    subject = relu_chain()
    platform = told_zeros(open_platform("eyeriss:?zeros=measured"), subject)
    assert platform.sparsity.shares == {"0": 1 / 4, "2": 5 / 8}
    first, second = subject.network.at({})[0], subject.network.at({})[-1]
    cost = platform.cost("energy")
    for shape, zeros in ((first, Zeros(1 / 4, 5 / 8, coded=False)), (second, Zeros(5 / 8, 0.0))):
        assert cost.layer(shape) == layer_energy(shape, Eyeriss(), zeros).energy_j
    device = Device("chip", platform, platform.describe())
    traced = describe_network(subject.network, subject.task, 8, (device,))
    assert traced.zeros == {"0": 1 / 4, "2": 5 / 8}
    assert "zeros by layer, measured in holdout images" in device.info.device


def test_other_devices_are_told_nothing():
    for uri in ("eyeriss:", "eyeriss:?zeros=0.5", "crossbar:", "optical:"):
        platform = open_platform(uri)
        assert told_zeros(platform, relu_chain()) is platform


def chain() -> Network:
    """Three layers of one shape, the last of which may not shrink."""
    return trace(nn.Sequential(*(nn.Conv2d(8, 8, 1) for _ in range(3))), (8, 4, 4))


@pytest.mark.parametrize(("sparse", "costliest"), [("0", "1"), ("1", "0")])
def test_the_search_begins_at_the_layer_that_is_costliest_by_its_own_zeros(sparse, costliest):
    network = chain()
    names = [layer.name for layer in network.costed]
    platform = open_platform("eyeriss:?zeros=measured").with_zeros(names, {sparse: 0.25, "2": 0.25})
    loads = Loads(network, {}, {"energy": platform.cost("energy")}, {"energy": Scale(1.0, 1.0)})
    situation = Situation(network, loads, 1, alike(network), lambda proposals: [])
    assert energy_ordered.in_order(situation)[0] == costliest


@pytest.mark.parametrize("nested", [True, False])
def test_zeros_are_given_in_a_file(tmp_path, nested):
    path = tmp_path / "zeros.json"
    path.write_text(json.dumps({"zeros": {"a": 0.25, "b": 1}} if nested else {"a": 0.25, "b": 1}))
    platform = open_platform(f"eyeriss:?zeros={path}")
    assert not platform.needs_zeros
    assert platform.sparsity.shares == {"a": 0.25, "b": 1.0}
    with pytest.raises(UsageError, match="the zeros of each layer of one network"):
        platform.cost("energy")
    cost = platform.with_zeros(("a", "b"), platform.sparsity.shares).cost("energy")
    assert cost.layer(FIRST) == layer_energy(FIRST, Eyeriss(), Zeros(0.25, 1.0)).energy_j


@pytest.mark.parametrize("text", ["{}", "[0.5]", '{"a": 1.5}', '{"a": "0.5"}', '{"a": true}',
                                  '{"a": NaN}', '{"zeros": {}}', "zeros"])  # fmt: skip
def test_a_file_that_holds_no_shares_is_refused(tmp_path, text):
    path = tmp_path / "zeros.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"zeros\.json"):
        open_platform(f"eyeriss:?zeros={path}")


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "zeros.json"
    path.write_text('{"conv9": 0.5}')
    with pytest.raises(UnknownName, match=r"'conv9'.*zeros\.json tells its zeros"):
        told_zeros(open_platform(f"eyeriss:?zeros={path}"), relu_chain())


@pytest.fixture
def run(capsys):
    """Exit code, what a command prints, and its errors."""

    def netadapt(*args):
        with pytest.raises(SystemExit) as stop:
            main([*args])
        printed = capsys.readouterr()
        return stop.value.code, printed.out, printed.err

    return netadapt


NET = ("mobilenet_v1", "-a", "width=0.25")
DRY = ("--data", "digits", "--budget", "energy=50%", "--dry-run", "--json", "--on")


def test_a_run_is_steered_by_the_zeros_of_its_weights(run, tmp_path):
    weights = tmp_path / "w.safetensors"
    save_weights(ModelSpec("mobilenet_v1", 10, (3, 32, 32), {"width": 0.25}).build(), weights)
    model = (*NET, "--weights", str(weights))
    code, shown, _ = run("inspect", *model, "--data", "digits", "--on", "eyeriss:", "--json")
    assert code == 0
    path = tmp_path / "shown.json"
    path.write_text(shown)
    originals = [
        json.loads(run("adapt", *model, *DRY, f"eyeriss:?zeros={zeros}")[1])["bounds"][0][
            "original"
        ]
        for zeros in ("measured", path, "0")
    ]
    assert originals[0] == pytest.approx(json.loads(shown)["energy_j"])
    assert originals[0] == originals[1] < originals[2]


def test_zeros_of_a_network_that_is_not_trained_are_refused_with_the_remedy(run):
    code, _, said = run("adapt", *NET, *DRY, "eyeriss:?zeros=measured")
    assert code == 2
    assert "counts zeros in a trained network" in said
    code, _, said = run("measure", *NET, "--on", "eyeriss:?zeros=measured")
    assert code == 2
    assert "the zeros of each layer of one network" in said
    code, _, said = run("inspect", *NET, "--on", "eyeriss:?zeros=measured")
    assert code == 2
    assert "no data set was named" in said
