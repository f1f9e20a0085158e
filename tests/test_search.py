"""The loop on the helloworld network with mock accuracies, and on a journal that is cut off."""

import math
from dataclasses import replace

import numpy as np
import pytest

from netadapt.config.rungs import Rung
from netadapt.dry_run import _first_step, _iterations
from netadapt.errors import BudgetUnreachable, TrainingError, UsageError
from netadapt.network import MACS, WEIGHTS, cost_of
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Outcome, Phase, Run, Step, StepCost, read_journal, steps_of
from netadapt.runs.events import Started, Tried, Warned
from netadapt.search.budgets import Bound, Meter
from netadapt.search.loop import AIM, Space, aims, check_reachable, search
from netadapt.search.pricing import Loads, Scale
from netadapt.search.race import Race
from netadapt.search.schedule import Schedule
from netadapt.search.selection import Candidate, least_loss_per_saving, lowest_loss
from netadapt.search.strategies import ROUNDS, STRATEGIES, Proposal, one_group, uniform
from netadapt.search.strategies.situation import alike
from tests.helloworld import helloworld

NET = helloworld()
FULL = 29232
PARAMS, COUNT = Meter("params"), Meter("macs")
LATENCY = Meter("latency", "phone", alone=False)
STARTED = Started(2, {"seed": 0}, {}, {})


class Killed(Exception):
    pass


class MockWorkshop:
    """Keeps the first units; the accuracy favours one group per iteration."""

    run = None  # while it is searched

    def __init__(self, favourites, *, costs=None, kill_after=None, slow=1.0, final=1.0, told=()):
        self.favourites = favourites
        self.prices = costs or {"params": WEIGHTS}
        self.kill_after = kill_after
        self.slow = slow
        self.final = [final]
        self.told = list(told)  # factor and uncertainty of the measurements, then exact ones
        self.settled, self.doubted = [], []
        self.doubt = None  # of what the result measures
        self.tuned, self.screened, self.kept, self.finished = [], [], [], []

    def costs(self, sizes):
        return self.prices

    def scores(self, step):
        return alike(NET.narrow(step.keep))

    def attempt(self, step, proposals, rung):
        for index, proposal in reversed(proposals.items()):  # in any order
            if rung and self.kill_after is not None and len(self.tuned) == self.kill_after:
                raise Killed
            (self.tuned if rung else self.screened).append(proposal.name)
            keep = {**step.keep, **{g: tuple(range(n)) for g, n in proposal.changes.items()}}
            accuracy = 0.9 if proposal.name == self.favourites[step.iteration] else 0.8
            yield Outcome(index, rung, accuracy, keep)

    def measured(self, keep):
        layers = NET.at({group: len(units) for group, units in keep.items()})
        return {key: self.slow * cost_of(cost, layers) for key, cost in self.prices.items()}

    def readings(self, keep):
        factor, uncertainty = self.told.pop(0) if self.told else (1.0, None)
        return {
            key: Measurement((factor * value,), "model", uncertainty=uncertainty)
            for key, value in self.measured(keep).items()
        }

    def measure(self, step, index, outcome, *, doubted=False):
        if doubted:
            self.doubted.append(index)
        return self.readings(outcome.keep)

    def settle(self, step):
        self.settled.append(step.iteration)
        return self.readings(step.keep)

    def weights(self, iteration, index):
        return f"candidate-{iteration:03d}-{index:03d}"

    def keep(self, step):
        self.kept.append(step.weights)

    def finish(self, step):
        self.finished.append(step.iteration)
        factor = self.final.pop(0) if self.final else 1.0
        values = self.measured(step.keep)
        return {
            key: Measurement((factor * v,), "model", uncertainty=self.doubt)
            for key, v in values.items()
        }


def bound(limit, meter=PARAMS, original=FULL):
    return Bound(meter, limit, original)


def space(*bounds, **changes):
    defaults = Space(NET, bounds, one_group.propose, Schedule(0.025, decay=1.0), multiple=1)
    return replace(defaults, **changes)


def first_step(the_space, workshop):
    costs = {
        b.key: StepCost(b.original, cost_of(workshop.prices[b.key], NET.at({})), b.original)
        for b in the_space.bounds
    }
    return Step(0, "", {}, costs, 0.95)


def run_search(folder, workshop, the_space):
    with Run(folder, STARTED) as run:
        if not run.steps:
            run.commit(first_step(the_space, workshop))
        workshop.run = run
        return search(the_space, workshop, run), run


def widths(step):
    return [NET.complete(step.sizes)[f"conv{i}"] for i in range(3)]


PATH = ["conv2", "conv0", "conv1"]


def test_the_official_master_run(tmp_path):
    workshop = MockWorkshop(PATH)
    end, run = run_search(tmp_path / "run", workshop, space(bound(26200)))
    assert [step.measured["params"] for step in run.steps] == [29232, 28476, 27531, 26181]
    assert [widths(step) for step in run.steps[1:]] == [[16, 32, 62], [13, 32, 62], [13, 30, 62]]
    assert end == run.steps[-1]
    assert workshop.finished == [3]


def test_a_budget_just_below_the_original_takes_one_step(tmp_path):
    end, _ = run_search(tmp_path / "run", MockWorkshop(PATH), space(bound(0.9999 * FULL)))
    assert end.iteration == 1


@pytest.mark.parametrize("kill_after", range(9))
def test_a_killed_run_resumes_to_the_same_network(tmp_path, kill_after):
    the_space = space(bound(26200))
    expected, _ = run_search(tmp_path / "whole", MockWorkshop(PATH), the_space)
    with pytest.raises(Killed):
        run_search(tmp_path / "cut", MockWorkshop(PATH, kill_after=kill_after), the_space)
    resumed = MockWorkshop(PATH)
    end, _ = run_search(tmp_path / "cut", resumed, the_space)
    assert end == expected
    assert len(resumed.tuned) == 9 - kill_after  # no finished candidate is trained again


def test_out_of_reach_shrinks_as_far_as_possible_and_then_says_so(tmp_path):
    the_space = space(bound(1e-9), schedule=Schedule(1.0))
    with pytest.raises(BudgetUnreachable, match=r"params is at 0\.5% of the original"):
        run_search(tmp_path / "run", MockWorkshop(PATH), the_space)
    steps = steps_of(read_journal(tmp_path / "run"))
    assert [step.measured["params"] for step in steps] == [29232, 5418, 693, 135]
    assert [step.reaches for step in steps] == [True, False, False, False]


def test_screening_fine_tunes_the_finalists_only(tmp_path):
    workshop = MockWorkshop(PATH)
    end, _ = run_search(tmp_path / "run", workshop, space(bound(28500), rungs=(Rung(1),)))
    assert (sorted(workshop.screened), workshop.tuned) == (["conv0", "conv1", "conv2"], ["conv2"])
    assert end.name == "conv2"


RACE = Race((500, 1000, 2000), error=0.05, slack=0.0)


class RacingWorkshop(MockWorkshop):
    """Each candidate's loss is its own on all images, with the same noise for all of them."""

    def __init__(self, means, *, kill_after=None, nan=()):
        super().__init__(PATH)
        self.means, self.kill_looks, self.nan, self.looks = means, kill_after, nan, []

    def attempt(self, step, proposals, rung, part=None):
        for outcome in super().attempt(step, proposals, rung):
            name = proposals[outcome.index].name
            if part is None:
                yield replace(outcome, loss=self.means[name])
                continue
            if self.kill_looks is not None and len(self.looks) == self.kill_looks:
                raise Killed
            self.looks.append((rung, name, *part))
            blocks = range(part[0] // 10, part[1] // 10)
            failed = f"{name}: no finite number" if name in self.nan else ""
            losses = tuple(self.means[name] + 0.01 * ((-1) ** b) * (b % 7) for b in blocks)
            yield replace(
                outcome, loss=math.fsum(losses) / len(losses), losses=losses, failed=failed,
                images=part[1] - part[0], phases=(Phase("screening", 1.0, 0, part[1] - part[0]),),
            )  # fmt: skip


def racing(limit, *rungs):
    return space(bound(limit), rungs=rungs, screening=lowest_loss, race=RACE)


def test_a_race_ends_when_it_is_clear_who_goes_on(tmp_path):
    """Differences without spread are clear at the first look."""
    workshop = RacingWorkshop({"conv0": 0.5, "conv1": 0.6, "conv2": 0.7})
    end, run = run_search(tmp_path / "run", workshop, racing(28800, Rung(1)))
    assert sorted(workshop.looks) == [(0, f"conv{i}", 0, 500) for i in range(3)]
    assert end.name == "conv0"
    tried = [r.event for r in run.records if isinstance(r.event, Tried)]
    assert [(t.outcome.rung, t.outcome.images) for t in tried] == [(0, 500)] * 3 + [(1, 0)]


def test_equals_are_scored_on_all_images_and_the_loser_on_few(tmp_path):
    workshop = RacingWorkshop({"conv0": 0.5, "conv1": 0.5, "conv2": 0.7})
    _, run = run_search(tmp_path / "run", workshop, racing(28800, Rung(1)))
    seen = {name: max(stop for _, n, _, stop in workshop.looks if n == name) for name in PATH}
    assert seen == {"conv0": 2000, "conv1": 2000, "conv2": 500}
    last = {r.event.name: r.event.outcome for r in run.records if isinstance(r.event, Tried)
            and not r.event.outcome.rung}  # fmt: skip
    assert {name: len(outcome.losses) for name, outcome in last.items()} == {
        "conv0": 200, "conv1": 200, "conv2": 50,
    }  # fmt: skip
    # Each line has the images of its own look alone, so that they add up.
    scored = [p.scored for r in run.records if isinstance(r.event, Tried)
              for p in r.event.outcome.phases]  # fmt: skip
    assert sum(scored) == 2000 + 2000 + 500


@pytest.mark.parametrize("kill_after", range(7))
def test_a_race_that_was_cut_off_goes_on_to_the_same_end(tmp_path, kill_after):
    means = {"conv0": 0.5, "conv1": 0.5, "conv2": 0.7}
    the_space = racing(28800, Rung(2, 0.1), Rung(1))
    whole = RacingWorkshop(means)
    expected, _ = run_search(tmp_path / "whole", whole, the_space)
    with pytest.raises(Killed):
        run_search(tmp_path / "cut", RacingWorkshop(means, kill_after=kill_after), the_space)
    resumed = RacingWorkshop(means)
    end, _ = run_search(tmp_path / "cut", resumed, the_space)
    assert end == expected
    assert whole.looks[kill_after:] == resumed.looks  # and nothing is scored twice


def test_rungs_are_taken_one_after_the_other(tmp_path):
    workshop = RacingWorkshop({"conv0": 0.5, "conv1": 0.6, "conv2": 0.7})
    run_search(tmp_path / "run", workshop, racing(28800, Rung(2, 0.1), Rung(1)))
    assert sorted({(rung, name) for rung, name, *_ in workshop.looks}) == [
        (0, "conv0"), (0, "conv1"), (0, "conv2"), (1, "conv0"), (1, "conv1"),
    ]  # fmt: skip
    assert workshop.tuned == ["conv1", "conv0", "conv0"]


def test_a_candidate_that_fails_in_a_race_is_out_and_told_of(tmp_path):
    means = {"conv0": 0.5, "conv1": 0.6, "conv2": 0.7}
    workshop = RacingWorkshop(means, nan=["conv0"])
    end, run = run_search(tmp_path / "run", workshop, racing(28800, Rung(1)))
    assert end.name == "conv1"
    assert run.last(Warned).text == "A candidate is out: conv0: no finite number"


def test_where_the_loss_of_one_is_not_known_accuracy_decides_on_all_images(tmp_path):
    """An own loss may be no finite number for the outputs of one candidate alone."""
    screened = []

    class Unknown(RacingWorkshop):
        def attempt(self, step, proposals, rung, part=None):
            for outcome in super().attempt(step, proposals, rung, part):
                known = proposals[outcome.index].name != "conv0"
                yield outcome if known else replace(outcome, loss=None, losses=())

    def strategy(situation):
        proposals = one_group.propose(situation)
        screened.extend(situation.screen(proposals))
        return proposals

    workshop = Unknown({"conv0": 0.5, "conv1": 0.6, "conv2": 0.7})
    the_space = replace(racing(28800, Rung(1)), strategy=strategy)
    end, _ = run_search(tmp_path / "run", workshop, the_space)
    assert screened == [0.8, 0.8, 0.9]
    assert end.name == "conv2"  # which is the most accurate, and has the highest loss
    assert {(name, stop) for _, name, _, stop in workshop.looks} >= {(n, 2000) for n in PATH}


def test_equal_accuracy_is_decided_by_loss(tmp_path):
    workshop = RacingWorkshop({"conv0": 0.5, "conv1": 0.4, "conv2": 0.7})
    workshop.favourites = [None]
    end, _ = run_search(tmp_path / "run", workshop, space(bound(28800)))
    assert end.name == "conv1"  # conv2 is cheaper


def test_a_strategy_has_proposals_screened_on_a_first_look_that_races_need_not_repeat(tmp_path):
    means, told = {"conv0": 0.5, "conv1": 0.6, "conv2": 0.7}, []

    def strategy(situation):
        proposals = one_group.propose(situation)
        told.append(situation.screen(proposals))
        return proposals

    workshop = RacingWorkshop(means)
    run_search(tmp_path / "run", workshop, replace(racing(28800, Rung(1)), strategy=strategy))
    assert sorted(told[0], reverse=True) == told[0]
    assert told[0] == pytest.approx([-0.5, -0.6, -0.7], abs=0.01)
    assert len(workshop.looks) == 3


def test_the_winner_is_kept_once_it_is_measured(tmp_path):
    workshop = MockWorkshop(["conv1"])
    end, _ = run_search(tmp_path / "run", workshop, space(bound(28800)))
    assert (end.name, end.weights) == ("conv1", "candidate-001-001")
    assert workshop.kept == ["candidate-001-001"]


def test_no_weights_are_dropped_before_the_journal_holds_the_step(tmp_path):
    """A run that is cut off in between measures its candidates again."""
    journal = []

    class Watched(MockWorkshop):
        def keep(self, step):
            journal.append(steps_of(read_journal(tmp_path / "run"))[-1] == step)

    run_search(tmp_path / "run", Watched(PATH), space(bound(26200)))
    assert journal == [True] * 3


def test_bias_rescales_the_next_target(tmp_path):
    """A device twice as slow as the table says still ends at its own budget."""
    the_space = space(bound(2 * 26200, original=2 * FULL))
    end, _ = run_search(tmp_path / "run", MockWorkshop(PATH, slow=2.0), the_space)
    assert widths(end) == [13, 30, 62]


def test_a_missed_final_measurement_goes_on_in_the_same_loop(tmp_path):
    """The exported network measures 4 % more than the step did: further steps are taken."""
    workshop = MockWorkshop([*PATH, *PATH], final=1.04)
    end, run = run_search(tmp_path / "run", workshop, space(bound(26200)))
    assert workshop.finished[0] == 3
    assert end.iteration == 4
    assert run.steps[3].measured["params"] == pytest.approx(1.04 * 26181)
    assert end.measured["params"] <= 26200


def test_several_budgets_hold_together(tmp_path):
    """MACs are 1024 times the weights here, so that the tighter of both budgets decides."""
    macs = 1024 * FULL
    workshop = MockWorkshop(PATH, costs={"params": WEIGHTS, "macs": MACS})
    the_space = space(bound(0.97 * FULL), bound(26200 * 1024, COUNT, macs))
    end, run = run_search(tmp_path / "run", workshop, the_space)
    assert widths(end) == [13, 30, 62]
    assert end.measured == {"params": 26181, "macs": 26181 * 1024}
    assert [step.costs["params"].target for step in run.steps[1:]] == [28501.2, 28355.04, 28355.04]


def test_a_fleet_is_within_the_budget_of_each_device(tmp_path):
    """The phone's table is off by a third, the other's is right; each has its own bias."""
    costs = {"phone:latency": WEIGHTS, "board:latency": WEIGHTS}
    bounds = [
        bound(0.95 * 1.5 * FULL, LATENCY, 1.5 * FULL),
        bound(26200, replace(LATENCY, device="board")),
    ]
    workshop = MockWorkshop(PATH, costs=costs)
    workshop.measured = lambda keep, inner=workshop.measured: {
        key: value * (1.5 if key == "phone:latency" else 1.0) for key, value in inner(keep).items()
    }
    end, _ = run_search(tmp_path / "run", workshop, space(*bounds))
    assert end.costs["phone:latency"].bias == 1.5
    assert widths(end) == [13, 30, 62]


def test_the_budget_that_binds_is_named(tmp_path):
    workshop = MockWorkshop(PATH, costs={"params": WEIGHTS, "macs": MACS})
    the_space = space(
        bound(1e-9), bound(0.5 * 1024 * FULL, COUNT, 1024 * FULL), schedule=Schedule(1.0)
    )
    with pytest.raises(BudgetUnreachable, match="params is at"):
        run_search(tmp_path / "run", workshop, the_space)


def test_a_hopeless_budget_is_refused_before_training():
    costs = {"params": WEIGHTS, "phone:latency": WEIGHTS}
    with pytest.raises(BudgetUnreachable, match=r"params .* smallest network"):
        check_reachable(space(bound(0.01 * FULL), multiple=8), costs)
    check_reachable(space(bound(0.3 * FULL), multiple=8), costs)
    least = cost_of(WEIGHTS, NET.at({"conv0": 8, "conv1": 8, "conv2": 8}))
    check_reachable(space(bound(least / 1.1, LATENCY), multiple=8), costs)  # a prediction may err
    with pytest.raises(BudgetUnreachable):
        check_reachable(space(bound(least / 1.1), multiple=8), costs)  # a count does not


def test_a_tiny_budget_is_not_told_as_zero():
    with pytest.raises(BudgetUnreachable, match=r"of params is 0\.0012% of the original"):
        check_reachable(space(bound(1.2e-5 * FULL), multiple=8), {"params": WEIGHTS})


def test_a_strategy_with_nothing_to_propose_is_told_from_a_search_at_its_end(tmp_path):
    idle = replace(space(bound(28800)), strategy=lambda *_: [])
    with pytest.raises(BudgetUnreachable, match="proposed nothing for the unpruned network"):
        run_search(tmp_path / "run", MockWorkshop(PATH), idle)


def test_a_candidate_that_fails_loses_and_the_run_goes_on(tmp_path):
    class Diverging(MockWorkshop):
        def attempt(self, step, proposals, rung):
            for outcome in super().attempt(step, proposals, rung):
                failed = "it diverged" if proposals[outcome.index].name == "conv2" else ""
                yield replace(outcome, failed=failed)

    end, run = run_search(tmp_path / "run", Diverging(PATH), space(bound(28800)))
    assert end.name == "conv1"  # as accurate as conv0, and cheaper
    assert [r.event.text for r in run.records if isinstance(r.event, Warned)] == [
        "A candidate is out: it diverged"
    ]


def test_all_candidates_failing_is_an_error(tmp_path):
    class Diverging(MockWorkshop):
        def attempt(self, step, proposals, rung):
            for outcome in super().attempt(step, proposals, rung):
                yield replace(outcome, failed="the loss is nan")

    with pytest.raises(TrainingError, match="the loss is nan"):
        run_search(tmp_path / "run", Diverging(PATH), space(bound(28800)))


def test_ratio_prefers_the_larger_saving_when_nothing_is_lost():
    small = Candidate(0.96, 0.9, before=0.95, load_before=1.0)
    large = Candidate(0.96, 0.8, before=0.95, load_before=1.0)
    costly = Candidate(0.90, 0.5, before=0.95, load_before=1.0)
    scores = [least_loss_per_saving(candidate) for candidate in (small, large, costly)]
    assert scores[1] > scores[0] > scores[2]
    assert scores[2] == pytest.approx(-0.05 / 0.5)


def test_of_equally_accurate_candidates_the_cheapest_wins(tmp_path):
    end, _ = run_search(tmp_path / "run", MockWorkshop([None]), space(bound(28800)))
    # at the target of 28800 conv0 has 14 channels (28602), conv1 31 (28512), conv2 62 (28476)
    assert (end.name, end.measured["params"]) == ("conv2", 28476)


def test_the_loop_serves_strategies_that_change_many_groups(tmp_path):
    workshop = MockWorkshop([None] * 99)
    end, _ = run_search(tmp_path / "run", workshop, space(bound(0.5 * FULL),
                        strategy=uniform.propose, schedule=Schedule(1.0)))  # fmt: skip
    assert (end.iteration, end.name) == (1, "uniform")
    assert end.measured["params"] <= 0.5 * FULL


def screening(situation):
    """A strategy that proposes whatever screens best, with as many units as score above 10."""
    proposals = one_group.propose(situation)
    scores = situation.screen(proposals)
    (best,) = [p for p, score in zip(proposals, scores, strict=True) if score == max(scores)]
    size = sum(score > 10 for score in situation.scores("conv1"))
    return [Proposal(best.name, {"conv1": size}, situation.loads.changed({"conv1": size}))]


def test_a_strategy_is_told_the_units_scores_and_may_screen(tmp_path):
    """What it has screened is in the journal, and is not screened again after a cut."""
    cut, resumed = MockWorkshop(PATH, kill_after=0), MockWorkshop(PATH)
    for workshop in (cut, resumed):
        workshop.scores = lambda step: lambda group: range(NET.sizes[group])
    the_space = space(bound(28500), strategy=screening)
    with pytest.raises(Killed):
        run_search(tmp_path / "run", cut, the_space)
    end, run = run_search(tmp_path / "run", resumed, the_space)
    assert (sorted(cut.screened), resumed.screened) == (["conv0", "conv1", "conv2"], [])
    assert (end.name, widths(end)) == ("conv2", [16, 21, 64])  # units 11 to 31 score above 10
    tried = [r.event.outcome for r in run.records if isinstance(r.event, Tried)]
    assert [outcome.rung for outcome in tried] == [0, 0, 0, 1]


def test_a_screened_proposal_that_fails_scores_below_all_others(tmp_path):
    class Diverging(MockWorkshop):
        def attempt(self, step, proposals, rung):
            for outcome in super().attempt(step, proposals, rung):
                yield replace(outcome, failed="nan" if outcome.index == 2 and rung == 0 else "")

    told = []

    def asking(situation):
        told.append(situation.screen(one_group.propose(situation)))
        return one_group.propose(situation)

    run_search(tmp_path / "run", Diverging(PATH), space(bound(28500), strategy=asking))
    assert told[0] == [0.8, 0.8, -float("inf")]


@pytest.mark.parametrize("strategy", sorted(ROUNDS))
def test_strategies_of_many_groups_arrive_in_a_few_iterations(tmp_path, strategy):
    """Four even steps to half the weights, unless the schedule says otherwise."""
    the_space = space(bound(0.5 * FULL), strategy=STRATEGIES[strategy], schedule=Schedule(),
                      rounds=ROUNDS[strategy], multiple=1)  # fmt: skip
    end, run = run_search(tmp_path / "run", MockWorkshop([None] * 9), the_space)
    assert end.iteration == 4
    assert end.measured["params"] <= 0.5 * FULL
    targets = [step.costs["params"].target / FULL for step in run.steps[1:]]
    assert targets[0] == pytest.approx(0.5**0.25)
    assert targets[-1] == 0.5
    told = replace(the_space, schedule=Schedule(1.0))
    end, _ = run_search(tmp_path / "told", MockWorkshop([None] * 9), told)
    assert end.iteration == 1


@pytest.mark.parametrize(
    "proposals",
    [
        "conv1",
        [{"conv1": 1}],
        [Proposal("nothing", {}, 0.5)],
        [Proposal("same", dict(NET.complete({})), 0.5)],
        [Proposal("larger", {next(iter(NET.groups)): 10_000}, 0.5)],
        [Proposal("unknown", {"no such group": 1}, 0.5)],
        [Proposal("empty", {next(iter(NET.groups)): 0}, 0.5)],
        [Proposal("half", {next(iter(NET.groups)): 1.5}, 0.5)],
        [Proposal("of NumPy", {next(iter(NET.groups)): np.int64(1)}, 0.5)],
        [Proposal("no table", [(next(iter(NET.groups)), 1)], 0.5)],
    ],
)
def test_proposals_that_the_loop_cannot_go_on_from_are_refused(tmp_path, proposals):
    the_space = space(bound(FULL - 1), strategy=lambda *_: proposals)
    with pytest.raises(UsageError, match=r"^The strategy "):
        run_search(tmp_path / "run", MockWorkshop([""]), the_space)


def test_a_group_that_may_not_shrink_is_not_shrunk_by_a_strategy_of_ones_own(tmp_path):
    groups = {**NET.groups, "conv1": replace(NET.groups["conv1"], fixed="is left alone")}
    the_space = replace(
        space(bound(FULL - 1), strategy=lambda *_: [Proposal("own", {"conv1": 1}, 0.5)]),
        network=replace(NET, groups=groups),
    )
    with pytest.raises(UsageError, match="must give groups that may shrink"):
        run_search(tmp_path / "run", MockWorkshop([""]), the_space)


def test_a_strategy_that_takes_something_else_is_refused(tmp_path):
    the_space = space(bound(FULL - 1), strategy=lambda network, sizes, loads, multiple: [])
    with pytest.raises(UsageError, match=r"must take one Situation.* 'sizes'"):
        run_search(tmp_path / "run", MockWorkshop([""]), the_space)


@pytest.mark.parametrize("score", [None, "high", float("nan")])
def test_a_selection_that_gives_no_number_is_refused(tmp_path, score):
    the_space = space(bound(FULL - 1), selection=lambda _: score)
    with pytest.raises(UsageError, match=r"^The selection gave "):
        run_search(tmp_path / "run", MockWorkshop([""]), the_space)


ALONE = Meter("latency", "ort:cpu")


def timed(limit):
    """A bound on what a device has to measure; a parameter takes a second."""
    return bound(limit, ALONE)


def test_a_search_ends_only_where_it_is_beyond_doubt_that_the_budget_is_met(tmp_path):
    # 26181 of 26200 allowed: 1 % of uncertainty leaves a doubt, a thousandth of it none
    told = [(1.0, 0.001), (1.0, 0.001), (1.0, 0.01), (1.0, 0.0001)]
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told)
    end, run = run_search(tmp_path / "run", workshop, space(timed(26200)))
    assert workshop.settled == [3]
    assert workshop.finished == [3]  # once, after it was settled
    assert end.costs["latency"].uncertainty == 0.0001
    assert end == run.steps[-1]


def test_a_search_does_not_end_by_a_vague_measurement_though_all_of_it_is_within(tmp_path):
    told = [(1.0, 0.001), (1.0, 0.001), (0.9, 0.05), (0.99, 0.001)]  # 0.9 of 26181 of 26200
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told)
    end, _ = run_search(tmp_path / "run", workshop, space(timed(26200)))
    assert workshop.settled == [3]
    assert end.measured["latency"] == pytest.approx(0.99 * 26181)


def test_what_measures_above_the_budget_when_settled_is_shrunk_before_the_long_fine_tune(tmp_path):
    told = [(1.0, 0.001), (1.0, 0.001), (1.0, 0.01), (1.01, 0.001)]
    workshop = MockWorkshop([*PATH, "conv1"], costs={"latency": WEIGHTS}, told=told)
    end, _ = run_search(tmp_path / "run", workshop, space(timed(26200)))
    assert workshop.settled == [3]
    assert end.iteration == 4
    assert workshop.finished == [4]


def test_a_doubt_that_stays_is_not_measured_for_ever(tmp_path):
    told = [(1.0, 0.01)] * 4
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told)
    end, _ = run_search(tmp_path / "run", workshop, space(timed(26200)))
    assert workshop.settled == [3]
    assert end.iteration == 3


def test_a_result_is_taken_back_only_by_all_its_measurements_together(tmp_path):
    told = [(1.0, 0.001), (1.0, 0.001), (0.99, 0.005)]  # 25919, at most 26049
    path = [*PATH, "conv1"]
    workshop = MockWorkshop(path, costs={"latency": WEIGHTS}, told=told, final=1.0005)
    workshop.doubt = 0.001  # 26194 counts 25 times: 26183 together
    end, _ = run_search(tmp_path / "run", workshop, space(timed(26100)))
    assert workshop.finished == [3, 4]
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told, final=0.996)
    workshop.doubt = 0.005  # 26076 is above, and counts as much as what was below
    end, _ = run_search(tmp_path / "other", workshop, space(timed(26060)))
    assert (end.iteration, workshop.finished) == (3, [3])
    assert end.measured["latency"] == pytest.approx((0.99 + 0.996) / 2 * 26181)
    # They differ by 0.6 %, where 0.00707 / 1.96 = 0.36 % was to be expected: so much wider.
    wider = (0.996 / 0.99 - 1) / (0.005 * 2**0.5 / 1.96)
    assert end.costs["latency"].uncertainty == pytest.approx(wider * 0.005 / 2**0.5)


def test_a_candidate_that_measures_no_faster_is_measured_again_and_then_passed_over(tmp_path):
    # The best one measures slower twice; the next one as predicted.
    told = [(1.2, None), (1.1, None)]
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told)
    end, run = run_search(tmp_path / "run", workshop, space(timed(0.9999 * FULL)))
    assert workshop.doubted == [2]
    assert end.name != "conv2"
    assert end.measured["latency"] < FULL
    assert any("does not as measured" in r.event.text for r in run.records
               if isinstance(r.event, Warned))  # fmt: skip


def test_what_misled_is_priced_as_it_measured_from_then_on(tmp_path):
    """The best candidate measures 1.2 and then 1.1 of what the table says."""
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=[(1.2, None), (1.1, None)])
    _, run = run_search(tmp_path / "run", workshop, space(timed(0.9999 * FULL)))
    (passed,) = run.steps[1].passed_over
    misled = cost_of(WEIGHTS, NET.at(passed.changes))
    assert passed.excess == {"latency": pytest.approx(0.1 * misled)}
    loads = Loads(NET, {}, {"latency": WEIGHTS}, {"latency": Scale(2.0, FULL)}, [passed])
    assert loads.prices(passed.changes)["latency"] == pytest.approx(1.1 * misled)
    assert loads.changed(passed.changes) == pytest.approx(1.1 * misled * 2 / FULL)
    (size,) = passed.changes.values()
    smaller = {"conv2": size - 1}
    assert loads.prices(smaller)["latency"] == cost_of(WEIGHTS, NET.at(smaller))


def test_a_slow_moment_is_not_held_against_a_candidate(tmp_path):
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=[(1.2, None)])
    end, _ = run_search(tmp_path / "run", workshop, space(timed(0.9999 * FULL)))
    assert (end.name, workshop.doubted) == ("conv2", [2])


def test_where_nothing_measures_faster_the_smallest_is_taken_and_the_search_goes_on(tmp_path):
    told = [(1.5, None), (1.4, None), (1.5, None), (1.2, None), (1.5, None), (1.3, None)]
    workshop = MockWorkshop(PATH, costs={"latency": WEIGHTS}, told=told)
    _, run = run_search(tmp_path / "run", workshop, space(timed(0.98 * FULL)))
    second_best = [name for name in workshop.tuned[:3] if name != "conv2"]
    assert run.steps[1].name in second_best
    assert run.steps[1].measured["latency"] > FULL
    assert run.steps[-1].measured["latency"] <= 0.98 * FULL


@pytest.mark.parametrize("rounds", [0, 1])
def test_a_limit_that_is_measured_with_noise_is_aimed_at_from_a_little_below(rounds):
    bounds = (Bound(LATENCY, 0.5, 1.0), Bound(COUNT, 500.0, 1000.0))
    space = Space(NET, bounds, one_group.propose, Schedule(), rounds=rounds)
    costs = {"phone:latency": MACS, "macs": MACS}

    def targets(spread, uncertainty=None):
        near = StepCost(0.501, 0.501, 0.5, spread, uncertainty)
        counted = StepCost(501.0, 501.0, 500.0, spread)
        step = Step(3, "", {}, {"phone:latency": near, "macs": counted}, accuracy=0.5)
        return {key: aim.target for key, aim in aims(step, space, costs).items()}

    assert targets(0.0) == pytest.approx({"phone:latency": 0.5, "macs": 500.0})
    noisy = {"phone:latency": 0.5 * AIM, "macs": 500.0}
    assert targets(0.02) == targets(0.0, 0.005) == pytest.approx(noisy)


def test_a_dry_run_aims_where_the_run_will():
    bounds = (Bound(LATENCY, 0.5, 1.0),)
    space = Space(NET, bounds, one_group.propose, Schedule(0.3, decay=1.0))
    costs = {"phone:latency": MACS}
    first = _first_step(space, costs, {"phone:latency": 0.02})
    assert first.costs["phone:latency"].noisy
    assert _iterations(first, space, costs) == 2  # to 0.7, and to a little below 0.5
    whole = replace(space, schedule=Schedule(1.0))
    assert aims(first, whole, costs)["phone:latency"].target == pytest.approx(0.5 * AIM)
