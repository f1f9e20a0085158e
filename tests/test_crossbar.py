"""Crossbars after ISAAC: its tile, the price of idle cells, and the widths that fill arrays."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.config import RunConfig
from netadapt.errors import UnmappableLayer
from netadapt.network import ChannelGroup, LayerShape, LayerSpec, Network, Width
from netadapt.platforms import open_platform
from netadapt.platforms.accelerators import crossbar
from netadapt.platforms.accelerators.crossbar import Crossbar, layer_energy, layout
from netadapt.platforms.accelerators.filling import (
    filling_inputs,
    filling_outputs,
    filling_sizes,
)
from netadapt.platforms.accelerators.loops import product_of
from netadapt.platforms.accelerators.published import ISAAC_TILE_PJ_PER_MAC
from netadapt.search.fleet import Device
from netadapt.space import as_preferred

ISAAC = Crossbar()
DRIVEN = Crossbar(gated=False)
DEPTHWISE = LayerShape("conv", 128, 128, (14, 14), (14, 14), (3, 3), padding=(1, 1), groups=128)


def pointwise(cin, cout):
    return LayerShape("conv", cin, cout, (7, 7), (7, 7))


def pj_per_mac(shape, hardware=ISAAC):
    return layer_energy(shape, hardware).energy_j * 1e12 / shape.macs


@pytest.mark.parametrize("hardware", [Crossbar(), DRIVEN])
def test_a_full_array_costs_what_isaacs_tile_does(hardware):
    assert pj_per_mac(pointwise(128, 16), hardware) == pytest.approx(
        ISAAC_TILE_PJ_PER_MAC, abs=0.01
    )


@pytest.mark.parametrize(
    ("shape", "gated", "driven", "utilisation"),
    [
        (pointwise(130, 32), 4.22, 5.29, 0.51),
        (pointwise(96, 32), 3.21, 3.58, 0.75),
        (DEPTHWISE, 36.6, 611, 0.004),
        (LayerShape("conv", 256, 256, (7, 7), (7, 7), (3, 3), padding=(1, 1)), 2.68, 2.68, 1.0),
    ],
    ids=str,
)
def test_idle_cells_are_paid_for(shape, gated, driven, utilisation):
    assert pj_per_mac(shape) == pytest.approx(gated, rel=0.002)
    assert pj_per_mac(shape, DRIVEN) == pytest.approx(driven, rel=0.002)
    assert layout(product_of(shape), Crossbar()).utilisation == pytest.approx(utilisation, rel=0.1)


def test_events_cost_what_table_one_divides_into():
    """ADC: 16 mW for the 8 of a unit, each 128 conversions in 100 ns."""
    assert pytest.approx(16e-3 / 8 * 100e-9 / 128 * 1e12) == crossbar.ADC_PJ == 1.5625
    assert pytest.approx(0.3906, abs=1e-4) == crossbar.DAC_PJ
    assert pytest.approx(0.3324, abs=1e-4) == crossbar.TILE_PJ


def test_latency_is_one_cycle_for_each_bit_and_pixel():
    assert layer_energy(pointwise(64, 64)).latency_s == pytest.approx(49 * 16 * 100e-9)
    assert layer_energy(pointwise(64, 64), Crossbar(input_bits=8)).latency_s == pytest.approx(
        49 * 8 * 100e-9
    )


def test_a_converter_with_more_columns_takes_longer():
    slow = layer_energy(pointwise(64, 64), Crossbar(columns=256)).latency_s
    assert slow == pytest.approx(2 * layer_energy(pointwise(64, 64)).latency_s)


def test_eight_bit_weights_take_half_the_converters():
    parts = {p.level: p.energy_j for p in layer_energy(pointwise(128, 32)).parts}
    small = {p.level: p.energy_j
             for p in layer_energy(pointwise(128, 32), Crossbar(weight_bits=8)).parts}  # fmt: skip
    assert small["adc"] == pytest.approx(parts["adc"] / 2)
    assert (Crossbar().filters, Crossbar(weight_bits=8).filters) == (16, 32)


def test_isaacs_converter_loses_no_bit():
    assert Crossbar().lossless_adc_bits == 8
    assert Crossbar(rows=256, cell_bits=4).lossless_adc_bits == 11


def test_fewer_bits_make_the_converter_cheaper_by_the_published_ratio():
    assert Crossbar(adc_bits=5).adc_pj == pytest.approx(1.5625 * 0.99 / 1.67)


def test_a_transposed_convolution_is_a_product_over_input_pixels():
    shape = LayerShape("conv_transpose", 8, 4, (7, 7), (14, 14), (2, 2), (2, 2))
    product = product_of(shape)
    assert (product.rows, product.columns, product.pixels) == (8, 16, 49)
    assert product.macs == shape.macs


def test_a_pooling_layer_is_no_product():
    with pytest.raises(UnmappableLayer, match="max_pool"):
        layer_energy(LayerShape("max_pool", 8, 8, (4, 4), (2, 2), (2, 2), (2, 2)))


def test_filling_widths_of_a_3x3_layer_by_hand():
    """128 rows hold 14 channels of 9 weights, 256 hold 28, 384 hold 42, 512 hold 56, 640 71."""
    shape = LayerShape("conv", 72, 40, (7, 7), (7, 7), (3, 3), padding=(1, 1))
    assert filling_inputs(shape, Crossbar()) == (14, 28, 42, 56, 71)
    assert filling_outputs(shape, Crossbar()) == (16, 32)
    assert filling_outputs(shape, Crossbar(weight_bits=8)) == (32,)


@given(st.integers(1, 600), st.integers(1, 100))
def test_one_input_more_than_fills_takes_another_row_of_arrays(cin, cout):
    shape = LayerShape("conv", cin, cout, (7, 7), (7, 7), (3, 3))

    def row_tiles(channels):
        taller = LayerShape("conv", channels, cout, (7, 7), (7, 7), (3, 3))
        return layout(product_of(taller), Crossbar()).row_tiles

    for width in filling_inputs(shape, Crossbar()):
        assert row_tiles(width + 1) == row_tiles(width) + 1


def chain(depthwise):
    """3x3 convolutions 3 > a > 10, with an optional depthwise one on a."""
    a = Width(0, (("a", 1),))
    layers = [LayerSpec("first", "conv", Width(3), a, (8, 8), (8, 8), (3, 3))]
    if depthwise:
        layers.append(LayerSpec("dw", "conv", a, a, (8, 8), (8, 8), (3, 3), groups=a))
    layers.append(LayerSpec("last", "conv", a, Width(10), (8, 8), (8, 8), (3, 3)))
    return Network((3, 8, 8), tuple(layers), {"a": ChannelGroup("a", 60, ())}, (), ())


@pytest.mark.parametrize("depthwise", [False, True])
def test_sizes_to_propose_are_the_edges_of_the_staircase(depthwise):
    """Filters of the first layer fill arrays by 16, inputs of the last one by 128 / 9."""
    found = filling_sizes(chain(depthwise), "a", Crossbar())
    assert found == (14, 16, 28, 32, 42, 48, 56, 60)


def test_the_hardware_names_technology_precision_and_batch():
    assert str(Crossbar()) == (
        "modelled ISAAC crossbars, 32 nm, 128x128, 16-bit weights in 2-bit cells, 16-bit inputs, "
        "8-bit ADC, idle columns resting, batch 1"
    )


def test_a_search_proposes_the_edges_unless_multiples_are_asked_for():
    uri = "crossbar:"
    platform = open_platform(uri)
    device = Device(uri, platform, platform.describe())
    config = RunConfig("net", "data", (), devices={uri: uri})
    network = as_preferred(config, chain(depthwise=True), device)
    assert network.groups["a"].choices(8) == (56, 48, 42, 32, 28, 16, 14)
    narrowed = network.narrow({"a": tuple(range(42))})
    assert narrowed.groups["a"].choices(8) == (32, 28, 16, 14)
    multiples = as_preferred(replace(config, multiple=20), chain(depthwise=True), device)
    assert multiples.groups["a"].choices(20) == (40, 20)


def test_other_hardware_prefers_multiples():
    platform = open_platform("optical:")
    device = Device("optical:", platform, platform.describe())
    network = as_preferred(RunConfig("net", "data", ()), chain(depthwise=False), device)
    assert network.groups["a"].preferred == ()
