"""Predicted against measured networks, on a device whose truth is known."""

import pytest

from netadapt.costs import MACS, cost_of
from netadapt.models import mobilenet_v1
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.tracing import trace
from netadapt.verification import kendall_tau, random_sizes, summarize, verify_table


def test_tau_counts_pairs_in_and_out_of_order():
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)  # two pairs agree, one not
    assert kendall_tau([1, 1], [1, 2]) == 0


def test_the_truth_is_without_error_and_macs_are_not():
    network = trace(mobilenet_v1(width=0.5, num_classes=10), (3, 32, 32))
    device = SyntheticPlatform()
    predictors = {"truth": device.truth, "MACs": lambda layers: cost_of(MACS, layers)}
    rows = verify_table(network, device, predictors, lambda sizes: b"", count=4)
    assert rows[0].sizes == {}
    assert all(size % 8 == 0 for row in rows[1:] for size in row.sizes.values())
    found = summarize(rows)
    assert found["networks"] == 4
    assert found["noise_max"] == 0
    assert found["truth"]["max"] == pytest.approx(0)
    assert found["truth"]["tau"] == pytest.approx(1)
    assert found["MACs"]["mean"] > 0.01


def test_the_same_seed_chooses_the_same_widths():
    network = trace(mobilenet_v1(width=0.5, num_classes=10), (3, 32, 32))
    assert random_sizes(network, 8, 1) == random_sizes(network, 8, 1)
    assert random_sizes(network, 8, 1) != random_sizes(network, 8, 2)
