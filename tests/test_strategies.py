"""Expectations from the unit tests of the official repository, reproduced by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.network import MACS, WEIGHTS, cost_of
from netadapt.search.pricing import Loads, Pricing, Scale, comfortable_reduction
from netadapt.search.schedule import Schedule
from netadapt.search.strategies import Situation, energy_ordered, one_group, uniform
from netadapt.search.strategies.situation import alike
from tests.helloworld import helloworld

FULL = 29232


def loads_of(network, sizes, cost, target):
    return Loads(network, sizes, {"cost": cost}, {"cost": Scale(bias=1.0, target=target)})


def propose(strategy, network, sizes, cost, target, multiple):
    loads = loads_of(network, sizes, cost, target)
    return strategy(Situation(network, loads, multiple, alike(network), screen=lambda _: []))


@pytest.mark.parametrize("cost", [WEIGHTS, MACS], ids=["weights", "macs"])
@pytest.mark.parametrize(
    ("group", "constraint", "width"),
    [
        ("conv0", FULL - 9 * 8 * (3 + 32), 8),
        ("conv1", FULL - 9 * 7 * (16 + 64), 25),
        ("conv2", FULL - 9 * 31 * (32 + 10), 33),
    ],
)
def test_most_channels_that_meet_the_target(group, constraint, width, cost):
    target = constraint * (1024 if cost is MACS else 1)
    proposals = {p.name: p for p in propose(one_group.propose, helloworld(), {}, cost, target, 1)}
    assert proposals[group].changes == {group: width}
    assert proposals[group].load == pytest.approx(1)
    assert proposals[group].reaches


@pytest.mark.parametrize("target", [1e-9, 1])
def test_out_of_reach_goes_as_far_as_one_group_can(target):
    proposals = propose(one_group.propose, helloworld(), {}, WEIGHTS, target, 1)
    assert [dict(p.changes) for p in proposals] == [{"conv0": 1}, {"conv1": 1}, {"conv2": 1}]
    assert not any(p.reaches for p in proposals)


def test_nothing_left_means_no_proposal():
    network = helloworld().narrow(dict.fromkeys(["conv0", "conv1", "conv2"], (0,)))
    assert propose(one_group.propose, network, {}, WEIGHTS, 1e-9, 1) == []


@given(st.tuples(st.integers(1, 16), st.integers(1, 32), st.integers(1, 64)), st.integers(1, FULL))
def test_the_next_larger_choice_misses_the_target(widths, target):
    net = helloworld()
    sizes = dict(zip(["conv0", "conv1", "conv2"], widths, strict=True))
    for proposal in propose(one_group.propose, net, sizes, WEIGHTS, target, 4):
        (group, size), = proposal.changes.items()  # fmt: skip
        price = cost_of(WEIGHTS, net.at({**sizes, group: size}))
        assert proposal.load == pytest.approx(price / target)
        if proposal.reaches:
            larger = [n for n in net.groups[group].choices(4) if size < n < sizes[group]]
            assert all(cost_of(WEIGHTS, net.at({**sizes, group: n})) > target for n in larger)


@given(st.integers(1, 16), st.integers(1, 32), st.integers(1, 64), st.integers(1, 64))
def test_repricing_one_group_equals_pricing_anew(a, b, c, new):
    net = helloworld()
    pricing = Pricing(net, {"conv0": a, "conv1": b, "conv2": c}, WEIGHTS)
    fresh = cost_of(WEIGHTS, net.at({"conv0": a, "conv1": b, "conv2": new}))
    assert pricing.changed({"conv2": new}) == fresh


def test_uniform_takes_the_largest_factor_that_meets_the_target():
    (proposal,) = propose(uniform.propose, helloworld(), {}, WEIGHTS, FULL / 2, 8)
    assert dict(proposal.changes) == {"conv0": 8, "conv1": 16, "conv2": 40}
    assert proposal.load * FULL / 2 == 9 * (3 * 8 + 8 * 16 + 16 * 40 + 40 * 10)


def test_the_paper_schedule_counts_from_what_was_achieved():
    schedule = Schedule(initial=0.1, decay=0.5)
    targets = [
        schedule.target(iteration=i, achieved=900, original=1000, reach=0) for i in (1, 2, 3, 9)
    ]
    assert targets == [800, 850, 875, 875]  # the floor is a quarter of the first reduction


@given(st.floats(0.01, 1), st.floats(0.5, 1), st.floats(1e-3, 1))
def test_the_schedule_reaches_every_budget(initial, decay, budget):
    schedule = Schedule(initial=initial, decay=decay)
    achieved = 1.0
    for iteration in range(1, int(4 / initial) + 2):
        achieved = schedule.target(iteration=iteration, achieved=achieved, original=1.0, reach=0)
    assert achieved <= budget


def test_comfortable_reduction_is_half_of_what_a_third_can_save():
    # at one unit each, conv0 saves 15*35*9 = 4725, conv1 31*80*9 = 22320, conv2 63*42*9 = 23814;
    # a third of three groups is one
    assert comfortable_reduction(helloworld(), {}, WEIGHTS, 1) == 23814 / 2


def test_the_load_is_the_largest_over_all_bounds():
    scales = {"a": Scale(bias=2.0, target=FULL), "b": Scale(bias=1.0, target=1024 * FULL / 4)}
    loads = Loads(helloworld(), {}, {"a": WEIGHTS, "b": MACS}, scales)
    assert loads.present == 4  # twice the weights, four times the MACs
    assert loads.changed({"conv2": 62}) == pytest.approx(4 * 28476 / FULL)
    assert loads.prices({"conv2": 62}) == {"a": 28476, "b": 28476 * 1024}


def test_the_costliest_layer_goes_first_and_no_further_than_it_must():
    # Weights: conv0 3*16*9, conv1 16*32*9, conv2 32*64*9, conv3 64*10*9: conv2 is the largest.
    (proposal,) = propose(energy_ordered.propose, helloworld(), {}, WEIGHTS, 0.9 * FULL, 1)
    assert list(proposal.changes) == ["conv2"]
    one = {p.name: p for p in propose(one_group.propose, helloworld(), {}, WEIGHTS, 0.9 * FULL, 1)}
    assert proposal == one["conv2"]


def test_of_the_costliest_layer_that_side_goes_of_which_more_is_left():
    # conv2 has 32 * 40 * 9 = 11520 weights, more than conv3's 40 * 10 * 9 = 3600 and conv1's 4608;
    # 40 of 64 outputs are left, and all of its 32 inputs.
    (proposal,) = propose(energy_ordered.propose, helloworld(), {"conv2": 40}, WEIGHTS, 18000, 1)
    assert list(proposal.changes) == ["conv1"]


def test_where_outputs_may_not_shrink_the_inputs_of_the_costliest_layer_do():
    # 3*9*16 + 16*9*1 + 1*9*64 = 1152 weights before conv3's 64*9*10 = 5760.
    sizes = {"conv1": 1}
    (proposal,) = propose(energy_ordered.propose, helloworld(), sizes, WEIGHTS, 5000, 1)
    assert list(proposal.changes) == ["conv2"]
    # With 16 inputs left conv3 has 1440, and conv2 144: conv3 still is the largest.
    sizes = {"conv1": 1, "conv2": 16}
    (proposal,) = propose(energy_ordered.propose, helloworld(), sizes, WEIGHTS, 1900, 1)
    assert list(proposal.changes) == ["conv2"]


def test_with_nothing_left_the_costliest_layer_proposes_nothing():
    network = helloworld().narrow(dict.fromkeys(["conv0", "conv1", "conv2"], (0,)))
    assert propose(energy_ordered.propose, network, {}, WEIGHTS, 1e-9, 1) == []
