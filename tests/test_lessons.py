"""What a search learns of its prices from the networks that it measures."""

import math
import random
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.models import mobilenet_v1
from netadapt.network import MACS, LayerShape, cost_of, keep_first
from netadapt.platforms import Workload
from netadapt.platforms.synthetic import SwitchingEnergy, SyntheticPlatform
from netadapt.runs import Outcome, Run, Step, StepCost
from netadapt.runs.events import Started
from netadapt.search.budgets import Bound, Meter
from netadapt.search.lessons import LOOSE, NOISE, Corrected, Lesson, corrected, learned
from netadapt.search.loop import Space, search
from netadapt.search.schedule import Schedule
from netadapt.search.strategies import one_group
from netadapt.search.strategies.situation import alike
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest, plan
from netadapt.tables.powers import layer_class
from netadapt.testing import CostContract
from netadapt.tracing import trace

NETWORK = trace(mobilenet_v1(width=0.25, num_classes=10), (3, 32, 32))
PLATFORM = SyntheticPlatform(block=8)


class Bent:
    """Whole networks cost a power of the sum, as by a table that is calibrated."""

    unit = "s"

    def layer(self, shape):
        return MACS.layer(shape)

    def network(self, layers, weights):
        return layers**1.1


def lesson(depthwise, pointwise, measured, noise=NOISE):
    return Lesson({"depthwise": depthwise, "pointwise": pointwise}, 0, measured, noise)


def ratio(factors):
    return factors["depthwise"] / factors["pointwise"]


PAIRS = [(2.0, 6.0), (3.0, 3.0), (1.0, 7.0)]


@pytest.mark.parametrize(("cost", "power"), [(MACS, 1.0), (Bent(), 1.1)])
def test_exact_measurements_tell_how_the_classes_compare(cost, power):
    """Depthwise layers take 1.4 times their price, beside the others.

    Of all factors of that ratio, those nearest to 1 are the root of 1.4 and its inverse.
    """
    told = [lesson(d, p, 5 * (1.4 * d + p) ** power, noise=1e-4) for d, p in PAIRS]
    factors = learned(cost, told)
    assert factors["depthwise"] == pytest.approx(1.4**0.5, abs=1e-3)
    assert factors["pointwise"] == pytest.approx(1.4**-0.5, abs=1e-3)


def test_what_is_hardly_known_hardly_counts():
    told = [lesson(d, p, 1.4 * d + p) for d, p in PAIRS]
    wrong = lesson(1.0, 3.0, 8.0)  # twice what it is priced at
    assert ratio(learned(MACS, [*told, replace(wrong, noise=1.0)])) == pytest.approx(
        ratio(learned(MACS, told)), abs=0.01
    )
    assert ratio(learned(MACS, [*told, wrong])) < 0.99 * ratio(learned(MACS, told))


def test_the_noise_of_a_network_is_that_of_its_price_and_of_its_measurement():
    conv = LayerShape("conv", 16, 16, (4, 4), (4, 4))
    assert Lesson.of(MACS, [conv, conv], 9.0, None) == Lesson(
        {"pointwise": 2 * 16 * 16 * 16}, 2 * 16 * 16, 9.0, NOISE
    )
    assert Lesson.of(MACS, [conv], 9.0, 0.0196).noise == pytest.approx((0.01**2 + NOISE**2) ** 0.5)


prices = st.floats(0.5, 8.0)
networks = st.lists(st.tuples(prices, prices, st.floats(0.2, 5.0)), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(networks, st.floats(1e-6, 1e6))
def test_factors_are_above_zero_and_those_of_any_common_scale(networks, scale):
    told = [lesson(d, p, (d + p) * off) for d, p, off in networks]
    factors = learned(MACS, told)
    assert min(factors.values()) > 0
    scaled = learned(MACS, [replace(x, measured=x.measured * scale) for x in told])
    assert scaled == pytest.approx(factors, abs=2e-3)


@settings(max_examples=30, deadline=None)
@given(networks)
def test_factors_go_no_further_from_1_than_they_mend(networks):
    """Their share of the sum of squares is at most what all of it is where each is 1."""
    told = [lesson(d, p, (d + p) * off) for d, p, off in networks]
    logs = [math.log(off) for _, _, off in networks]
    mean = math.fsum(logs) / len(logs)
    plain = math.fsum((log - mean) ** 2 for log in logs) / NOISE**2
    moved = math.fsum(math.log(factor) ** 2 for factor in learned(MACS, told).values())
    assert moved <= LOOSE**2 * plain + 1e-2


def test_noise_alone_teaches_next_to_nothing():
    source = random.Random(0)
    for _ in range(20):
        told = [lesson(d, p, (d + p) * source.gauss(1, NOISE)) for d, p in 4 * PAIRS]
        assert learned(MACS, told) == pytest.approx({"depthwise": 1, "pointwise": 1}, abs=0.05)


HALF = {group: size // 2 for group, size in NETWORK.sizes.items()}
UNEVEN = {group: size - size // 4 * (k % 3) for k, (group, size) in enumerate(HALF.items())}
SIZES = [{}, HALF, UNEVEN]


def taught(cost, measured, resource="latency"):
    """What the unpruned network and two others teach, measured as told by their layers."""
    readings = [measured(NETWORK.at(sizes)) for sizes in SIZES]
    steps = [
        Step(n, "", keep_first(NETWORK, sizes), {resource: StepCost(value, 2 * n + 3, value)}, 0.9)
        for n, (sizes, value) in enumerate(zip(SIZES, readings, strict=True))
    ]
    bounds = [Bound(Meter(resource), 0.5 * readings[0], readings[0])]
    return steps, corrected(NETWORK, {resource: cost}, bounds, steps)[resource]


def test_the_present_network_comes_at_the_price_that_was_predicted_of_it():
    steps, cost = taught(Bent(), PLATFORM.truth)
    assert cost.unit == "s"
    assert cost_of(cost, NETWORK.at(UNEVEN)) == pytest.approx(steps[-1].costs["latency"].predicted)
    assert ratio(cost.factors) > 1.1  # per multiply-accumulate, depthwise is slower


class TestCorrected(CostContract):
    @pytest.fixture
    def cost(self):
        return Corrected(Bent(), {"convolution": 0.8, "pointwise": 1.3}, scale=2.0)


def test_what_is_counted_needs_no_lesson():
    _, cost = taught(MACS, lambda shapes: 2 * cost_of(MACS, shapes), "macs")
    assert cost is MACS


def test_a_closed_form_that_readings_follow_stays_as_it_is():
    form = SwitchingEnergy()
    _, cost = taught(form, lambda shapes: 3 * cost_of(form, shapes), "energy")
    assert set(cost.factors.values()) == {1.0}


def test_of_a_network_that_measures_nothing_nothing_is_learned():
    _, cost = taught(MACS, lambda shapes: 0.0)
    assert cost is MACS


def misleading():
    """A table of the device whose depthwise rows are half of what they should be."""
    info = PLATFORM.describe()
    shapes = plan(TableRequest(NETWORK, {}, 8), info)
    table = LookupTable(info, interpolated=True).fill(PLATFORM, shapes)
    entries = {
        shape: replace(entry, p10=entry.p10 / 2) if layer_class(shape) == "depthwise" else entry
        for shape, entry in table.entries.items()
    }
    return replace(table, entries=entries)


class Killed(Exception):
    pass


class Shop:
    """Measures the truth; accuracies are drawn."""

    def __init__(self, trials=math.inf):
        self.trials = trials

    def costs(self, sizes):
        return {"latency": TABLE}

    def scores(self, step):
        return alike(NETWORK.narrow(step.keep))

    def attempt(self, step, proposals, rung):
        for index, proposal in proposals.items():
            self.trials -= 1
            if self.trials < 0:
                raise Killed
            kept = {group: tuple(range(size)) for group, size in proposal.changes.items()}
            accuracy = random.Random(f"{step.iteration} {proposal.name}").random()
            yield Outcome(index, rung, accuracy, {**step.keep, **kept})

    def _measured(self, keep):
        shapes = NETWORK.at({group: len(units) for group, units in keep.items()})
        return PLATFORM.measure_networks([Workload("a network", b"", shapes)])[0]

    def measure(self, step, index, outcome, *, doubted=False):
        return {"latency": self._measured(outcome.keep)["latency"]}

    def settle(self, step):
        return {"latency": self._measured(step.keep)["latency"]}

    def weights(self, iteration, index):
        return f"candidate-{iteration}-{index}"

    def keep(self, step):
        pass

    def finish(self, step):
        return self.settle(step)


TABLE = misleading()


def steps_of_search(folder, shop):
    original = PLATFORM.truth(NETWORK.at({}))
    first = StepCost(original, cost_of(TABLE, NETWORK.at({})), original)
    bounds = (Bound(Meter("latency"), 0.5 * original, original),)
    space = Space(NETWORK, bounds, one_group.propose, Schedule(0.05, decay=1.0), multiple=8)
    with Run(folder, Started(2, {}, {}, {})) as run:
        if not run.steps:
            run.commit(Step(0, "", {}, {"latency": first}, 0.9))
        search(space, shop, run)
        return run.steps


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    return steps_of_search(tmp_path_factory.mktemp("search") / "run", Shop())


def test_a_table_that_misleads_in_one_class_misleads_less_as_networks_are_measured(steps):
    """Held against the same table rescaled alone, at each step from the fourth on."""
    learned_off, plain_off = [], []
    for old, new in pairwise(steps[3:]):
        before, after = (s.costs["latency"] for s in (old, new))
        prices = [cost_of(TABLE, NETWORK.at(s.sizes)) for s in (old, new)]
        learned_off.append(abs(before.bias * after.predicted / after.measured - 1))
        plain_off.append(abs(prices[1] / prices[0] * before.measured / after.measured - 1))
    assert len(plain_off) > 5
    assert fmean(learned_off) < 0.75 * fmean(plain_off)


def test_a_search_that_is_continued_learns_the_same(steps, tmp_path):
    with pytest.raises(Killed):
        steps_of_search(tmp_path / "cut", Shop(trials=60))
    assert steps_of_search(tmp_path / "cut", Shop()) == steps
