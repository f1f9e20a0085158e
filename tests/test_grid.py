"""The grid of measured widths, and the prices between them."""

import dataclasses

import pytest

from netadapt.errors import TableError
from netadapt.models import mobilenet_v1
from netadapt.network import LayerShape, least_sizes
from netadapt.platforms import OVERHEAD
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.tables.interpolation import Surface
from netadapt.tables.lookup import Entry, LookupTable
from netadapt.tables.plan import plan_grid
from netadapt.tracing import trace

INFO = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0", block=16, layout="NCHWc")


def conv(cin, cout, **more):
    return LayerShape("conv", cin, cout, (8, 8), (8, 8), **more)


def depthwise(channels):
    return conv(channels, channels, groups=channels, kernel=(3, 3), padding=(1, 1))


def entry(p10):
    return Entry(p10, p10, p10, 48)


CORNERS = {
    conv(16, 16): entry(1.0),
    conv(16, 64): entry(4.0),
    conv(64, 16): entry(3.0),
    conv(64, 64): entry(10.0),
}


def priced(shape, rows=CORNERS, layout="NCHWc"):
    found = Surface(rows, 16, layout).entry(shape)
    return found.p10 if found else None


def test_between_four_corners():
    # cin 32: a third of the way; cout 48: two thirds.
    # cin 16 edge: 1 + 2/3 * 3 = 3; cin 64 edge: 3 + 2/3 * 7 = 23/3; 2/3 * 3 + 1/3 * 23/3 = 41/9
    assert priced(conv(32, 48)) == pytest.approx(41 / 9)
    assert priced(conv(64, 64)) == 10.0


def test_a_block_begun_costs_as_much_as_a_whole_one():
    assert priced(conv(20, 36)) == priced(conv(32, 48))


def test_along_an_edge_and_by_channels():
    assert priced(conv(16, 32)) == pytest.approx(2.0)
    rows = {depthwise(16): entry(1.0), depthwise(48): entry(5.0)}
    assert priced(depthwise(32), rows) == pytest.approx(3.0)


@pytest.mark.parametrize(
    "shape",
    [
        conv(8, 32), conv(32, 8), conv(33, 32), conv(32, 80), conv(96, 96),
        conv(32, 32, act="relu"), conv(32, 32, groups=4),
        LayerShape("other", 32, 32), depthwise(32),
    ],
    ids=str,
)  # fmt: skip
def test_what_its_neighbours_do_not_tell_is_left_to_a_measurement(shape):
    assert priced(shape) is None


def test_in_nhwc_a_block_that_is_not_full_tells_nothing():
    assert priced(conv(20, 36), layout="NHWC") is None
    assert priced(conv(32, 48), layout="NHWC") == pytest.approx(41 / 9)


def test_a_missing_corner_is_not_made_up():
    rows = {shape: row for shape, row in CORNERS.items() if shape != conv(64, 64)}
    assert priced(conv(32, 32), rows) is None
    assert priced(conv(16, 32), rows) == pytest.approx(2.0)


def test_an_image_of_three_channels_has_one_axis():
    rows = {conv(3, 16): entry(1.0), conv(3, 64): entry(4.0)}
    assert priced(conv(3, 32), rows) == pytest.approx(2.0)


def test_only_an_interpolated_table_prices_between_what_it_measured(tmp_path):
    exact = LookupTable(INFO, CORNERS)
    assert exact.entry(conv(32, 48)) is None
    with pytest.raises(TableError, match="no row"):
        exact.layer(depthwise(32))
    grid = dataclasses.replace(exact, interpolated=True)
    assert grid.layer(conv(32, 48)) == pytest.approx(41 / 9)
    assert grid.missing([conv(32, 48)]) == (OVERHEAD, conv(32, 48))  # it has no row for all that
    grid.save(tmp_path / "t.csv")
    assert LookupTable.load(tmp_path / "t.csv").layer(conv(32, 48)) == grid.layer(conv(32, 48))


def test_a_grid_of_mobilenet_prices_all_of_its_widths():
    network = trace(mobilenet_v1(num_classes=1000), (3, 224, 224))
    grid = plan_grid(network, 16, 16)
    assert len(grid) < 150
    assert grid[: len(set(network.at({})))] == tuple(dict.fromkeys(network.at({})))
    ends = grid[len(set(network.at({}))) :]
    # then the ends of what computes most: the 1x1 convolutions of 56x56 (128 > 128) and 28x28 and
    # 14x14 do 51 million MACs each; of equals, the first in the network
    assert [(s.cin, s.cout, s.in_hw) for s in ends[:3]] == [
        (128, 16, (56, 56)), (16, 128, (56, 56)), (16, 16, (56, 56)),
    ]  # fmt: skip
    device = SyntheticPlatform(block=16, cold=0.0)
    table = dataclasses.replace(LookupTable(device.describe()), interpolated=True)
    table = table.fill(device, grid)
    for part in (2, 3, 4):
        sizes = {g: max(network.groups[g].size // part // 16, 1) * 16
                 for g in least_sizes(network, 16)}  # fmt: skip
        layers = network.at(sizes)
        # the synthetic device is linear in blocks: only the small bilinear terms differ
        assert table.price(layers) == pytest.approx(device.truth(layers), rel=0.005)


def test_steps_of_half_a_block_are_priced_down_to_a_block():
    network = trace(mobilenet_v1(num_classes=1000), (3, 224, 224))
    grid = plan_grid(network, 8, 16)
    assert len(grid) < 150
    rows = {shape: entry(1.0) for shape in grid}
    for sizes in ({"pw7.conv": 24}, {"pw7.conv": 16}, {"pw6.conv": 40, "pw7.conv": 88}):
        assert all(Surface(rows, 16, "NCHWc").entry(shape) for shape in network.at(sizes))
    below = [s for s in network.at({"pw7.conv": 8}) if not Surface(rows, 16, "NCHWc").entry(s)]
    assert {(s.cin, s.cout) for s in below} == {(512, 8), (8, 8), (8, 512)}
