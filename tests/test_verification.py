"""Predicted against measured networks, on a device whose truth is known."""

import dataclasses

import pytest

from netadapt.models import mobilenet_v1
from netadapt.network import MACS, cost_of
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.tables.accuracy import (
    Accuracy,
    Sample,
    Tolerance,
    assess,
    halved_sizes,
    kendall_tau,
    observe,
    pearson,
    report,
)
from netadapt.tables.correction import Calibration, random_sizes
from netadapt.tables.lookup import LookupTable
from netadapt.tracing import trace

DEVICE = SyntheticPlatform()


@pytest.fixture(scope="module")
def network():
    return trace(mobilenet_v1(width=0.5, num_classes=10), (3, 32, 32))


@pytest.fixture(scope="module")
def found(network):
    return observe(network, DEVICE, lambda sizes: b"", Sample(16, unseen=4, halved=5))


def macs(layers):
    return cost_of(MACS, layers)


def test_tau_counts_pairs_in_and_out_of_order():
    assert kendall_tau([1, 2, 3], [10, 20, 30]) == 1
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1
    assert kendall_tau([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)  # two pairs agree, one not
    assert kendall_tau([1, 1], [1, 2]) == 0


def test_correlation_by_hand():
    assert pearson([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)  # covariance 1, variances 2 and 2
    assert pearson([1, 1], [1, 2]) == 0


def test_it_observes_calibration_random_and_halved_networks(network, found):
    assert [m.name for m in found.calibration] == ["full", "3/4", "1/2", "uneven"]
    assert [m.name for m in found.unseen] == [f"random {n}" for n in range(4)]
    assert [m.sizes for m in found.halved] == [{m.name: network.groups[m.name].size // 2}
                                               for m in found.halved]  # fmt: skip
    assert all(size % 16 == 0 for m in found.unseen for size in m.sizes.values())
    for m in (*found.calibration, *found.unseen, *found.halved):
        assert m.layers == network.at(m.sizes)
        assert m.cost == pytest.approx(DEVICE.truth(m.layers))
        assert m.noise == 0


def test_the_truth_is_without_error_and_macs_are_not(found):
    truth = assess(found, DEVICE.truth, calibrate=False)
    assert truth.most == pytest.approx(0)
    assert truth.tau == pytest.approx(1)
    assert truth.savings_r == pytest.approx(1)
    assert assess(found, macs, calibrate=True).mean > 0.01


def test_calibration_takes_a_wrong_scale_away_and_no_calibration_shows_it(found):
    def tripled(layers):
        return 3 * DEVICE.truth(layers)

    assert assess(found, tripled, calibrate=True).most < 1e-9
    assert assess(found, tripled, calibrate=False).errors == pytest.approx((2.0,) * 4)


def test_few_halved_groups_have_no_correlation(network):
    some = observe(network, DEVICE, lambda sizes: b"", Sample(16, unseen=2, halved=2))
    assert assess(some, DEVICE.truth, calibrate=False).savings_r is None


def test_groups_to_halve_are_spread_over_the_network(network):
    assert [g for g in halved_sizes(network, 16, 3)] == ["pw3.conv", "pw7.conv", "pw11.conv"]
    every = halved_sizes(network, 16, 99)
    assert len(every) == 13  # the stem has one block alone
    assert halved_sizes(network, 16, 0) == {}


def test_tolerances():
    assert Tolerance.usual(5e-3) == Tolerance(0.02, 0.05, 0.95)
    assert Tolerance.usual(5e-4) == Tolerance(0.05, 0.12, 0.95)
    assert Tolerance.usual(5e-4, "energy") == Tolerance(0.02, 0.05, 0.95)
    good = Accuracy((0.01, -0.03), tau=0.96)
    assert good.mean == pytest.approx(0.02)
    assert good.within(Tolerance(0.02 + 1e-9, 0.05))
    assert not good.within(Tolerance(0.019, 0.05))
    assert not good.within(Tolerance(0.03, 0.029))
    assert not dataclasses.replace(good, tau=0.9).within(Tolerance(0.03, 0.05))


def test_the_report_is_decided_by_the_first_predictor(found):
    table = LookupTable(DEVICE.describe(), calibration=Calibration(networks="net"))
    right, wrong = (assess(found, p, calibrate=False) for p in (DEVICE.truth, macs))
    assert report(table, found, {"table": right, "MACs": wrong})["ok"]
    assert not report(table, found, {"table": wrong, "truth": right})["ok"]
    said = report(table, found, {"table": right}, Tolerance(0.1, 0.2))
    assert said["tolerance"] == {"mean": 0.1, "max": 0.2, "tau": 0.95}
    assert len(said["networks"]) == 4 + 4 + 5


def test_the_same_seed_chooses_the_same_widths(network):
    assert random_sizes(network, 8, 1) == random_sizes(network, 8, 1)
    assert random_sizes(network, 8, 1) != random_sizes(network, 8, 2)
