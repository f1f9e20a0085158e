"""What ``inspect --on`` shows of a network's energy, and what it counts for it."""

import builtins
import json

import pytest
import torch
from torch import nn

from netadapt.cli import main
from netadapt.errors import UnmappableLayer, UsageError
from netadapt.network import LayerShape
from netadapt.platforms.accelerators.crossbar import Crossbar
from netadapt.platforms.accelerators.eyeriss import Eyeriss
from netadapt.platforms.accelerators.report import energy_report
from netadapt.report.energy_bars import energy_bars, energy_figure
from netadapt.tracing import trace
from netadapt.tracing.zeros import ifmap_zeros

LAYERS = (
    ("first", LayerShape("conv", 3, 8, (8, 8), (8, 8), (3, 3), padding=(1, 1))),
    ("pool", LayerShape("global_pool", 8, 8, (8, 8), (1, 1))),
    ("head", LayerShape("linear", 8, 10)),
)


@pytest.mark.parametrize(("hardware", "batch"), [(Eyeriss(batch=4), 4), (Crossbar(), 1)])
def test_every_bar_says_its_batch_and_all_bars_are_the_whole_network(hardware, batch):
    figure = energy_figure(energy_report("net", LAYERS, hardware))
    above, below = figure.axes
    labels = [label.get_text() for label in below.get_xticklabels()]
    assert labels == [f"first (batch {batch})", f"head (batch {batch})"]
    for axes in (above, below):
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(100)
    assert f"batch {batch}" in figure.get_suptitle()
    assert "modelled" in figure.get_suptitle()


def test_a_report_is_drawn_as_png():
    assert energy_bars(energy_report("net", LAYERS, Eyeriss())).startswith(b"\x89PNG")


def test_a_network_of_which_nothing_is_modelled_is_refused_and_is_not_0():
    with pytest.raises(UnmappableLayer, match="net has no convolution or linear layer"):
        energy_report("net", LAYERS[1:2], Eyeriss())


def test_without_matplotlib_the_remedy_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'netadapt\[plots\]'"):
        energy_bars(energy_report("net", LAYERS, Eyeriss()))


def test_zeros_are_counted_where_a_layer_reads_them():
    """The first layer reads the images; the second what is left of them after ReLU."""
    first, second = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)
    with torch.no_grad():
        first.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
        first.bias.zero_()
    module = nn.Sequential(first, nn.ReLU(), second).train()
    network = trace(module, (1, 2, 2))
    images = torch.tensor([1.0, 2.0, 3.0, 0.0]).reshape(1, 1, 2, 2)
    assert ifmap_zeros(module, network, [images, images]) == {"0": 1 / 4, "2": 5 / 8}
    assert module.training
    assert not first._forward_pre_hooks


@pytest.fixture
def run(capsys):
    """Exit code and all that ``netadapt inspect`` prints."""

    def inspect(*args):
        with pytest.raises(SystemExit) as stop:
            main(["inspect", *args])
        printed = capsys.readouterr()
        return stop.value.code, printed.out + printed.err

    return inspect


def test_inspect_shows_energy_by_layer_level_and_kind_of_data(run, tmp_path):
    picture = tmp_path / "energy.png"
    args = ("mobilenet_v1", "-a", "width=0.25", "--input-size", "64", "--classes", "10")
    code, output = run(*args, "--on", "eyeriss:?batch=4", "--plot", str(picture))
    assert code == 0
    assert "65 nm, 1 V, 16 bits, costs jssc2017, batch 4" in output
    assert "for one image of a batch of 4" in output
    assert all(word in output for word in ("buffer", "dram", "ifmap", "weight", "psum"))
    assert "Not modelled, and in no figure" in output
    assert picture.read_bytes().startswith(b"\x89PNG")
    as_json = json.loads(run(*args, "--on", "eyeriss:?batch=4", "--json")[1])
    assert as_json["modelled"] is True
    assert len(as_json["layers"]) == 28
    assert as_json["energy_j"] == pytest.approx(sum(p["energy_j"] for p in as_json["parts"]))


def test_a_level_that_the_device_leaves_out_is_left_out_here_too_and_said(run):
    args = ("mobilenet_v1", "-a", "width=0.25", "--input-size", "32", "--classes", "10", "--json")
    whole, chip = (
        json.loads(run(*args, "--on", f"eyeriss:?dram={flag}")[1]) for flag in ("yes", "no")
    )
    assert chip["energy_j"] == pytest.approx(whole["energy_without_dram_j"])
    assert {"dram"} == {p["level"] for p in whole["parts"]} - {p["level"] for p in chip["parts"]}
    assert "without dram" in chip["hardware"]


def test_zeros_of_real_images_lower_the_energy(run):
    args = ("mobilenet_v1", "-a", "width=0.25", "--on", "eyeriss:", "--json")
    dense = json.loads(run(*args, "--input-size", "32", "--classes", "10")[1])
    sparse = json.loads(run(*args, "--data", "digits", "--input-size", "32")[1])
    assert sparse["energy_j"] < dense["energy_j"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--on", "ort:cpu"), "no modelled hardware"),
        (("--on", "eyeriss:", "--verify"), "--on shows energy alone"),
        (("--plot", "energy.png"), "give --on with them"),
    ],
)
def test_what_does_not_go_together_is_said(run, args, said):
    code, output = run("mobilenet_v1", *args)
    assert code == 2
    assert said in output
