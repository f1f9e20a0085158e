"""Tests that every platform, cost, strategy and importance has to pass; those of your own, too.

Derive a class from the contract, and give the one fixture that it names; pytest does the rest::

    import pytest
    from netadapt.testing import PlatformContract

    class TestMyBoard(PlatformContract):
        @pytest.fixture
        def platform(self):
            return open_platform("mypkg.boards:open_board?port=3")

They ask for what the search relies on, and for nothing about figures.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from netadapt.network import (
    MACS,
    WEIGHTS,
    ChannelGroup,
    Cost,
    LayerShape,
    LayerSpec,
    Network,
    Slot,
    TensorSpec,
    Width,
    cost_of,
    shrinkable,
)
from netadapt.platforms import (
    NOT_LAYERS,
    OVERHEAD,
    Effort,
    LayerTimer,
    Modelled,
    Platform,
    Workload,
    open_platform,
)
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.plugins import accepted
from netadapt.search.pricing import Loads, Scale
from netadapt.search.strategies import Proposal, Situation, Strategy
from netadapt.tables.lookup import LookupTable
from netadapt.units import RESOURCES

if TYPE_CHECKING:
    from netadapt.platforms.accelerators.platform import ModelledCost, ModelledPlatform
    from netadapt.platforms.ort.platform import OrtPlatform
    from netadapt.platforms.replay import ReplayPlatform
    from netadapt.platforms.synthetic import SwitchingEnergy, SyntheticPlatform

    def _conforming(
        timers: tuple[OrtPlatform, SyntheticPlatform, ReplayPlatform],
        modelled: tuple[ModelledPlatform, SyntheticPlatform],
        costs: tuple[LookupTable, ModelledCost, SwitchingEnergy],
    ) -> tuple[tuple[LayerTimer, ...], tuple[Modelled, ...], tuple[Cost, ...]]:
        """Type checkers prove here that ours are what the protocols ask for."""
        return timers, modelled, costs


SMALL = LayerShape("conv", 16, 16, (8, 8), (8, 8), bias=True, act="relu")
LARGE = LayerShape("conv", 64, 64, (32, 32), (32, 32), (3, 3), padding=(1, 1), bias=True)
POOL = LayerShape("global_pool", 16, 16, (8, 8), (1, 1))
LAYERS = (SMALL, LARGE, POOL)
"""What the contracts ask devices about; a recording has to hold these."""

QUICK = Effort(warmups=1, passes=2, bursts=1, runs=3)


@cache
def workloads() -> tuple[Workload, Workload]:
    """Two networks, the second of which computes some thousand times as much as the first."""
    from netadapt.platforms.ort.probes import Probe, build

    return (
        Workload("a small network", build(Probe("layer", SMALL)), (SMALL,)),
        Workload("a large network", build(Probe("layer", LARGE)), (LARGE,)),
    )


class PlatformContract:
    """What every :class:`netadapt.platforms.Platform` promises; needs a fixture ``platform``."""

    def test_it_measures_at_least_one_known_resource(self, platform: Platform) -> None:
        """Each has a name that budgets may have."""
        assert platform.resources
        assert len(set(platform.resources)) == len(platform.resources)
        assert set(platform.resources) <= set(RESOURCES)

    def test_its_uri_opens_it_again(self, platform: Platform) -> None:
        """A run continues on the device that its settings name."""
        again = open_platform(platform.uri)
        assert again.uri == platform.uri
        assert again.resources == platform.resources
        assert again.describe() == platform.describe()

    def test_its_description_is_plain_values(self, platform: Platform) -> None:
        """It is kept in tables and journals."""
        info = platform.describe()
        assert DeviceInfo.from_json(json.loads(json.dumps(info.to_json()))) == info
        assert info.multiple >= 1

    def test_networks_are_answered_in_the_order_given(self, platform: Platform) -> None:
        """Whatever the order in which they were run."""
        small, large = workloads()
        for order in ((small, large), (large, small)):
            first, second = platform.measure_networks(order, QUICK)
            for resource in platform.resources:
                cheaper, dearer = first[resource].value, second[resource].value
                assert (cheaper < dearer) == (order[0] is small), (resource, cheaper, dearer)

    def test_each_network_has_a_reading_of_each_resource(self, platform: Platform) -> None:
        """In its base unit, finite and above zero, and kept without loss."""
        (readings,) = platform.measure_networks(workloads()[:1], QUICK)
        assert set(readings) == set(platform.resources)
        for resource, reading in readings.items():
            assert reading.unit == RESOURCES[resource].unit
            assert all(math.isfinite(sample) and sample > 0 for sample in reading.samples)
            assert Measurement.from_json(json.loads(json.dumps(reading.to_json()))) == reading

    def test_no_networks_are_no_work(self, platform: Platform) -> None:
        """An empty list has an empty answer."""
        assert platform.measure_networks([], QUICK) == []

    def test_progress_is_told_up_to_the_end(self, platform: Platform) -> None:
        """In steps that grow, the last of which is all."""
        told: list[tuple[int, int]] = []
        platform.measure_networks(workloads(), QUICK, lambda done, of: told.append((done, of)))
        assert told == sorted(told)
        assert told[-1][0] == told[-1][1]


class LayerTimerContract(PlatformContract):
    """What every :class:`netadapt.platforms.LayerTimer` promises; needs a fixture ``platform``."""

    def test_every_layer_asked_for_is_answered(self, platform: LayerTimer) -> None:
        """Layers asked for twice too, and what a call costs."""
        asked = (OVERHEAD, *LAYERS, SMALL)
        found = dict(platform.measure_layers(asked, QUICK))
        assert set(found) - set(NOT_LAYERS) == set(LAYERS)
        assert found[OVERHEAD].value > 0
        assert all(reading.unit == "s" for reading in found.values())

    def test_no_layers_are_no_work(self, platform: LayerTimer) -> None:
        """Nothing asked for, nothing answered."""
        assert list(platform.measure_layers([], QUICK)) == []

    def test_a_table_is_filled(self, platform: LayerTimer) -> None:
        """And prices networks of these layers from then on."""
        table = LookupTable(platform.describe()).fill(platform, LAYERS, effort=QUICK)
        assert table.missing(LAYERS) == ()
        assert table.price(LAYERS) > 0


class CostContract:
    """What every :class:`netadapt.network.Cost` promises; needs a fixture ``cost``."""

    layers = LAYERS
    """Layers that the cost is asked for; set others where it knows others only."""

    def test_it_has_a_unit(self, cost: Cost) -> None:
        """Figures without a unit mislead."""
        assert cost.unit

    def test_prices_are_finite_and_never_negative(self, cost: Cost) -> None:
        """Of each layer, and of the network."""
        prices = [cost.layer(shape) for shape in self.layers]
        assert all(math.isfinite(price) and price >= 0 for price in prices)
        assert cost_of(cost, self.layers) > 0

    def test_the_same_question_has_the_same_answer(self, cost: Cost) -> None:
        """The search compares prices that it asked for at different times."""
        assert [cost.layer(s) for s in self.layers] == [cost.layer(s) for s in self.layers]
        assert cost_of(cost, self.layers) == cost_of(cost, self.layers)

    def test_a_network_of_dearer_layers_is_dearer(self, cost: Cost) -> None:
        """So that a proposal that saves on layers saves on the network."""
        weights = sum(shape.weights for shape in self.layers)
        total = sum(map(cost.layer, self.layers))
        assert cost.network(total / 2, weights) < cost.network(total, weights)


class StrategyContract:
    """What every :data:`netadapt.search.strategies.Strategy` promises; needs ``strategy``."""

    def test_proposals_shrink_what_may_shrink(self, strategy: Strategy) -> None:
        """To sizes that the group may take, below the present ones."""
        for loads, multiple, proposals in _asked(strategy):
            for proposal in proposals:
                assert proposal.changes
                for group, size in proposal.changes.items():
                    assert size in NETWORK.groups[group].smaller(loads.sizes[group], multiple)

    def test_proposals_tell_their_load(self, strategy: Strategy) -> None:
        """As the loads price it."""
        for loads, _, proposals in _asked(strategy):
            for proposal in proposals:
                assert math.isclose(proposal.load, loads.changed(proposal.changes))

    def test_proposals_reach_the_targets_or_come_nearer(self, strategy: Strategy) -> None:
        """Otherwise the search would not end."""
        for loads, _, proposals in _asked(strategy):
            assert all(p.reaches or p.load < loads.present for p in proposals)

    def test_something_is_proposed_as_long_as_something_can_shrink(
        self, strategy: Strategy
    ) -> None:
        """Even where no proposal reaches the targets; and nothing is where nothing can."""
        for loads, multiple, proposals in _asked(strategy):
            assert proposals or not any(
                group.smaller(loads.sizes[group.id], multiple) for group in shrinkable(NETWORK)
            )
        least = {group.id: group.choices(1)[-1] for group in shrinkable(NETWORK)}
        assert strategy(situation(least, 0.5, 1)) == []

    def test_proposals_can_be_told_apart(self, strategy: Strategy) -> None:
        """By name and changes, as the journal does."""
        for _, _, proposals in _asked(strategy):
            keys = [(p.name, tuple(sorted(p.changes.items()))) for p in proposals]
            assert len(set(keys)) == len(keys)
            assert all(name for name, _ in keys)

    def test_the_same_question_has_the_same_answer(self, strategy: Strategy) -> None:
        """A run that was cut off asks again, and finds what it had finished."""
        assert [p for _, _, p in _asked(strategy)] == [p for _, _, p in _asked(strategy)]


def _network() -> Network:
    """Three convolutions in a chain, the last of which keeps its width."""
    widths = [Width(3), Width(terms=(("first", 1),)), Width(terms=(("second", 1),)), Width(10)]
    names = ("first", "second", "third")
    layers = tuple(
        LayerSpec(
            name=name, op="conv", cin=widths[i], cout=widths[i + 1], kernel=(3, 3), padding=(1, 1),
            in_hw=(8, 8), out_hw=(8, 8), module=name,
        )
        for i, name in enumerate(names)
    )  # fmt: skip
    tensors = tuple(
        TensorSpec(f"{name}.weight", (widths[i + 1], widths[i], Width(3), Width(3)))
        for i, name in enumerate(names)
    )
    groups = {}
    for name, after, size in (("first", "second", 24), ("second", "third", 32)):
        units = tuple((unit,) for unit in range(size))
        slots = (Slot(f"{name}.weight", 0, "out", units), Slot(f"{after}.weight", 1, "in", units))
        groups[name] = ChannelGroup(name, size, slots)
    return Network((3, 8, 8), layers, groups, tensors)


class ImportanceContract:
    """What an importance promises; give it by a fixture ``importance``.

    It is called with whatever it names of ``gradients`` and ``moments``.
    """

    def test_it_gives_one_finite_number_for_each_unit(self, importance: Callable[..., Any]) -> None:
        """Of every group, whatever its size."""
        for group, scores in _scored(importance).items():
            assert len(scores) == NETWORK.groups[group].size
            assert all(math.isfinite(score) for score in scores)

    def test_the_same_weights_have_the_same_scores(self, importance: Callable[..., Any]) -> None:
        """Trials in other processes have to keep the same units."""
        assert _scored(importance) == _scored(importance)

    def test_it_changes_nothing_that_it_is_given(self, importance: Callable[..., Any]) -> None:
        """The weights are those of the network that all trials start from."""
        tensors, known = _weights()
        before = {name: tensor.clone() for name, tensor in tensors.items()}
        for group in NETWORK.groups.values():
            importance(tensors, group, **accepted(importance, **known))
        assert all(tensor.equal(before[name]) for name, tensor in tensors.items())


def _scored(importance: Callable[..., Any]) -> dict[str, list[float]]:
    tensors, known = _weights()
    return {
        name: [float(s) for s in importance(tensors, group, **accepted(importance, **known))]
        for name, group in NETWORK.groups.items()
    }


def _weights() -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights of the small network, with all that an importance may ask to know."""
    import torch

    from netadapt.pruning.moments import Moment

    generator = torch.Generator().manual_seed(0)
    tensors, gradients = (
        {
            spec.name: torch.randn([w.at(NETWORK.sizes) for w in spec.shape], generator=generator)
            for spec in NETWORK.tensors
        }
        for _ in range(2)
    )
    moments = {}
    for group, after in (("first", "second"), ("second", "third")):
        seen = torch.rand(64, NETWORK.groups[group].size, generator=generator).double()
        moments[after] = Moment(seen.T @ seen / 64)
    return tensors, {"gradients": gradients, "moments": moments}


NETWORK = _network()


def _loads(sizes: Mapping[str, int], share: float) -> Loads:
    """Loads under two budgets of that share of the present cost."""
    costs: dict[str, Cost] = {"macs": MACS, "weights": WEIGHTS}
    layers = NETWORK.at(sizes)
    scales = {key: Scale(1.0, share * cost_of(cost, layers)) for key, cost in costs.items()}
    return Loads(NETWORK, sizes, costs, scales)


def situation(sizes: Mapping[str, int], share: float, multiple: int) -> Situation:
    """The small network at these sizes, under two budgets of that share of its present cost.

    Later units matter more than earlier ones, and whatever keeps more scores higher.
    """
    present = NETWORK.complete(sizes)
    loads = _loads(present, share)

    def scores(group: str) -> list[float]:
        return [float(unit) for unit in range(1, present[group] + 1)]

    def screen(proposals: Sequence[Proposal]) -> list[float]:
        return [min(1.0, loads.changed(p.changes) / loads.present) for p in proposals]

    return Situation(NETWORK, loads, multiple, scores, screen)


def _asked(strategy: Strategy) -> list[tuple[Loads, int, list[Proposal]]]:
    """Its proposals from several sizes, for targets near and out of reach."""
    answers = []
    for sizes in ({}, {"first": 7, "second": 32}, {"first": 1, "second": 5}):
        for multiple in (1, 8):
            for share in (0.95, 0.5, 1e-6):
                asked = situation(sizes, share, multiple)
                answers.append((asked.loads, multiple, strategy(asked)))
    return answers
