"""Whole networks that correct a sum over layers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.errors import DeviceError
from netadapt.models import mobilenet_v1
from netadapt.tables.correction import Calibration, calibration_sizes, fit
from netadapt.tracing import trace


def test_without_networks_nothing_is_corrected():
    assert Calibration().apply(3e-3) == 3e-3
    assert Calibration(scale=2.0).apply(3e-3) == 6e-3


def test_the_exponent_counts_from_a_millisecond():
    assert Calibration(1.5, 0.5).apply(1e-3) == pytest.approx(1.5e-3)
    assert Calibration(1.5, 0.5).apply(4e-3) == pytest.approx(1.5 * 4e-3 * 2)
    assert Calibration(1.5, 0.5).apply(0.0) == 0.0
    assert Calibration(1.5, 0.5).apply(-1e-3) == -1.5e-3


def test_one_network_gives_the_scale_and_comes_out_exactly():
    found = fit([(3e-3, 2e-3)], networks="net")
    assert found == Calibration(pytest.approx(1.5), 0.0, "net")
    assert found.apply(2e-3) == pytest.approx(3e-3)


def test_two_networks_give_the_exponent_shrunk_by_its_prior():
    # sums of 1 ms and e ms: x = 0, 1 with variance 0.5; the prior weighs (0.01 / 0.1)^2 = 0.01
    truth = Calibration(1.2, 0.102)
    pairs = [(truth.apply(total), total) for total in (1e-3, math.e * 1e-3)]
    found = fit(pairs, networks="two")
    assert found.exponent == pytest.approx(0.102 * 0.5 / 0.51)
    assert math.log(found.scale) == pytest.approx(math.log(1.2) + (0.102 - 0.1) / 2)


@given(
    st.floats(0.2, 5), st.floats(-0.3, 0.3), st.lists(st.floats(1e-5, 1), min_size=2, max_size=2)
)
def test_the_order_of_networks_never_changes(scale, exponent, totals):
    found = fit([(Calibration(scale, exponent).apply(t), t) for t in (1e-4, 1e-3, 1e-2)],
                networks="three")  # fmt: skip
    low, high = sorted(totals)
    assert found.apply(low) <= found.apply(high)


@pytest.mark.parametrize("pair", [(0.0, 1e-3), (1e-3, 0.0), (1e-3, -1e-3)])
def test_times_that_cannot_be_are_refused(pair):
    with pytest.raises(DeviceError, match=r"above zero .*Measure it again"):
        fit([pair], networks="net")


def test_widths_to_calibrate_on_are_whole_blocks_and_differ():
    network = trace(mobilenet_v1(width=0.5, num_classes=10), (3, 32, 32))
    found = calibration_sizes(network, 16)
    assert list(found) == ["full", "3/4", "1/2", "uneven"]
    assert found["full"] == {}
    stem, last = "stem.conv", "pw13.conv"  # 16 and 512 channels
    assert stem not in found["1/2"]  # its single block is all it has
    assert [found[share][last] for share in ("3/4", "1/2")] == [384, 256]
    assert all(size % 16 == 0 for size in found["uneven"].values())
    shares = {size / network.sizes[group] for group, size in found["uneven"].items()}
    assert min(shares) >= 0.2
    assert len(shares) > 3
    assert list(calibration_sizes(network, 512)) == ["full"]
