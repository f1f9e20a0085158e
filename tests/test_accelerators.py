"""Modelled hardware as devices: what they offer, how they name themselves, and what they refuse."""

import pytest

from netadapt.errors import DeviceError, UnknownName, UnmappableLayer, UsageError
from netadapt.network import LayerShape, cost_of
from netadapt.platforms import LayerTimer, Modelled, Workload, open_layer_timer, open_platform
from netadapt.platforms.accelerators.eyeriss import Eyeriss
from netadapt.platforms.accelerators.layer_energy import LayerEnergy, Part, total
from netadapt.platforms.accelerators.noise import PCM
from netadapt.platforms.accelerators.optics import Optics
from netadapt.platforms.accelerators.report import energy_report, layer_energy

CONV = LayerShape("conv", 16, 32, (14, 14), (14, 14), (3, 3), padding=(1, 1))
POOL = LayerShape("global_pool", 32, 32, (14, 14), (1, 1))
HEAD = LayerShape("linear", 32, 10)
NET = Workload("net", b"", (CONV, POOL, HEAD))
ALL = ("eyeriss:", "eyeriss:?batch=4&costs=accelergy&zeros=0.5&dram=no", "crossbar:",
       "crossbar:?weight_bits=8&noise=pcm&seconds=86400", "optical:", "optical:?kind=mesh&size=64",
       "optical:?kind=link")  # fmt: skip


@pytest.mark.parametrize("uri", ALL)
def test_what_a_network_costs_is_the_sum_of_what_its_layers_cost(uri):
    platform = open_platform(uri)
    assert isinstance(platform, Modelled)
    readings = platform.measure_networks([NET])[0]
    assert set(readings) == set(platform.resources)
    for resource, reading in readings.items():
        assert reading.clock == "model"
        assert reading.value > 0
        assert reading.value == pytest.approx(cost_of(platform.cost(resource), NET.layers))
        assert reading.unit == platform.cost(resource).unit


@pytest.mark.parametrize("uri", ALL)
def test_a_network_of_which_nothing_is_modelled_costs_no_0(uri):
    pooling = Workload("pooling", b"", (POOL,))
    with pytest.raises(UnmappableLayer, match="pooling has no convolution or linear layer"):
        open_platform(uri).measure_networks([NET, pooling])


@pytest.mark.parametrize("uri", ALL)
def test_every_device_says_that_it_is_modelled_with_technology_precision_and_batch(uri):
    platform = open_platform(uri)
    info = platform.describe()
    assert platform.uri == info.platform == uri
    assert info.device.startswith("modelled ")
    assert "bit" in info.device
    assert f"batch {info.batch}" in info.device
    assert info.device.endswith("convolutions and linear layers alone")


def test_options_reach_the_hardware():
    platform = open_platform("eyeriss:?batch=4&dram=no")
    assert platform.hardware == Eyeriss(batch=4)
    assert platform.cost("energy").layer(CONV) == layer_energy(CONV, Eyeriss(batch=4)).without(
        "dram"
    )
    assert "without dram" in platform.describe().device
    assert open_platform("optical:?batch=8&kind=mesh").hardware == Optics("mesh", batch=8)
    noisy = open_platform("crossbar:?noise=pcm&seconds=60&chips=3")
    assert (noisy.analog.noise, noisy.analog.seconds, noisy.chips) == (PCM, 60.0, 3)
    assert open_platform("crossbar:").analog is None
    assert open_platform("crossbar:?noise=rram").chips == 10


def test_a_converter_too_coarse_for_its_sums_is_named_so():
    """128 cells of up to 3, in one bit of 7 + 2 that storing them inverted saves: 8 bits."""
    assert "8-bit ADC," in open_platform("crossbar:").describe().device
    coarse = open_platform("crossbar:?cell_bits=4").describe().device
    assert "8-bit ADC where exact sums need 10," in coarse


def test_the_multiple_of_a_crossbar_is_what_fills_its_columns():
    assert open_platform("crossbar:").describe().multiple == 16
    assert open_platform("crossbar:?weight_bits=8").describe().multiple == 32


def test_an_optical_link_has_no_latency():
    platform = open_platform("optical:?kind=link")
    assert platform.resources == ("energy",)
    assert platform.cost("latency") is None


def test_no_table_is_built_of_what_is_modelled():
    assert not isinstance(open_platform("eyeriss:"), LayerTimer)
    with pytest.raises(UsageError, match="does not time layers"):
        open_layer_timer("eyeriss:")


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("eyeriss:?batch=0", "batch is a whole number from 1 to 999999"),
        ("eyeriss:?batch=two", "batch is a whole number from 1 to 999999; found 'two'"),
        (f"eyeriss:?batch={'9' * 5000}", "found 5000 characters"),
        (f"crossbar:?rows={'9' * 400}", "found 400 characters"),
        ("crossbar:?cell_bits=17", "cell_bits from 1 to 16"),
        ("eyeriss:batch=4", r"write eyeriss:\?batch=4 or eyeriss:"),
        ("eyeriss:?zeros=1.5", "zeros is a share"),
        ("eyeriss:?zeros=many", "or a JSON file with a share for each layer; many cannot be read"),
        ("eyeriss:?dram=maybe", "dram is yes or no"),
        ("eyeriss:v2", "takes options alone"),
        ("crossbar:?adc_bits=3", "adc_bits from 4 to 10"),
        ("crossbar:?columns=4", "takes 8 columns, and an array has 4"),
        ("crossbar:?seconds=5", "needs noise=pcm"),
        ("crossbar:?noise=pcm&seconds=nan", "from programming on"),
        ("optical:?thermal=yes", "kind=mesh"),
        ("optical:?kind=link&components=aggressive", "kind=link has no components"),
    ],
)
def test_what_an_option_cannot_be_is_said_in_a_sentence(uri, said):
    with pytest.raises(UsageError, match=said):
        open_platform(uri)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("crossbar:?noise=pmc", "no noise preset 'pmc'; did you mean pcm"),
        ("eyeriss:?costs=isca", "no set of costs 'isca'"),
        ("optical:?kind=prism", "no kind of optical hardware 'prism'"),
        ("eyeriss:?threads=2", "no option of the platform eyeriss 'threads'"),
    ],
)
def test_an_unknown_name_is_met_with_the_known_ones(uri, said):
    with pytest.raises(UnknownName, match=said):
        open_platform(uri)


def test_a_layer_that_cannot_be_mapped_is_named():
    upward = LayerShape("conv_transpose", 8, 8, (4, 4), (8, 8), (2, 2), (2, 2))
    with pytest.raises(UnmappableLayer, match="conv_transpose 8>8 k2x2"):
        open_platform("eyeriss:").measure_networks([Workload("net", b"", (CONV, upward))])


@pytest.mark.parametrize("uri", ["eyeriss:", "crossbar:", "optical:"])
@pytest.mark.parametrize("op", ["matmul", "recurrent", "conv_nd", "deform_conv"])
def test_a_product_is_never_left_out_in_silence(uri, op):
    with pytest.raises(UnmappableLayer, match=op):
        open_platform(uri).cost("energy").layer(LayerShape(op, 8, 8, (4, 4), (4, 4)))


def test_a_network_of_unknown_layers_is_refused():
    with pytest.raises(DeviceError, match="those of file are not known"):
        open_platform("optical:").measure_networks([Workload("file", b"onnx", ())])


def test_a_report_names_what_it_leaves_out_and_sums_up():
    report = energy_report("net", (("c", CONV), ("p", POOL), ("h", HEAD)), Eyeriss(batch=2))
    assert report.residue == ("p",)
    assert report.names == ("c", "h")
    found = report.to_json()
    assert found["modelled"] is True
    assert found["batch"] == 2
    assert "batch 2" in found["hardware"]
    assert found["not_modelled"] == ["p"]
    assert found["energy_j"] == pytest.approx(sum(layer["energy_j"] for layer in found["layers"]))
    assert found["energy_j"] == pytest.approx(sum(part["energy_j"] for part in found["parts"]))
    assert found["energy_without_dram_j"] < found["energy_j"]


def test_zeros_of_a_layer_lower_its_energy_alone():
    layers = (("a", CONV), ("b", LayerShape("conv", 32, 32, (14, 14), (14, 14), (3, 3))))
    dense = energy_report("net", layers, Eyeriss())
    sparse = energy_report("net", layers, Eyeriss(), {"b": 0.9})
    assert sparse.layers[1].energy_j < dense.layers[1].energy_j

    def arithmetic(report):
        return next(p.energy_j for p in report.layers[0].parts if p.level == "mac")

    assert arithmetic(sparse) == arithmetic(dense)


def test_layers_add_up_level_by_level():
    first = LayerEnergy((Part("rf", "ifmap", 1.0), Part("dram", "weight", 2.0)), 1.0)
    second = LayerEnergy((Part("dram", "weight", 3.0),), 2.0)
    assert total([first, second]) == LayerEnergy(
        (Part("rf", "ifmap", 1.0), Part("dram", "weight", 5.0)), 3.0
    )
    assert total([first, LayerEnergy((), None)]).latency_s is None
