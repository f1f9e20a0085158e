"""What a table says of layers that nothing measured surrounds."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import TableError
from netadapt.network import LayerShape
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.interpolation import MACS_PER_ELEMENT, work_of
from netadapt.tables.lookup import Entry, LookupTable

INFO = DeviceInfo("ort:cpu", "Abacus 9000", "beads", "onnxruntime 1.0", block=16, layout="NCHWc")
GROUPED = LayerShape("conv", 32, 32, (8, 8), (8, 8), kernel=(3, 3), padding=(1, 1), groups=4)
NARROW = LayerShape("conv", 64, 8, (8, 8), (8, 8))


def table(*rows):
    entries = {shape: Entry(p10, p10, p10, 48) for shape, p10 in rows}
    return LookupTable(INFO, entries, interpolated=True)


def test_work_is_macs_and_elements():
    # 64 * 8 * 64 MACs; 64 * 64 elements read, 8 * 64 written, 64 * 8 weights
    assert work_of(NARROW) == 32768 + MACS_PER_ELEMENT * (4096 + 512 + 512)


def test_the_nearest_row_of_the_kind_is_scaled_by_work():
    near, far = (dataclasses.replace(GROUPED, cin=n, cout=n) for n in (24, 8))
    priced = table((near, 3e-6), (far, 9e-6)).layer(GROUPED)
    assert priced == pytest.approx(3e-6 * work_of(GROUPED) / work_of(near))


def test_a_row_is_never_estimated_nor_is_what_lies_between_rows():
    rows = [(dataclasses.replace(NARROW, cin=a, cout=b), 1e-6) for a in (16, 64) for b in (16, 64)]
    made = table(*rows, (NARROW, 7e-6))
    between = dataclasses.replace(NARROW, cin=32, cout=48)
    below = dataclasses.replace(NARROW, cin=48)
    assert made.layer(NARROW) == 7e-6
    assert made.layer(between) == pytest.approx(1e-6)
    assert made.estimated([NARROW, between, below, below]) == (below,)
    assert made.lacking([NARROW, between, below])[-1] == below
    assert made.layer(below) == pytest.approx(7e-6 * work_of(below) / work_of(NARROW))


@pytest.mark.parametrize(
    "changes",
    [{"act": "relu"}, {"kernel": (1, 1)}, {"in_hw": (4, 4)}, {"op": "conv_transpose"}],
    ids=str,
)
def test_another_kind_tells_nothing(changes):
    with pytest.raises(TableError, match="nor for one like it"):
        table((GROUPED, 1e-6)).layer(dataclasses.replace(GROUPED, **changes))


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64))
def test_more_channels_from_the_same_row_never_cost_less(cin, cout, more):
    made = table((NARROW, 1e-6))
    small = dataclasses.replace(NARROW, cin=cin, cout=cout)
    large = dataclasses.replace(NARROW, cin=cin + more, cout=cout)
    assert made.layer(small) < made.layer(large)
