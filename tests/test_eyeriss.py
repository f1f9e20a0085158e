"""Eyeriss: the model against the chip's own tables, and what no chip has measured."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netadapt.errors import UnmappableLayer
from netadapt.network import LayerShape
from netadapt.platforms.accelerators.eyeriss import (
    Eyeriss,
    layer_energy,
    split,
)
from netadapt.platforms.accelerators.eyeriss_costs import ACCELERGY, JSSC2017
from netadapt.platforms.accelerators.eyeriss_mapping import best_mapping
from netadapt.platforms.accelerators.layer_energy import total
from netadapt.platforms.accelerators.loops import loops_of
from netadapt.platforms.accelerators.published import (
    ALEXNET,
    ALEXNET_BATCH,
    VGG16,
    VGG16_BATCH,
)
from netadapt.platforms.accelerators.row_stationary import (
    RowStationary,
    Zeros,
    accesses,
    compressed,
    most_filters,
    sets_of,
)
from netadapt.platforms.accelerators.sparsity import zeros_by_layer

CHIP = [(layer, ALEXNET_BATCH) for layer in ALEXNET] + [(layer, VGG16_BATCH) for layer in VGG16]


def ids(case):
    return case[0].name


def moved(layer, batch):
    return accesses(loops_of(layer.shape), layer.mapping, batch, layer.zeros)


def chip_j(layer, batch, total_s=None):
    """Modelled joules of the batch, without DRAM, by the chip's mapping."""
    energy = layer_energy(layer.shape, Eyeriss(batch), layer.zeros, layer.mapping, total_s)
    return energy.without("dram") * batch


def conv(cin, cout, side, kernel=3, stride=1, groups=1, dilation=1):
    out = -(-side // stride)
    return LayerShape(
        "conv", cin, cout, (side, side), (out, out), (kernel, kernel), (stride, stride),
        (dilation * (kernel // 2),) * 2, (dilation, dilation), groups,
    )  # fmt: skip


@pytest.mark.parametrize("layer", ALEXNET, ids=lambda layer: layer.name)
def test_buffer_traffic_of_alexnet_is_that_of_the_chip(layer):
    assert moved(layer, ALEXNET_BATCH).buffer_bytes * 1e-6 == pytest.approx(
        layer.buffer_mb, rel=0.005
    )


def test_buffer_traffic_of_vgg_is_near_that_of_the_chip():
    traffic = sum(moved(layer, VGG16_BATCH).buffer_bytes for layer in VGG16) * 1e-6
    assert traffic == pytest.approx(sum(layer.buffer_mb for layer in VGG16), rel=0.06)


@pytest.mark.parametrize(("net", "batch"), [(ALEXNET, ALEXNET_BATCH), (VGG16, VGG16_BATCH)])
def test_dram_traffic_is_near_that_of_the_chip(net, batch):
    traffic = sum(2e-6 * moved(layer, batch).dram_words for layer in net)
    assert traffic == pytest.approx(sum(layer.dram_mb for layer in net), rel=0.06)


@pytest.mark.parametrize("case", CHIP, ids=ids)
def test_processing_time_is_near_that_of_the_chip(case):
    layer, batch = case
    assert moved(layer, batch).processing_s == pytest.approx(layer.processing_s, rel=0.06)


@pytest.mark.parametrize("layer", ALEXNET, ids=lambda layer: layer.name)
def test_energy_of_alexnets_layers_is_near_the_chips_given_its_time(layer):
    joules = chip_j(layer, ALEXNET_BATCH, layer.total_s)
    assert joules == pytest.approx(layer.energy_j, rel=0.10)


def test_energy_of_vgg_is_near_the_chips_given_its_time():
    joules = sum(chip_j(layer, VGG16_BATCH, layer.total_s) for layer in VGG16)
    assert joules == pytest.approx(sum(layer.energy_j for layer in VGG16), rel=0.15)


def test_the_whole_of_alexnet_is_near_the_chips_with_modelled_time():
    joules = sum(chip_j(layer, ALEXNET_BATCH) for layer in ALEXNET)
    assert joules == pytest.approx(sum(layer.energy_j for layer in ALEXNET), rel=0.03)


@pytest.mark.parametrize("layer", ALEXNET[2:], ids=lambda layer: layer.name)
def test_the_search_finds_the_chips_mapping_of_the_later_layers(layer):
    assert best_mapping(loops_of(layer.shape), ALEXNET_BATCH, JSSC2017) == layer.mapping


@pytest.mark.parametrize("case", CHIP, ids=ids)
def test_the_search_is_never_worse_than_the_chip(case):
    layer, batch = case
    dense = layer_energy(layer.shape, Eyeriss(batch), mapping=layer.mapping)
    assert layer_energy(layer.shape, Eyeriss(batch)).energy_j <= dense.energy_j * 1.0001


@pytest.mark.parametrize("case", CHIP, ids=ids)
def test_the_chips_mappings_fit_the_chip(case):
    layer, _ = case
    loops = loops_of(layer.shape)
    assert layer.mapping.m <= most_filters(loops, layer.mapping)
    assert layer.mapping.r * layer.mapping.t <= sets_of(loops.kernel[0], layer.mapping.e)


def mobilenet(width, side):
    """MobileNetV1's convolutions and classifier."""

    def channels(n):
        return int(n * width)

    shapes = [conv(3, channels(32), side, stride=2)]
    side, cin = side // 2, channels(32)
    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
    for cout, stride in [*blocks, (1024, 2), (1024, 1)]:
        shapes.append(conv(cin, cin, side, stride=stride, groups=cin))
        side //= stride
        shapes.append(conv(cin, channels(cout), side, kernel=1))
        cin = channels(cout)
    return [*shapes, LayerShape("linear", cin, 1000)]


def test_mobilenet_to_alexnet_is_within_twice_what_the_authors_found():
    """Eyeriss v2 (JETCAS 2019): MobileNet-0.5-128 is 17.9x as fast as AlexNet, 16.8x inf/J."""
    light = total([layer_energy(s, Eyeriss(1)) for s in mobilenet(0.5, 128)])
    heads = [LayerShape("linear", 9216, 4096), LayerShape("linear", 4096, 4096)]
    shapes = [*(layer.shape for layer in ALEXNET), *heads, LayerShape("linear", 4096, 1000)]
    heavy = total([layer_energy(s, Eyeriss(1)) for s in shapes])
    assert 17.9 / 2 < heavy.latency_s / light.latency_s < 17.9 * 2
    assert 16.8 / 2 < heavy.without("dram") / light.without("dram") < 16.8 * 2


def test_counts_of_a_small_convolution_by_hand():
    """2 channels of 4x6, 3 filters of 3x3, output 2x4: all in one pass, for one image."""
    shape = LayerShape("conv", 2, 3, (4, 6), (2, 4), (3, 3))
    found = accesses(loops_of(shape), RowStationary(e=2, p=3, q=2, r=1, t=1, m=3, n=1, u=1), 1)
    assert found.macs == 3 * 2 * 9 * 8
    assert found.buffer_psum == 2 * 3 * 8
    assert found.buffer_ifmap == 2 * 4 * 6
    assert found.array_psum == 3 * 8 * (3 - 1)
    assert (found.dram_weight, found.dram_ifmap, found.dram_psum) == (54, 48, 24)
    assert found.cycles == max(4 * 3 * 2 * 3, 2 * 4 * 3 / 4, 2 * 4 * 6) + 54 / 4 + 300


def test_two_channel_passes_move_each_sum_twice():
    shape = LayerShape("conv", 2, 3, (4, 6), (2, 4), (3, 3))
    found = accesses(loops_of(shape), RowStationary(e=2, p=3, q=1, r=1, t=1, m=3, n=1, u=1), 1)
    assert found.buffer_psum == 2 * (2 * 3 * 8)


def test_zeros_compress_only_from_a_quarter_on():
    assert compressed(0.0) == compressed(0.25) == 1.0
    assert compressed(0.625) == 0.5


def test_an_image_is_read_from_dram_as_it_is():
    shape = conv(3, 64, 14)
    dense, image, coded = (
        accesses(loops_of(shape), RowStationary(7, 16, 1, 1, 1, 16, 1, 1), 1, zeros)
        for zeros in (Zeros(), Zeros(0.625, coded=False), Zeros(0.625))
    )
    assert image.dram_ifmap == dense.dram_ifmap == 2 * coded.dram_ifmap
    assert image.nonzero_macs == coded.nonzero_macs


def test_zero_inputs_gate_arithmetic_but_not_their_own_reading():
    shape = conv(64, 64, 14)
    dense = {(p.level, p.data): p.energy_j for p in layer_energy(shape).parts}
    sparse = {(p.level, p.data): p.energy_j
              for p in layer_energy(shape, zeros=Zeros(0.5, 0.0)).parts}  # fmt: skip
    assert sparse["mac", "other"] == pytest.approx(dense["mac", "other"] / 2)
    assert sparse["rf", "psum"] == pytest.approx(dense["rf", "psum"] / 2)
    assert sparse["rf", "ifmap"] == dense["rf", "ifmap"]
    assert sparse["buffer", "psum"] == dense["buffer", "psum"]


def test_weights_are_read_once_for_the_images_of_a_pass():
    shape = LayerShape("linear", 4096, 4096)
    one, many = (
        next(p.energy_j for p in layer_energy(shape, Eyeriss(batch)).parts
             if (p.level, p.data) == ("dram", "weight"))
        for batch in (1, 16)
    )  # fmt: skip
    assert many == pytest.approx(one / 16)


@pytest.mark.parametrize(
    "shape",
    [
        conv(64, 64, 14, groups=64),
        conv(64, 128, 14, groups=4),
        conv(64, 128, 56, kernel=1),
        conv(64, 128, 56, kernel=1, stride=2),
        conv(64, 64, 28, dilation=2),
        conv(16, 16, 28, dilation=12),
        conv(3, 16, 64, kernel=15, stride=2),
        LayerShape("conv", 8, 8, (5, 40), (5, 40), (1, 7), padding=(0, 3)),
        LayerShape("conv", 8, 8, (300, 20), (300, 20), (3, 3), padding=(1, 1)),
        LayerShape("linear", 512, 10),
        LayerShape("linear", 64, 64, (49, 1), (49, 1)),
    ],
    ids=str,
)
def test_every_kind_of_layer_has_a_price_above_its_arithmetic(shape):
    found = layer_energy(shape, Eyeriss(2))
    assert found.energy_j > shape.macs * 5 * 1.694e-12
    assert found.latency_s > shape.macs / (168 * 200e6) * 0.99
    assert {part.data for part in found.parts} == {"ifmap", "weight", "psum", "other"}


def test_a_dilated_convolution_moves_what_ordinary_ones_on_its_phases_move():
    dilated = loops_of(conv(16, 16, 28, dilation=2))
    phase = loops_of(conv(16, 16, 14))
    mapping = RowStationary(e=14, p=16, q=4, r=1, t=1, m=16, n=1, u=1)
    assert (dilated.images, dilated.out_hw) == (4, (14, 14))
    assert (
        accesses(dilated, mapping, 1).buffer_ifmap == 4 * accesses(phase, mapping, 1).buffer_ifmap
    )


def test_a_strided_pointwise_convolution_reads_only_the_rows_it_needs():
    assert loops_of(conv(8, 8, 56, kernel=1, stride=2)).rows_in(28) == 28


def test_filters_beyond_the_array_are_cut_into_channels():
    found = split(loops_of(conv(3, 16, 64, kernel=15)))
    assert (found.channels, found.kernel) == (3 * 4, (8, 8))


@pytest.mark.parametrize("shape", [
    LayerShape("conv_transpose", 8, 8, (4, 4), (8, 8), (2, 2), (2, 2)),
    LayerShape("max_pool", 8, 8, (4, 4), (2, 2), (2, 2), (2, 2)),
    conv(8, 8, 16, stride=2, dilation=2),
], ids=str)  # fmt: skip
def test_what_cannot_be_mapped_says_so(shape):
    with pytest.raises(UnmappableLayer, match="cannot be mapped"):
        layer_energy(shape)


def test_cost_sets_differ_and_name_themselves():
    shape = conv(64, 64, 14)
    ours, theirs = (layer_energy(shape, Eyeriss(1, costs)) for costs in (JSSC2017, ACCELERGY))
    assert ours.energy_j != pytest.approx(theirs.energy_j, rel=0.1)
    assert "65 nm, 1 V, 16 bits" in str(Eyeriss())
    assert "costs accelergy, batch 4" in str(Eyeriss(4, ACCELERGY))


def test_a_layers_output_has_the_zeros_of_the_next_layers_input():
    found = zeros_by_layer({"a": 0.0, "b": 0.5}, ("a", "b", "c"), default=Zeros(0.25, 0.25))
    assert found == (Zeros(0.0, 0.5, coded=False), Zeros(0.5, 0.25), Zeros(0.25, 0.0))


@settings(max_examples=30, deadline=None)
@given(cin=st.integers(1, 300), cout=st.integers(1, 300), side=st.integers(1, 60),
       kernel=st.sampled_from([1, 3, 5, 7]), batch=st.integers(1, 4))  # fmt: skip
def test_any_convolution_maps_and_moves_at_least_each_word_once(cin, cout, side, kernel, batch):
    loops = loops_of(conv(cin, cout, side, kernel))
    mapping = best_mapping(loops, batch, JSSC2017)
    found = accesses(loops, mapping, batch)
    assert mapping.m <= most_filters(loops, mapping)
    assert found.dram_weight >= cin * cout * kernel * kernel
    assert found.dram_psum == batch * cout * side * side
    assert found.buffer_psum >= 2 * found.dram_psum
    assert found.cycles >= found.macs / 168


def test_the_mapping_of_a_shape_is_searched_once():
    loops = replace(loops_of(conv(31, 37, 11)))
    before = best_mapping.cache_info().hits
    assert best_mapping(loops, 1, JSSC2017) is best_mapping(loops, 1, JSSC2017)
    assert best_mapping.cache_info().hits == before + 1


@settings(max_examples=30, deadline=None)
@given(cin=st.integers(1, 200), cout=st.integers(1, 200), side=st.integers(1, 40),
       kernel=st.sampled_from([1, 3, 5]), batch=st.integers(1, 512))  # fmt: skip
@example(cin=100, cout=60, side=57, kernel=5, batch=6)
def test_an_image_never_costs_more_in_twice_the_batch(cin, cout, side, kernel, batch):
    """Two batches one after the other are a way to compute the double one."""
    shape = conv(cin, cout, side, kernel=kernel)
    single, double = (layer_energy(shape, Eyeriss(images)) for images in (batch, 2 * batch))
    assert double.energy_j <= single.energy_j * (1 + 1e-9)
