"""Strategies that change many groups at once: figures by hand, and what holds of all."""

import math
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.network import WEIGHTS, cost_of
from netadapt.search.pricing import Loads, Scale
from netadapt.search.schedule import even_target
from netadapt.search.selection import Candidate, gain_per_saving
from netadapt.search.strategies import (
    ROUNDS,
    STRATEGIES,
    Situation,
    knapsack,
    magnitude,
    random,
    several,
    uniform,
)
from netadapt.search.strategies.situation import alike
from tests.helloworld import helloworld

NET = helloworld()
FULL = 29232


def situation(share, *, sizes=None, multiple=8, scores=None, screen=None, **others):
    """The helloworld network, to get down to that share of its weights."""
    loads = Loads(NET, sizes or {}, {"w": WEIGHTS}, {"w": Scale(1.0, share * FULL)})
    return Situation(
        NET, loads, multiple, scores or alike(NET), screen or (lambda ps: [0.0] * len(ps)), **others
    )


def complete(proposal):
    return list(NET.complete(proposal.changes).values())


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(ROUNDS)),
    st.tuples(st.integers(1, 16), st.integers(1, 32), st.integers(1, 64)),
    st.sampled_from([1, 4, 8]),
    st.floats(0.01, 0.95),
    st.integers(0, 5),
)
def test_proposals_are_valid_and_reach_what_they_say(name, widths, multiple, share, seed):
    sizes = dict(zip(NET.groups, widths, strict=True))
    present = cost_of(WEIGHTS, NET.at(sizes))
    given_ = situation(
        share * present / FULL, sizes=sizes, multiple=multiple, seed=seed,
        scores=lambda group: [float((7 * u + seed) % 11) for u in range(sizes[group])],
        screen=lambda ps: [-len(p.name) - sum(p.changes.values()) % 5 for p in ps],
    )  # fmt: skip
    proposals = STRATEGIES[name](given_)
    choices = {group: NET.groups[group].smaller(size, multiple) for group, size in sizes.items()}
    least = {group: of[-1] for group, of in choices.items() if of}
    reachable = cost_of(WEIGHTS, NET.at({**sizes, **least})) <= share * present
    assert bool(proposals) == bool(least)
    for proposal in proposals:
        assert all(size in choices[group] for group, size in proposal.changes.items())
        price = cost_of(WEIGHTS, NET.at({**sizes, **proposal.changes}))
        assert proposal.load == pytest.approx(price / (share * present))
        if reachable:
            assert price <= share * present * (1 + 1e-9)
        else:
            assert proposal.changes == least


def test_magnitude_drops_the_least_units_of_all_groups():
    """One unit of each eight of conv2 scores a tenth: 8 of its 64 go, and no other group loses."""
    scores = {"conv0": [1.0] * 16, "conv1": [1.0] * 32, "conv2": [0.1, *[1.0] * 7] * 8}
    (proposal,) = magnitude.propose(situation(0.9, scores=scores.__getitem__))
    assert complete(proposal) == [16, 32, 56]  # 29232 - 9 * 8 * (32 + 10) = 26208 of 26308.8


def test_magnitude_compares_scores_as_they_are_only_where_they_are_comparable():
    """All of conv2 scores a quarter of the rest, which within the group says nothing."""
    scores = {"conv0": [1.0] * 16, "conv1": [1.0] * 32, "conv2": [0.25] * 64}
    (raw,) = magnitude.propose(situation(0.8, scores=scores.__getitem__, comparable=True))
    assert complete(raw) == [16, 32, 48]  # 29232 - 9 * 16 * (32 + 10) = 23184 of 23385.6
    (scaled,) = magnitude.propose(situation(0.8, scores=scores.__getitem__))
    assert complete(scaled) == [8, 24, 64]  # equals go in turn, from the first group on


def test_knapsack_keeps_what_is_worth_more_than_it_costs():
    """The last 8 of conv1 are worth nothing; without them 29232 - 9 * 8 * (16 + 64) = 23472."""
    scores = {"conv0": [1.0] * 16, "conv1": [0.0] * 8 + [1.0] * 24, "conv2": [1.0] * 64}
    for comparable in (True, False):
        asked = situation(0.85, scores=scores.__getitem__, comparable=comparable)
        (proposal,) = knapsack.propose(asked)
        assert complete(proposal) == [16, 24, 64]


def test_knapsack_is_the_best_of_all_networks_here():
    """Of all 2 * 4 * 8 widths within half of the weights, by their summed scores."""
    scores = {g: [1 + (3 * u) % 5 for u in range(n)] for g, n in NET.sizes.items()}
    ranked = {g: sorted(of, reverse=True) for g, of in scores.items()}

    def value(sizes):
        return sum(sum(ranked[group][:size]) for group, size in sizes.items())

    networks = [
        dict(zip(NET.groups, sizes, strict=True))
        for sizes in product((16, 8), range(32, 0, -8), range(64, 0, -8))
    ]
    within = [n for n in networks if cost_of(WEIGHTS, NET.at(n)) <= FULL / 2]
    (proposal,) = knapsack.propose(situation(0.5, scores=scores.__getitem__, comparable=True))
    assert value(NET.complete(proposal.changes)) == max(map(value, within))


def test_random_draws_follow_from_the_seed_and_the_iteration():
    def drawn(**others):
        return [dict(p.changes) for p in random.propose(situation(0.5, multiple=1, **others))]

    assert drawn(seed=3, iteration=2) == drawn(seed=3, iteration=2)
    assert drawn(seed=3, iteration=2) != drawn(seed=4, iteration=2)
    assert drawn(seed=3, iteration=2) != drawn(seed=3, iteration=3)
    assert len(drawn()) == random.DRAWS


def only_conv1_is_free(proposals):
    return [0.9 if proposal.name == "conv1" else 0.5 for proposal in proposals]


def test_several_takes_from_the_groups_that_lose_nothing():
    """Uniform keeps 8, 24 and 56: these and their shares squared are screened."""
    asked = []

    def screen(proposals):
        asked.extend((p.name, *p.changes.values()) for p in proposals)
        return only_conv1_is_free(proposals)

    proposals = several.propose(situation(0.9, screen=screen))
    assert asked == [
        ("conv0", 8), ("conv1", 24), ("conv1", 16), ("conv2", 56), ("conv2", 48),
    ]  # fmt: skip
    assert [complete(p) for p in proposals] == [[16, 24, 64], [8, 24, 56]]
    assert [p.name for p in proposals] == ["several", "uniform"]


def test_several_trusts_a_prediction_further_in_some_proposals_than_in_others():
    """Uniform keeps 8, 16 and 40 at half the weights; at trust 1.5 conv1 keeps 32 / 2 ** 1.5."""
    proposals = several.propose(situation(0.5, screen=only_conv1_is_free))
    conv1 = [p.changes["conv1"] for p in proposals if p.name == "several"]
    assert conv1[0] >= 32 / 2**1.5
    assert min(conv1) == 8


def test_a_candidate_that_failed_in_screening_is_not_proposed():
    def screen(proposals):
        return [-math.inf if p.name == "conv1" else 0.9 for p in proposals]

    first, *_ = several.propose(situation(0.9, screen=screen))
    assert "conv1" not in first.changes
    even = uniform.propose(situation(0.9))[0]
    assert several.propose(situation(0.9, screen=lambda ps: [-math.inf] * len(ps)))[-1] == even


def test_what_is_lost_goes_on_in_straight_lines_and_never_comes_back():
    drops = {64: 0.0, 48: 0.2, 32: 0.1}
    falls = [several.predicted(drops, size) for size in (64, 56, 48, 40, 32, 16)]
    assert falls == pytest.approx([0.0, 0.1, 0.2, 0.2, 0.2, 0.3])  # from 32 on 0.2 in 32 units


def test_even_steps_take_the_same_share_and_arrive():
    achieved, shares = 1.0, []
    for left in (4, 3, 2, 1):
        target = even_target(achieved=achieved, limit=0.5, left=left)
        shares.append(target / achieved)
        achieved = target
    assert shares == pytest.approx([0.5**0.25] * 4)
    assert achieved == pytest.approx(0.5)


def test_the_rule_of_mobilenet_v3_to_the_letter():
    lost = Candidate(0.90, 0.8, before=0.95, load_before=1.0)
    gained = Candidate(0.96, 0.5, before=0.95, load_before=1.0)
    idle = Candidate(0.99, 1.0, before=0.95, load_before=1.0)
    assert gain_per_saving(lost) == pytest.approx(-0.25)
    assert gain_per_saving(gained) == pytest.approx(0.02)
    assert gain_per_saving(idle) == -math.inf
