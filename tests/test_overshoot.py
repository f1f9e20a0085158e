"""A search that ends far below its budget: what lies between its last two networks is tried."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netadapt.errors import DataError, TrainingError, UsageError
from netadapt.network import WEIGHTS, cost_of
from netadapt.runs import Phase, Run, StepCost, read_journal, steps_of
from netadapt.runs.events import Inherited, Trained, Warned
from netadapt.search.budgets import load
from netadapt.search.confirmation import NEAR, between, overshot, settled
from netadapt.search.loop import AIM
from netadapt.search.strategies import Proposal, uniform
from tests.test_search import (
    FULL,
    NET,
    STARTED,
    Killed,
    MockWorkshop,
    first_step,
    run_search,
    space,
    timed,
)

LIMIT = 0.8 * FULL


class Faster(MockWorkshop):
    """A device on which a smaller network saves more than the table says."""

    def __init__(self, accuracies, *, saves=1.4, failing=(), damaged=(), doubts=(), **told):
        super().__init__([None] * 50, costs={"latency": WEIGHTS}, **told)
        self.accuracies, self.saves = accuracies, saves
        self.failing, self.damaged = failing, damaged
        self.uncertainty = list(doubts)

    def measured(self, keep):
        table = cost_of(WEIGHTS, NET.at({group: len(units) for group, units in keep.items()}))
        return {"latency": FULL - self.saves * (FULL - table)}

    def readings(self, keep):
        known = self.uncertainty.pop(0) if self.uncertainty else 0.001
        return {k: replace(m, uncertainty=known) for k, m in super().readings(keep).items()}

    def attempt(self, step, proposals, rung):
        if step.iteration in self.damaged:
            raise DataError("Image 3 cannot be read: Stale file handle.")
        for outcome in super().attempt(step, proposals, rung):
            if step.iteration in self.failing:
                yield replace(outcome, accuracy=0.0, keep={}, failed="The loss is NaN.")
            else:
                yield replace(outcome, accuracy=self.accuracies[step.iteration])


def shrunk(folder, workshop, limit=LIMIT, strategy=uniform.propose):
    the_space = space(timed(limit), strategy=strategy, rounds=1)
    the_space = replace(the_space, schedule=replace(the_space.schedule, initial=None))
    end, run = run_search(folder, workshop, the_space)
    return end, run, load(end.measured, the_space.bounds)


def stays(step):
    """What follows a step after which nothing nearer to the budget was found."""
    return replace(step, iteration=step.iteration + 1, origin=step.iteration - 1, again=True)


def test_a_network_between_the_last_two_is_taken_if_it_is_nearer_and_no_worse(tmp_path):
    workshop = Faster([0.8, 0.8])
    end, run, reached = shrunk(tmp_path / "run", workshop)
    far = run.steps[1]
    assert far.measured["latency"] < NEAR * LIMIT
    assert NEAR <= reached <= 1
    assert (end.iteration, end.origin, end.parent, end.again) == (2, 0, 0, False)
    assert all(end.sizes[group] >= size for group, size in far.sizes.items())
    assert end.costs["latency"].target == AIM * LIMIT
    assert workshop.finished == [2]  # one long fine-tune, of what was taken
    assert workshop.kept == ["candidate-001-000", "candidate-002-000"]


def test_one_that_is_less_accurate_is_not_taken(tmp_path):
    workshop = Faster([0.8, 0.79])
    end, run, _ = shrunk(tmp_path / "run", workshop)
    assert end == stays(run.steps[1])
    assert workshop.finished == [2]
    assert workshop.kept[-1] == "candidate-001-000"  # the other's weights go


def test_one_that_measures_above_the_budget_is_not_taken(tmp_path):
    workshop = Faster([0.8, 0.8], told=[(1.0, None), (1.05, None)])
    end, run, reached = shrunk(tmp_path / "run", workshop)
    assert end == stays(run.steps[1])
    assert (workshop.finished, workshop.doubted) == ([2], [])  # not measured at length
    assert reached < NEAR


def test_one_that_may_be_above_the_budget_is_not_taken(tmp_path):
    workshop = Faster([0.8, 0.8], doubts=(0.001, 0.05, 0.05))
    end, run, _ = shrunk(tmp_path / "run", workshop)
    assert end == stays(run.steps[1])
    assert (workshop.doubted, workshop.finished) == ([0], [2])


def test_one_that_fails_is_told_of_and_the_result_stays(tmp_path):
    workshop = Faster([0.8, 0.8], failing=[1])
    end, run, _ = shrunk(tmp_path / "run", workshop)
    assert end == stays(run.steps[1])
    assert "A candidate is out: The loss is NaN." in (tmp_path / "run/journal.jsonl").read_text()


def test_where_everything_fails_before_there_is_a_result_the_run_ends(tmp_path):
    with pytest.raises(TrainingError, match="NaN"):
        shrunk(tmp_path / "run", Faster([0.8], failing=[0]))


def test_nothing_is_tried_twice_where_nothing_lies_between(tmp_path):
    workshop = Faster([0.8, 0.8], saves=1.0)  # the table is right: what it proposed is the nearest
    end, _, reached = shrunk(tmp_path / "run", workshop, 0.6 * FULL)
    assert reached < NEAR
    assert (workshop.tuned, workshop.finished) == (["uniform"], [1])
    assert (end.iteration, end.origin) == (1, None)


@pytest.mark.parametrize("kill_after", [0, 1])
def test_a_run_that_is_cut_off_there_goes_on_to_the_same_end(tmp_path, kill_after):
    whole, _, _ = shrunk(tmp_path / "whole", Faster([0.8, 0.8]))
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        shrunk(folder, Faster([0.8, 0.8], kill_after=kill_after))
    assert len(steps_of(read_journal(folder))) == kill_after + 1
    end, _, _ = shrunk(folder, Faster([0.8, 0.8]))
    assert end == whole


def fixed(*plan):
    """A strategy that proposes one list of changes after the other, and the last for ever."""
    waiting = list(plan)

    def propose(situation):
        offered = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(offered, Exception):
            raise offered
        return [
            Proposal("fixed", changes, situation.loads.changed(changes)) for changes in offered
            if all(n < situation.sizes[group] for group, n in changes.items())
        ]  # fmt: skip

    return propose


def test_an_iteration_after_a_refusal_is_not_answered_by_trials_from_the_network_before(tmp_path):
    """The result measures too slow in the end; the same changes start from it now."""
    strategy = fixed([{"conv1": 23}], [{"conv2": 60}])
    workshop = Faster([0.8, 0.7, 0.8, 0.8], final=1.3)
    workshop.doubt = 1e-5  # so that the last measurement counts
    end, run, reached = shrunk(tmp_path / "run", workshop, strategy=strategy)
    assert [step.again for step in run.steps] == [False, False, True, False, True]
    assert workshop.finished == [2, 4]
    assert (len(end.keep["conv1"]), len(end.keep["conv2"])) == (23, 60)
    assert reached <= 1


def too_slow_in_the_end(folder, accuracies, strategy=uniform.propose, final=1.1, **told):
    """A search that looked nearer, and whose result measures above the budget."""
    workshop = Faster(accuracies, final=final, **told)
    workshop.doubt = 1e-5
    end, run, reached = shrunk(folder, workshop, strategy=strategy)
    assert run.steps[2].measured["latency"] > LIMIT
    assert reached <= 1
    return end, run, workshop


def test_from_one_that_is_too_slow_in_the_end_the_search_goes_on(tmp_path):
    end, run, workshop = too_slow_in_the_end(tmp_path / "run", [0.8, 0.8, 0.8], final=1.05)
    assert (end.iteration, end.parent, end.again) == (3, 2, False)
    assert workshop.finished == [2, 3]
    assert run.steps[1].measured["latency"] < end.measured["latency"] <= LIMIT


@pytest.mark.parametrize("last", [0.7, 0.8])
def test_the_one_before_is_taken_again_if_it_is_more_accurate_or_as_accurate_and_nearer(
    tmp_path, last
):
    end, run, workshop = too_slow_in_the_end(tmp_path / "run", [0.8, 0.8, last])
    assert [step.again for step in run.steps] == [False, False, False, False, True]
    assert (end.keep, end.weights) == (run.steps[1].keep, run.steps[1].weights)
    assert (end.parent, workshop.finished) == (0, [2, 4])  # nothing is fine-tuned in vain


@pytest.mark.parametrize("failing", [False, True])
def test_the_one_before_is_taken_again_if_nothing_leads_on(tmp_path, failing):
    end, run, workshop = too_slow_in_the_end(
        tmp_path / "run", [0.8] * 3, failing=[2] if failing else [],
        strategy=lambda now: uniform.propose(now) if failing or now.iteration < 3 else [],
    )  # fmt: skip
    assert [step.again for step in run.steps] == [False, False, False, True]
    assert (end.weights, end.parent, workshop.finished) == (run.steps[1].weights, 0, [2, 3])
    said = [r.event.text for r in run.records if isinstance(r.event, Warned)]
    assert any("From the network nearer to the budget nothing leads on: " in text for text in said)


class Journaled(Faster):
    """Tells of its long fine-tunes, as a workbench does."""

    def finish(self, step):
        self.run.append(Trained("adapted", step.iteration, 1.0, Phase("tuning", 1.0)))
        return super().finish(step)


def test_what_was_fine_tuned_at_length_is_not_left_for_another(tmp_path):
    """Killed before its last line, when it had measured below the one that was left."""
    ends = []
    for finals in ([1.05, 0.93], [0.93]):
        workshop = Journaled([0.8, 0.8, 0.8])
        workshop.final, workshop.doubt = finals, 1e-5
        end, run, _ = shrunk(tmp_path / "run", workshop)
        ends.append(end.keep)
    assert ends[0] == ends[1]
    assert end.measured["latency"] < run.steps[1].measured["latency"]


def test_a_fault_that_can_be_mended_does_not_end_the_search_at_the_one_before(tmp_path):
    workshop = Faster([0.8, 0.8, 0.8], final=1.05, damaged=[2])
    workshop.doubt = 1e-5
    with pytest.raises(DataError, match="Stale file handle"):
        shrunk(tmp_path / "run", workshop)
    end, _, _ = shrunk(tmp_path / "run", Faster([0.8, 0.8, 0.8]))
    assert (end.iteration, end.parent, end.again) == (3, 2, False)


@pytest.mark.parametrize("kill_after", [0, 1, 2])
@pytest.mark.parametrize("last", [0.9, 0.7])
def test_such_a_run_that_is_cut_off_goes_on_to_the_same_end(tmp_path, kill_after, last):
    accuracies = [0.8, 0.8, last]
    whole, _, _ = too_slow_in_the_end(tmp_path / "whole", accuracies)
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        too_slow_in_the_end(folder, accuracies, kill_after=kill_after)
    workshop = Faster(accuracies, final=1.1 if kill_after < 2 else 1.0)  # of what is left to do
    workshop.doubt = 1e-5
    end, _, _ = shrunk(folder, workshop)
    assert end == whole


def test_a_run_that_goes_on_from_a_nearer_network_starts_from_it(tmp_path):
    """Above a smaller budget it is, but not because it measured too slow."""
    end, first, _ = shrunk(tmp_path / "first", Faster([0.8, 0.8]))
    with Run(tmp_path / "run", STARTED) as run:
        for step in first.steps:
            run.commit(step)
        run.append(Inherited("first", "", end.iteration))
    workshop = Faster([0.8] * 9)
    further, run, _ = shrunk(tmp_path / "run", workshop, limit=0.9 * end.measured["latency"])
    assert (run.steps[3].parent, run.steps[3].again) == (end.iteration, False)
    assert all(end.sizes[group] >= size for group, size in further.sizes.items())


def test_a_search_that_fine_tuned_at_length_does_not_look_further(tmp_path):
    """Before there was this search, or where the last measurement alone is far below."""
    folder = tmp_path / "run"
    _, run, _ = shrunk(folder, Faster([0.8], saves=1.0), limit=0.9 * FULL)
    step = run.steps[-1]
    low = replace(step.costs["latency"], measured=0.9 * 0.9 * FULL)
    with Run(folder, STARTED) as again:
        again.append(Trained("adapted", step.iteration, 1.0, Phase("tuning", 1.0)))
        again.commit(replace(step, costs={"latency": low}))
    workshop = Faster([0.8, 0.8])
    end, _, _ = shrunk(folder, workshop, limit=0.9 * FULL)
    assert (workshop.tuned, end.iteration) == ([], step.iteration)


def test_a_strategy_that_fails_there_costs_no_result(tmp_path):
    strategy = fixed([{"conv1": 23}], UsageError("The strategy failed."))
    end, run, _ = shrunk(tmp_path / "run", Faster([0.8, 0.8]), strategy=strategy)
    assert end == stays(run.steps[1])
    (said,) = [r.event.text for r in run.records if isinstance(r.event, Warned)]
    assert said == "No network nearer to the budget was found: The strategy failed."


def test_what_was_tried_from_the_same_network_is_not_tried_again(tmp_path):
    strategy = fixed([{"conv1": 23}, {"conv1": 24}])
    workshop = Faster([0.8, 0.8])
    end, run, _ = shrunk(tmp_path / "run", workshop, strategy=strategy)
    assert len(workshop.tuned) == 2
    assert end == stays(run.steps[1])


@pytest.mark.parametrize(("far", "told"), [(0.5, True), (0.9, False)])
def test_a_search_may_end_if_it_is_told_how_far_below_it_is(far, told):
    """Known to 4 %: of half the limit that is little of it, of most of it too much."""
    the_space = space(timed(LIMIT))
    cost = StepCost(far * LIMIT, LIMIT, LIMIT, uncertainty=0.04)
    step = replace(first_step(the_space, Faster([])), iteration=1, costs={"latency": cost})
    assert settled(step, the_space.bounds) is told


def test_a_target_moves_by_what_prices_got_wrong():
    the_space = space(timed(LIMIT))
    first = first_step(the_space, Faster([]))
    sizes = {"conv2": 32}
    priced = cost_of(WEIGHTS, NET.at(sizes))
    cost = StepCost(measured=FULL - 2 * (FULL - priced), predicted=priced, target=LIMIT)
    smaller = replace(first, iteration=1, keep={"conv2": tuple(range(32))}, costs={"latency": cost})
    found = between((first, smaller), "latency", WEIGHTS, NET, 0.9 * FULL)
    assert found.target == pytest.approx(0.95 * FULL)  # it saves twice as much as predicted
    assert found.bias == 1.0
    told_nothing = replace(smaller, costs={"latency": replace(cost, measured=FULL)})
    assert between((first, told_nothing), "latency", WEIGHTS, NET, 0.9 * FULL).target == 0.9 * FULL


def test_a_search_that_may_be_near_enough_is_left_alone():
    the_space = space(timed(LIMIT))
    first = first_step(the_space, Faster([]))
    near = StepCost(0.965 * LIMIT, LIMIT, LIMIT, uncertainty=0.01)
    steps = [first, replace(first, iteration=1, costs={"latency": near})]
    assert not overshot(steps, the_space.bounds)
    sure = replace(near, uncertainty=0.004)
    steps[1] = replace(steps[1], costs={"latency": sure})
    assert overshot(steps, the_space.bounds)
    assert not overshot([first, replace(steps[1], origin=0)], the_space.bounds)
    assert not overshot(steps[1:], the_space.bounds)
    vague = StepCost(0.9 * LIMIT, LIMIT, LIMIT, uncertainty=0.04)  # 3 % more could not be told
    assert not overshot([first, replace(steps[1], costs={"latency": vague})], the_space.bounds)


@settings(max_examples=40, deadline=None)
@given(saves=st.floats(0.8, 1.6), share=st.floats(0.4, 0.95))
def test_whatever_the_device_saves_the_end_is_within_the_budget(tmp_path_factory, saves, share):
    folder = tmp_path_factory.mktemp("run") / "run"
    end, run, reached = shrunk(folder, Faster([0.8] * 50, saves=saves), share * FULL)
    assert reached <= 1
    before = [step for step in run.steps[1:] if step.origin is None]
    assert all(end.sizes[g] <= n for step in before[:-1] for g, n in step.sizes.items())
