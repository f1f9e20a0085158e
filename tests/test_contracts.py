"""Ours pass the tests that a user's own have to pass, and what breaks a promise does not."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from netadapt.network import MACS, WEIGHTS
from netadapt.platforms import open_platform
from netadapt.pruning.importance import IMPORTANCES
from netadapt.search.strategies import STRATEGIES, Proposal, one_group
from netadapt.tables.lookup import LookupTable
from netadapt.testing import (
    LAYERS,
    QUICK,
    CostContract,
    ImportanceContract,
    LayerTimerContract,
    PlatformContract,
    StrategyContract,
)


@pytest.fixture
def recording(tmp_path):
    """A table of the contract's layers, recorded on the synthetic device."""
    device = open_platform("synthetic:")
    path = tmp_path / "recorded.csv"
    return LookupTable(device.describe()).fill(device, LAYERS, path=path, effort=QUICK), path


class TestLayerTimers(LayerTimerContract):
    @pytest.fixture(
        params=["ort:cpu", "ort:cpu?threads=2&batch=2", "synthetic:?noise=0.1", "replay:"]
    )
    def platform(self, request, recording):
        path = recording[1] if request.param == "replay:" else ""
        return open_platform(f"{request.param}{path}")


class TestModelled(PlatformContract):
    @pytest.fixture(
        params=[
            "eyeriss:", "eyeriss:?batch=4&dram=no", "crossbar:", "crossbar:?noise=pcm&chips=3",
            "optical:?batch=64", "optical:?kind=mesh&size=64", "optical:?kind=link",
        ]
    )  # fmt: skip
    def platform(self, request):
        return open_platform(request.param)


class TestCounts(CostContract):
    @pytest.fixture(params=[MACS, WEIGHTS], ids=["macs", "weights"])
    def cost(self, request):
        return request.param


class TestTables(CostContract):
    @pytest.fixture(params=[False, True], ids=["each layer", "interpolated"])
    def cost(self, request, recording):
        return replace(recording[0], interpolated=request.param)


class TestModelledCosts(CostContract):
    @pytest.fixture(
        params=[
            ("eyeriss:", "energy"), ("eyeriss:", "latency"), ("crossbar:", "energy"),
            ("optical:", "energy"), ("synthetic:", "energy"),
        ],
        ids=" ".join,
    )  # fmt: skip
    def cost(self, request):
        uri, resource = request.param
        return open_platform(uri).cost(resource)


class TestStrategies(StrategyContract):
    @pytest.fixture(params=sorted(STRATEGIES))
    def strategy(self, request):
        return STRATEGIES[request.param]


class TestTheStrategyOfTheManual(StrategyContract):
    @pytest.fixture
    def strategy(self):
        manual = (Path(__file__).parent.parent / "docs" / "search.md").read_text()
        names = {}
        exec(manual.split("```python\n")[1].split("```")[0], names)
        return names["widest"]


def restless(tensors, group):
    """An importance of the user's own that answers anew each time."""
    return [next(COUNTER) for _ in range(group.size)]


COUNTER = itertools.count()


class TestImportances(ImportanceContract):
    @pytest.fixture(params=IMPORTANCES)
    def importance(self, request):
        return IMPORTANCES[request.param]


class TestAnImportanceOfTwoArguments(ImportanceContract):
    @pytest.fixture
    def importance(self):
        return lambda tensors, group: range(group.size)


def wider(situation):
    """A strategy that lets groups grow."""
    return [Proposal("first", {"first": situation.sizes["first"] + 8}, 0.9)]


def boastful(situation):
    """A strategy that tells less than what its proposals cost."""
    proposals = one_group.propose(situation)
    return [replace(proposal, load=proposal.load / 2) for proposal in proposals]


@pytest.mark.parametrize(
    ("strategy", "test"),
    [
        (wider, "test_proposals_shrink_what_may_shrink"),
        (boastful, "test_proposals_tell_their_load"),
        (lambda *_: [], "test_something_is_proposed_as_long_as_something_can_shrink"),
    ],
)
def test_a_broken_promise_is_found(strategy, test):
    with pytest.raises(AssertionError):
        getattr(StrategyContract(), test)(strategy)


def test_an_importance_that_answers_anew_each_time_is_found():
    with pytest.raises(AssertionError):
        ImportanceContract().test_the_same_weights_have_the_same_scores(restless)


def test_the_contracts_need_neither_pytest_nor_torch_to_be_imported():
    code = (
        "import sys, netadapt.testing\n"
        "assert not {'torch', 'pytest', 'onnx', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
