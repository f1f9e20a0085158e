"""What is to be measured, as a pure value."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.models import mobilenet_v1
from netadapt.network import least_sizes, shrinkable
from netadapt.platforms import OVERHEAD, REFILL, Effort
from netadapt.platforms.synthetic import SyntheticPlatform
from netadapt.search.pricing import Loads, Scale
from netadapt.search.strategies import Situation, uniform
from netadapt.search.strategies.situation import alike
from netadapt.tables.build import complete_table
from netadapt.tables.interpolation import work_of
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import TableRequest, measuring_s, plan, plan_grid
from netadapt.tracing import trace
from tests.helloworld import helloworld

NETWORK = trace(mobilenet_v1(width=0.25, num_classes=10), (3, 32, 32))
INFO = SyntheticPlatform(block=16).describe()


def test_the_overhead_then_the_grid_then_what_it_does_not_reach():
    shapes = plan(TableRequest(NETWORK, {}, 8), INFO)
    grid = plan_grid(NETWORK, 8, 16)
    assert shapes[:2] == (OVERHEAD, REFILL)
    assert shapes[2 : 2 + len(grid)] == grid
    assert len(set(shapes)) == len(shapes)
    beyond = shapes[2 + len(grid) :]
    assert beyond
    assert all(min(s.cin, s.cout) < 16 for s in beyond)  # narrower than a block, each of them


def test_what_is_known_is_not_measured_again():
    request = TableRequest(NETWORK, {}, 8)
    shapes = plan(request, INFO)
    assert plan(request, INFO, shapes) == ()
    half = shapes[: len(shapes) // 2]
    assert set(plan(request, INFO, half)) == set(shapes) - set(half)


def test_a_dense_plan_is_every_layer_that_one_group_changes():
    network = helloworld()
    shapes = plan(TableRequest(network, {}, 8, dense=True), INFO)[2:]
    # conv0: 3>16 or 8; conv1: 16>32, 24, 16, 8 or 8>32; conv2: 32>64 ... 8, or 24, 16, 8>64;
    # conv3: 64 ... 8>10; and the least network has 8>8, which conv1 and conv2 share
    assert len(shapes) == 2 + 5 + 11 + 8 + 1
    assert set(network.at({"conv1": 24})) <= set(shapes)


class Counted(SyntheticPlatform):
    """A device that is asked for nothing twice."""

    def measure_layers(self, shapes, effort, progress=None):
        assert not set(shapes) & self.asked
        self.asked.update(shapes)
        return super().measure_layers(shapes, effort, progress)


def test_the_same_request_measures_nothing_a_second_time(tmp_path):
    device = Counted()
    object.__setattr__(device, "asked", set())
    request = TableRequest(NETWORK, {"pw5.conv": 32}, 8)
    table = complete_table(LookupTable(device.describe()), device, request, path=tmp_path / "t.csv")
    assert complete_table(table, device, request, path=tmp_path / "t.csv") is table


TABLE = dataclasses.replace(LookupTable(INFO), interpolated=True).fill(
    SyntheticPlatform(block=16), plan(TableRequest(NETWORK, {}, 8), INFO)
)


@settings(max_examples=50)
@given(st.data())
def test_any_sizes_have_a_price_near_the_truth(data):
    sizes = {
        group.id: data.draw(st.sampled_from((group.size, *group.choices(8))))
        for group in shrinkable(NETWORK)
    }
    layers = NETWORK.at(sizes)
    truth = SyntheticPlatform(block=16).truth(layers)
    assert TABLE.price(layers) == pytest.approx(truth, rel=0.15)


def test_a_strategy_that_changes_all_groups_is_priced():
    least = TABLE.price(NETWORK.at(least_sizes(NETWORK, 8)))
    full = TABLE.price(NETWORK.at({}))
    for share in (0.9, 0.5, 0.1):
        target = least + share * (full - least)
        loads = Loads(NETWORK, {}, {"latency": TABLE}, {"latency": Scale(1.0, target)})
        situation = Situation(NETWORK, loads, 8, alike(NETWORK), screen=lambda _: [])
        [proposal] = uniform.propose(situation)
        assert TABLE.price(NETWORK.at(proposal.changes)) <= target


def test_time_to_measure_follows_from_the_effort():
    shapes = NETWORK.at({})[:4]
    work = sum(map(work_of, shapes))
    # 1.5 models a layer, each opened in 3 ms and run 2 * (1 + 3 * 4) times
    effort = Effort(warmups=1, passes=2, bursts=3, runs=4)
    expected = 1.5 * (4 * 3e-3 + 26 * work / 1e9)
    assert measuring_s(shapes, effort, macs_per_s=1e9) == pytest.approx(expected)
    assert measuring_s(shapes, dataclasses.replace(effort, spread_s=60.0)) == 60.0
    assert measuring_s(shapes, dataclasses.replace(effort, time_limit_s=1e-3)) == 1e-3
    assert measuring_s([], dataclasses.replace(effort, spread_s=60.0)) == 0.0
