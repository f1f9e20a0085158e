"""NetAdapt's loop, without torch: what to try, what to keep, when to stop.

    propose -> try -> select -> measure -> commit -> repeat

What the loop cannot do by arithmetic (train, score, measure) it asks of a :class:`Workshop`, so
that the same code runs on real devices, on recorded ones, and on mock accuracies in tests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from netadapt.config.rungs import Rung, applicable, trials_of
from netadapt.errors import BudgetUnreachable, TrainingError, UsageError
from netadapt.network import Cost, Network, Sizes, cost_of, least_sizes
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Outcome, Run, Step, left_for_nearer
from netadapt.runs.events import IterationStarted, Trained, Tried
from netadapt.search.budgets import Bound, binding, load
from netadapt.search.confirmation import (
    Taking,
    between,
    nearest,
    overshot,
    pooled,
    remeasured,
    settled,
    take,
)
from netadapt.search.judge import Judge
from netadapt.search.lessons import corrected
from netadapt.search.pricing import Loads, Scale, comfortable_reduction
from netadapt.search.proposing import proposed
from netadapt.search.race import Race
from netadapt.search.schedule import Schedule, even_target
from netadapt.search.selection import Selection, highest_accuracy
from netadapt.search.strategies import Proposal, Scores, Situation, Strategy
from netadapt.units import format_share

SLACK = 1.2
"""How far above a limit a prediction of a measured cost may be before a budget is refused."""

AIM = 0.985
"""Where to arrive in the end, as a share of a limit that is measured with noise: who aims at the
limit itself misses it every other time, which costs one more iteration, and of those that meet it
every other one is above it when it is measured again."""

MOVED = 1.005
"""A target that is moved by less leads to no other network."""


class Workshop(Protocol):
    """Does the work on real networks."""

    def costs(self, sizes: Sizes) -> Mapping[str, Cost]:
        """What prices, by the key of each bound, the network at ``sizes`` and smaller ones.

        Those of earlier steps too, as well as it can.
        """
        ...

    def scores(self, step: Step) -> Scores:
        """How much each unit of a group matters in the network of a step, worked out when asked."""
        ...

    def attempt(
        self,
        step: Step,
        proposals: Mapping[int, Proposal],
        rung: int,
        part: tuple[int, int] | None = None,
    ) -> Iterator[Outcome]:
        """Try the proposals, given by their index, in any order.

        Rung 0 scores without training; each rung above goes on with a short fine-tune, and the last
        ends it and stores the weights. All holdout images are scored, or a part of a race's.
        """
        ...

    def measure(
        self, step: Step, index: int, outcome: Outcome, *, doubted: bool = False
    ) -> Mapping[str, Measurement]:
        """What the network of an outcome costs, by the key of each bound, beside the unpruned.

        A result that is doubted is measured again for longer.
        """
        ...

    def weights(self, iteration: int, index: int) -> str:
        """Name of the weights of a candidate."""
        ...

    def keep(self, step: Step) -> None:
        """Drop the weights of all candidates but those that steps took; the last is in the journal.

        Before that they may be needed again, if the run is cut off.
        """
        ...

    def settle(self, step: Step) -> Mapping[str, Measurement]:
        """What the network of a step costs, measured for so long that a search may end by it."""
        ...

    def finish(self, step: Step) -> Mapping[str, Measurement]:
        """Fine-tune at length and export; what the result costs, by the key of each bound."""
        ...


@dataclass(frozen=True, slots=True)
class Space:
    """What decides the course of a search.

    Attributes:
        network: the unpruned network.
        bounds: the budgets.
        strategy: proposes.
        schedule: sets the targets of each iteration.
        selection: picks the winner of an iteration.
        multiple: widths become multiples of this many channels.
        rungs: how candidates are thinned out; without any, every proposal is fine-tuned to the end.
        screening: picks who goes on to the next rung; None for the selection.
        race: how they are thinned out on fewer images, by their loss; None to score all on all.
        seed: of what strategies draw.
        rounds: in how many iterations to get to the budgets in even steps, where the schedule
            leaves the first reduction open; 0 for small steps.
        comparable: whether units' scores compare across groups.
    """

    network: Network
    bounds: tuple[Bound, ...]
    strategy: Strategy
    schedule: Schedule
    selection: Selection = highest_accuracy
    multiple: int = 8
    rungs: tuple[Rung, ...] = ()
    screening: Selection | None = None
    race: Race | None = None
    seed: int = 0
    rounds: int = 0
    comparable: bool = False


def check_reachable(space: Space, costs: Mapping[str, Cost]) -> None:
    """Refuse a budget that even the smallest network misses clearly, before anything is trained.

    Args:
        space: holds the bounds.
        costs: what prices networks, by key; must know the smallest network.

    Raises:
        BudgetUnreachable: the smallest network is predicted more than 20 % above a measured
            limit, or above a counted one.
    """
    network, least = space.network, least_sizes(space.network, space.multiple)
    for bound in space.bounds:
        cost = costs[bound.key]
        bias = bound.original / cost_of(cost, network.at({}))
        smallest = cost_of(cost, network.at(least)) * bias
        slack = SLACK if bound.measured else 1.0
        if smallest > slack * bound.limit:
            raise BudgetUnreachable(
                f"The budget of {bound.key} is {format_share(bound.limit / bound.original)} of the "
                f"original, and the smallest network with widths in multiples of {space.multiple} "
                f"is predicted at {format_share(smallest / bound.original)}. Ask for more than "
                "that, or for widths in smaller multiples."
            )


def search(space: Space, workshop: Workshop, run: Run) -> Step:
    """Shrink until the measured load is at most 1 (Yang et al., ECCV 2018, algorithm 1).

    Every finished candidate and iteration is in the run's journal; called again, the search goes on
    where it was cut off. The last of the run's steps is where it starts. Where the last iteration
    went far below the budgets, what lies between it and the one before is tried once; the search
    goes on from there, if that turns out to be above them after all.

    Args:
        space: network, bounds, strategy, schedule and rules.
        workshop: prices, trains, scores, measures. What its costs get wrong is corrected by class
            of layer and rescaled at each iteration, see :mod:`.lessons`.
        run: the journal; holds the unpruned network as step 0.

    Returns:
        The step whose network, fine-tuned at length and exported, is within every budget.

    Raises:
        BudgetUnreachable: nothing is left to remove; the run is kept.
    """
    step, iterations = run.steps[-1], _Iterations(space, workshop, run)
    while True:
        if load(step.measured, space.bounds) > 1:
            step = iterations.further(step)
        elif not settled(step, space.bounds):
            step = run.commit(remeasured(step, workshop.settle(step), final=True))
        elif other := iterations.instead():
            step = other
        else:
            told = pooled(step, workshop.finish(step))
            step = step if told.measured == step.measured else run.commit(told)
            if load(step.measured, space.bounds) <= 1:
                return step


@dataclass(frozen=True, slots=True)
class _Iterations:
    """The iterations of a search, see :func:`search`."""

    space: Space
    workshop: Workshop
    run: Run

    def further(self, step: Step) -> Step:
        """The next step; where there can be none, the one that was left for a nearer one."""
        try:
            return self.next(step)
        except (BudgetUnreachable, TrainingError) as error:
            if (left := left_for_nearer(self.run.records)) is None:
                raise
            why = str(error).partition(". ")[0].rstrip(".")
            self.run.warn(f"From the network nearer to the budget nothing leads on: {why}.")
            self.workshop.keep(self.run.commit(left))
            return left

    def next(self, step: Step) -> Step:
        """Propose, try, keep the best, measure it, record it."""
        costs = self._costs(step, self.run.steps)
        aim = aims(step, self.space, costs)
        loads = self._loads(step, costs, aim)
        targets = {key: scale.target for key, scale in aim.items()}
        candidates = self._tried(step, loads, targets)
        if not candidates:
            raise _nothing_left(step, self.space, self.run)
        return take(step, candidates, self._taking(step, loads, targets))

    def instead(self) -> Step | None:
        """Another step to end with than the last, unless that was fine-tuned at length already.

        The step that was left for a nearer one, if it is the better of the two after all: more
        accurate than the last, or as accurate and nearer to the budgets. If none was, see
        :meth:`nearer`.
        """
        run, last = self.run, self.run.steps[-1]
        if run.last(Trained, what="adapted", iteration=last.iteration) is not None:
            return None
        left = left_for_nearer(run.records)
        if left is None:
            return self.nearer()
        return run.commit(left) if self._worth(left) > self._worth(last) else None

    def nearer(self) -> Step | None:
        """What became of looking for a network between the last two, within the budgets.

        That network, or the last one again. None where there is nothing to look for: the search did
        not go far below the budgets, or the prices were right, so that it proposed what is nearest.
        """
        bounds, steps = self.space.bounds, self.run.steps
        if not overshot(steps, bounds):
            return None
        *earlier, base, step = steps
        costs = self._costs(base, [*earlier, step, base])
        ends = {bound.key: _end(step, bound) for bound in bounds}
        scales = {
            key: between((base, step), key, costs[key], self.space.network, end)
            for key, end in ends.items()
        }  # fmt: skip
        if all(scales[key].target < MOVED * end for key, end in ends.items()):
            return None
        # Under the number of the last step, so that what is tried is of an iteration of its own.
        start = replace(base, iteration=step.iteration)
        loads = self._loads(start, costs, scales)
        taking = self._taking(start, loads, ends)
        found = None
        try:
            candidates = self._tried(start, loads, ends, self._worth_trying(step, loads))
            found = nearest(step, start, candidates, taking)
        except (TrainingError, UsageError) as error:  # of a strategy of one's own, say
            self.run.warn(f"No network nearer to the budget was found: {error}")
        stays = replace(step, iteration=step.iteration + 1, again=True)
        taken = self.run.commit(
            replace(taking.step(start, *found) if found else stays, origin=base.iteration)
        )
        self.workshop.keep(taken)
        return taken

    def _worth(self, step: Step) -> tuple[float, float]:
        """Of a step that is within the budgets."""
        return step.accuracy, load(step.measured, self.space.bounds)

    def _worth_trying(self, step: Step, loads: Loads) -> Callable[[Proposal], bool]:
        """Whether a proposal leads at least halfway from a step to the targets, and is new."""
        halfway = (1 + loads.changed(step.sizes)) / 2
        known = [
            (event.name, event.changes)
            for event in (record.event for record in self.run.records)
            if isinstance(event, Tried) and event.iteration == step.iteration
        ]
        return lambda p: halfway <= p.load <= 1 and (p.name, dict(p.changes)) not in known

    def _costs(self, step: Step, steps: Sequence[Step]) -> dict[str, Cost]:
        """What prices networks that are cut from a step, by all that was measured."""
        costs = self.workshop.costs(step.sizes)
        return corrected(self.space.network, costs, self.space.bounds, steps)

    def _loads(self, step: Step, costs: Mapping[str, Cost], scales: Mapping[str, Scale]) -> Loads:
        passed_over = [passed for earlier in self.run.steps for passed in earlier.passed_over]
        return Loads(self.space.network, step.sizes, costs, scales, passed_over)

    def _taking(self, step: Step, loads: Loads, targets: Mapping[str, float]) -> Taking:
        bounds = self.space.bounds
        return Taking(self.run, self.workshop, loads, bounds, targets, load(step.measured, bounds))

    def _tried(
        self,
        step: Step,
        loads: Loads,
        targets: Mapping[str, float],
        only: Callable[[Proposal], bool] = lambda _: True,
    ) -> list[tuple[Proposal, Outcome]]:
        """What came through all rungs of proposals from a step, best first; nothing of none."""
        space, run = self.space, self.run
        judge = Judge(
            step, loads, run, self.workshop, space.selection, space.screening or space.selection,
            space.race,
        )  # fmt: skip
        situation = Situation(
            space.network, loads, space.multiple, self.workshop.scores(step), judge.screened,
            space.seed, step.iteration + 1, space.comparable,
        )  # fmt: skip
        proposals = [p for p in proposed(space.strategy, situation) if only(p)]
        if not proposals:
            return []
        rungs = applicable(space.rungs, len(proposals))
        trials = trials_of(rungs, len(proposals))
        run.append(IterationStarted(step.iteration + 1, targets, len(proposals), trials))
        return judge.ranked(proposals, rungs)


def aims(step: Step, space: Space, costs: Mapping[str, Cost]) -> dict[str, Scale]:
    """The cost to get down to next, of each bound: the schedule's, but not below the budget.

    Where repeated measurements differ, the last one is a little below, see :data:`AIM`.
    """
    return {
        bound.key: Scale(
            step.costs[bound.key].bias,
            max(_end(step, bound), _scheduled(step, bound, space, costs[bound.key])),
        )
        for bound in space.bounds
    }


def _end(step: Step, bound: Bound) -> float:
    """The cost to arrive at."""
    return bound.limit * (AIM if bound.measured and step.costs[bound.key].noisy else 1.0)


def _scheduled(step: Step, bound: Bound, space: Space, cost: Cost) -> float:
    present, schedule = step.costs[bound.key], space.schedule
    if schedule.initial is None and space.rounds:
        left = max(1, space.rounds - step.iteration)
        return even_target(achieved=present.measured, limit=_end(step, bound), left=left)
    reach = 0.0
    if schedule.initial is None:
        reach = present.bias * comfortable_reduction(
            space.network, step.sizes, cost, space.multiple
        )
    return schedule.target(
        iteration=step.iteration + 1,
        achieved=present.measured,
        original=bound.original,
        reach=reach,
    )


def _nothing_left(step: Step, space: Space, run: Run) -> BudgetUnreachable:
    bound = binding(step.measured, space.bounds)
    asked = format_share(bound.limit / bound.original)
    if not step.iteration:
        return BudgetUnreachable(
            f"The strategy proposed nothing for the unpruned network, so that {bound.key} stays "
            f"at 100% of the original, and {asked} was asked. Choose another strategy, or smaller "
            "multiples of widths."
        )
    return BudgetUnreachable(
        f"Nothing more can be removed: {bound.key} is at "
        f"{format_share(step.measured[bound.key] / bound.original)} of the original, and {asked} "
        f"was asked. The run is kept in {run.folder}, and its smallest network can be exported."
    )
