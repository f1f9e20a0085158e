"""The loop on the helloworld network with mock accuracies, and on a journal that is cut off."""

from dataclasses import replace

import pytest

from netadapt.errors import BudgetUnreachable
from netadapt.network import WEIGHTS, cost_of
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Run, Step, read_journal, steps_of
from netadapt.search.loop import Plan, Scored, check_reachable, least_loss_per_saving, search
from netadapt.search.schedule import Schedule
from netadapt.search.strategies import Proposal, one_group
from tests.helloworld import helloworld

NET = helloworld()
FIRST = Step(0, "", {}, 29232, 29232, 29232, 0.95)


class Killed(Exception):
    pass


class MockWorkshop:
    """Keeps the first units; the accuracy favours one group per iteration."""

    def __init__(self, favourites, *, kill_after=None):
        self.favourites = favourites
        self.kill_after = kill_after
        self.tuned, self.screened, self.discarded = [], [], []

    def cost(self, sizes):
        return WEIGHTS

    def screen(self, step, proposal):
        self.screened.append(proposal.name)
        return self._accuracy(step, proposal)

    def tune(self, step, proposal, name):
        if self.kill_after is not None and len(self.tuned) == self.kill_after:
            raise Killed
        self.tuned.append(proposal.name)
        accuracy = self._accuracy(step, proposal)
        keep = {**step.keep, **{g: tuple(range(n)) for g, n in proposal.changes.items()}}
        return accuracy, Step(step.iteration + 1, proposal.name, keep, 0.0, proposal.predicted, 0.0,
                              accuracy, name, reaches=proposal.reaches)  # fmt: skip

    def _accuracy(self, step, proposal):
        return 0.9 if proposal.name == self.favourites[step.iteration] else 0.8

    def measure(self, step):
        return Measurement((cost_of(WEIGHTS, NET.at(step.sizes)),), "model")

    def discard(self, name):
        self.discarded.append(name)


def plan(limit, **changes):
    defaults = Plan(limit, one_group.propose, Schedule(0.025, decay=1.0), multiple=1)
    return replace(defaults, **changes)


def run_search(folder, workshop, the_plan):
    with Run(folder, {"seed": 0}) as run:
        if not run.steps():
            run.commit(FIRST)
        return search(NET, plan=the_plan, workshop=workshop, run=run, first=FIRST), run


def widths(step):
    return [NET.complete(step.sizes)[f"conv{i}"] for i in range(3)]


PATH = ["conv2", "conv0", "conv1"]


def test_the_official_master_run(tmp_path):
    workshop = MockWorkshop(PATH)
    last, run = run_search(tmp_path / "run", workshop, plan(26200))
    steps = run.steps()
    assert [step.measured for step in steps] == [29232, 28476, 27531, 26181]
    assert [widths(step) for step in steps[1:]] == [[16, 32, 62], [13, 32, 62], [13, 30, 62]]
    assert last == steps[-1]


def test_a_budget_just_below_the_original_takes_one_step(tmp_path):
    last, _ = run_search(tmp_path / "run", MockWorkshop(PATH), plan(0.9999 * 29232))
    assert last.iteration == 1


@pytest.mark.parametrize("kill_after", range(9))
def test_a_killed_run_resumes_to_the_same_network(tmp_path, kill_after):
    expected, _ = run_search(tmp_path / "whole", MockWorkshop(PATH), plan(26200))
    workshop = MockWorkshop(PATH, kill_after=kill_after)
    with pytest.raises(Killed):
        run_search(tmp_path / "cut", workshop, plan(26200))
    resumed = MockWorkshop(PATH)
    last, _ = run_search(tmp_path / "cut", resumed, plan(26200))
    assert last == expected
    assert len(resumed.tuned) == 9 - kill_after  # no finished candidate is trained again


def test_out_of_reach_shrinks_as_far_as_possible_and_then_says_so(tmp_path):
    favourites = ["conv2", "conv0", "conv1"]
    with pytest.raises(BudgetUnreachable, match=r"0\.5% of the original"):
        run_search(tmp_path / "run", MockWorkshop(favourites), plan(0, schedule=Schedule(1.0)))
    steps = steps_of(read_journal(tmp_path / "run"))
    assert [step.measured for step in steps] == [29232, 5418, 693, 135]
    assert [step.reaches for step in steps] == [True, False, False, False]


def test_screening_fine_tunes_the_finalists_only(tmp_path):
    workshop = MockWorkshop(PATH)
    last, _ = run_search(tmp_path / "run", workshop, plan(28500, finalists=1))
    assert (workshop.screened, workshop.tuned) == (["conv0", "conv1", "conv2"], ["conv2"])
    assert last.name == "conv2"


def test_losers_are_discarded_and_the_winner_is_kept(tmp_path):
    workshop = MockWorkshop(["conv1"])
    last, _ = run_search(tmp_path / "run", workshop, plan(28800))
    assert last.name == "conv1"
    assert last.weights == "candidate-001-001"
    assert sorted(workshop.discarded) == ["candidate-001-000", "candidate-001-002"]


def test_bias_rescales_the_next_target(tmp_path):
    """A device twice as slow as the table says still ends at its own budget."""

    class Slow(MockWorkshop):
        def measure(self, step):
            return Measurement((2 * super().measure(step).p10,), "model")

    first = replace(FIRST, measured=2 * 29232)
    with Run(tmp_path / "run", {}) as run:
        run.commit(first)
        last = search(NET, plan=plan(2 * 26200), workshop=Slow(PATH), run=run,
                      first=first)  # fmt: skip
    assert widths(last) == [13, 30, 62]


def test_a_hopeless_budget_is_refused_before_training():
    with pytest.raises(BudgetUnreachable, match="smallest network"):
        check_reachable(NET, WEIGHTS, plan(0.01 * 29232, multiple=8), 29232)
    check_reachable(NET, WEIGHTS, plan(0.3 * 29232, multiple=8), 29232)


def test_ratio_prefers_the_larger_saving_when_nothing_is_lost():
    before = replace(FIRST, predicted=100.0)
    small = Scored(Proposal("a", {}, 90.0, True), 0.96)
    large = Scored(Proposal("b", {}, 80.0, True), 0.96)
    costly = Scored(Proposal("c", {}, 50.0, True), 0.90)
    scores = [least_loss_per_saving(s, before) for s in (small, large, costly)]
    assert scores[1] > scores[0] > scores[2]
    assert scores[2] == pytest.approx(-0.05 / 0.5)


def test_of_equally_accurate_candidates_the_cheapest_wins(tmp_path):
    last, _ = run_search(tmp_path / "run", MockWorkshop([None]), plan(28800))
    # at the target of 28800 conv0 has 14 channels (28602), conv1 31 (28512), conv2 62 (28476)
    assert (last.name, last.measured) == ("conv2", 28476)
