"""The sizes of all groups at once: against brute force, and on costs that neighbours share."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.network import WEIGHTS, cost_of
from netadapt.search.pricing import Loads, Scale
from netadapt.search.strategies.allocation import BINS, allocate, choose, worth
from tests.helloworld import helloworld

NET = helloworld()
FULL = 29232

lists = st.lists(
    st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 12)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def best_by_brute_force(items, capacity):
    totals = [
        sum(value for value, _ in chosen)
        for chosen in product(*items)
        if sum(cost for _, cost in chosen) <= capacity
    ]
    return max(totals, default=None)


@given(lists, st.sampled_from([0, 1, 2, 4, 5, 8, 10, 16, 20, 25]))
def test_the_choice_is_the_best_there_is(items, capacity):
    """The capacities divide the 2000 steps, so that whole costs are whole steps."""
    assert capacity == 0 or BINS % capacity == 0
    values = [[value for value, _ in of] for of in items]
    costs = [[cost for _, cost in of] for of in items]
    places = choose(values, costs, capacity)
    expected = best_by_brute_force(items, capacity)
    if expected is None:
        assert places is None
    else:
        assert sum(of[place] for of, place in zip(costs, places, strict=True)) <= capacity
        assert sum(of[place] for of, place in zip(values, places, strict=True)) == expected


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.floats(0.01, 3),
)
def test_rounding_never_lets_a_choice_cost_too_much(items, capacity):
    """And it loses no more than a step for each list."""
    places = choose([[v for v, _ in of] for of in items], [[c for _, c in of] for of in items],
                    capacity)  # fmt: skip
    certain = best_by_brute_force(items, capacity * (1 - len(items) / BINS))
    if places is None:
        assert certain is None
        return
    chosen = [of[place] for of, place in zip(items, places, strict=True)]
    assert sum(cost for _, cost in chosen) <= capacity * (1 + 1e-12)
    assert certain is None or sum(value for value, _ in chosen) >= certain - 1e-12


def test_nothing_fits_a_negative_capacity():
    assert choose([[1.0]], [[0.0]], -1.0) is None


def loads(share):
    return Loads(NET, {}, {"weights": WEIGHTS}, {"weights": Scale(1.0, share * FULL)})


def offers(*worths):
    """For each group of the network, sizes in quarters, each worth so much a unit."""
    return {
        group: {size * quarter // 4: each * (size * quarter // 4) for quarter in (1, 2, 3, 4)}
        for (group, size), each in zip(NET.sizes.items(), worths, strict=True)
    }


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(0.05, 5)] * 3), st.floats(0.1, 0.99))
def test_what_neighbours_share_is_priced_in_the_end(worths, share):
    """Never above a target, though each layer's cost is a product of two sizes that shrink."""
    values = offers(*worths)
    found = allocate(loads(share), values)
    combinations = [dict(zip(values, sizes, strict=True)) for sizes in product(*values.values())]
    within = [c for c in combinations if cost_of(WEIGHTS, NET.at(c)) <= share * FULL]
    if found is None:
        assert not within
    else:
        assert cost_of(WEIGHTS, NET.at(found)) <= share * FULL * (1 + 1e-12)
        ceiling = max(worth(values, c) for c in within)
        assert worth(values, found) >= 0.75 * ceiling


def test_the_group_that_is_worth_least_goes_first():
    """At 90 %, 26308: conv1 to 24 of 32 saves 9 * 8 * (16 + 64) = 5760, and is worth nothing."""
    assert allocate(loads(0.9), offers(1, 0.001, 1)) == {"conv0": 16, "conv1": 24, "conv2": 64}


def test_every_bound_holds():
    scales = {"loose": Scale(1.0, 0.8 * FULL), "tight": Scale(1.0, 0.5 * FULL)}
    both = Loads(NET, {}, dict.fromkeys(scales, WEIGHTS), scales)
    found = allocate(both, offers(1, 1, 1))
    assert cost_of(WEIGHTS, NET.at(found)) <= 0.5 * FULL


def test_out_of_reach_is_none():
    assert allocate(loads(0.01), offers(1, 1, 1)) is None


def test_loads_from_elsewhere_are_the_same_loads():
    moved = loads(0.5).moved({"conv1": 8})
    assert moved.sizes == {"conv0": 16, "conv1": 8, "conv2": 64}
    assert moved.changed({"conv0": 4}) == pytest.approx(
        loads(0.5).changed({"conv0": 4, "conv1": 8})
    )
