"""NetAdapt's loop, without torch: what to try, what to keep, when to stop.

    propose -> try -> select -> measure -> commit -> repeat

What the loop cannot do by arithmetic (train, score, measure) it asks of a :class:`Workshop`, so
that the same code runs on real devices, on recorded ones, and on mock accuracies in tests.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from netadapt.errors import BudgetUnreachable, TrainingError, UsageError
from netadapt.network import Cost, Network, Sizes, cost_of, least_sizes
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Outcome, Run, Step
from netadapt.runs.events import IterationStarted, Tried
from netadapt.search.budgets import Bound, binding, load
from netadapt.search.confirmation import Taking, contradictions, remeasured, settled, take
from netadapt.search.pricing import Loads, Scale, comfortable_reduction
from netadapt.search.schedule import Schedule
from netadapt.search.selection import Candidate, Selection, highest_accuracy
from netadapt.search.strategies import Proposal, Scores, Situation, Strategy

SLACK = 1.2
"""How far above a limit a prediction of a measured cost may be before a budget is refused."""


class Workshop(Protocol):
    """Does the work on real networks."""

    def costs(self, sizes: Sizes) -> Mapping[str, Cost]:
        """What prices, by the key of each bound, the network at ``sizes`` and smaller ones."""
        ...

    def scores(self, step: Step) -> Scores:
        """How much each unit of a group matters in the network of a step, worked out when asked."""
        ...

    def attempt(
        self, step: Step, proposals: Mapping[int, Proposal], rung: int
    ) -> Iterator[Outcome]:
        """Try the proposals, given by their index, in any order.

        Rung 0 scores without training; rung 1 fine-tunes briefly and stores the weights.
        """
        ...

    def measure(
        self, step: Step, index: int, outcome: Outcome, *, doubted: bool = False
    ) -> Mapping[str, Measurement]:
        """What the network of an outcome costs, by the key of each bound, beside the unpruned.

        A result that is doubted is measured again for longer.
        """
        ...

    def keep(self, iteration: int, index: int) -> str:
        """Keep the weights of a candidate, and drop those of all others; their name."""
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
        selection: ranks what was tried.
        multiple: widths become multiples of this many channels.
        finalists: how many of the screened proposals are fine-tuned; 0 for all, unscreened.
        seed: of what strategies draw.
    """

    network: Network
    bounds: tuple[Bound, ...]
    strategy: Strategy
    schedule: Schedule
    selection: Selection = highest_accuracy
    multiple: int = 8
    finalists: int = 0
    seed: int = 0


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
                f"The budget of {bound.key} is {bound.limit / bound.original:.1%} of the original, "
                f"and the smallest network with widths in multiples of {space.multiple} is "
                f"predicted at {smallest / bound.original:.1%}. Ask for more than that, or for "
                "widths in smaller multiples."
            )


def search(space: Space, workshop: Workshop, run: Run) -> Step:
    """Shrink until the measured load is at most 1 (Yang et al., ECCV 2018, algorithm 1).

    Every finished candidate and iteration is in the run's journal; called again, the search goes on
    where it was cut off. The last of the run's steps is where it starts.

    Args:
        space: network, bounds, strategy, schedule and rules.
        workshop: prices, trains, scores, measures. What its costs get wrong is rescaled away at
            each iteration.
        run: the journal; holds the unpruned network as step 0.

    Returns:
        The step whose network, fine-tuned at length and exported, is within every budget.

    Raises:
        BudgetUnreachable: nothing is left to remove; the run is kept.
    """
    step = run.steps[-1]
    while True:
        if load(step.measured, space.bounds) > 1:
            step = _iterate(step, space, workshop, run)
        elif not settled(step, space.bounds):
            step = run.commit(remeasured(step, workshop.settle(step), final=True))
        elif contradicted := contradictions(step, workshop.finish(step), space.bounds):
            # Latency hardly hangs on the weights, but this time it did: go on from there.
            step = run.commit(remeasured(step, contradicted, final=False))
        else:
            return step


def _iterate(step: Step, space: Space, workshop: Workshop, run: Run) -> Step:
    """Propose, try, keep the best, measure it, record it."""
    costs = workshop.costs(step.sizes)
    aim = aims(step, space, costs)
    targets = {key: scale.target for key, scale in aim.items()}
    loads = Loads(space.network, step.sizes, costs, aim)
    judge = Judge(step, space.selection, loads, run, workshop)
    situation = Situation(
        space.network, loads, space.multiple, workshop.scores(step), judge.screened,
        space.seed, step.iteration + 1,
    )  # fmt: skip
    proposals = proposed(space.strategy, situation)
    if not proposals:
        raise _nothing_left(step, space, run)
    screened = 0 < space.finalists < len(proposals)
    trials = len(proposals) + space.finalists * screened
    run.append(IterationStarted(step.iteration + 1, targets, len(proposals), trials))
    chosen: Sequence[int] = range(len(proposals))
    if screened:
        ranked = judge.ranked(proposals, chosen, rung=0)
        chosen = sorted(ranked[: space.finalists])
    candidates = []
    for index in judge.ranked(proposals, chosen, rung=1):
        outcome = judge.outcome(proposals[index], rung=1)
        assert outcome is not None  # it was ranked by it
        candidates.append((proposals[index], outcome))
    present = load(step.measured, space.bounds)
    return take(step, candidates, Taking(run, workshop, loads, space.bounds, targets, present))


def proposed(strategy: Strategy, situation: Situation) -> list[Proposal]:
    """What the strategy proposes, refused where the loop could not go on from it.

    Raises:
        UsageError: it is no list of proposals, or one of them shrinks nothing, enlarges a group, or
            names one that the network lacks.
    """
    proposals, sizes = strategy(situation), situation.sizes
    if not isinstance(proposals, list) or not all(isinstance(p, Proposal) for p in proposals):
        raise UsageError(
            "The strategy must return a list of Proposal, empty if nothing can lower the load; it "
            f"returned {proposals!r:.80}."
        )
    for proposal in proposals:
        changes = proposal.changes
        fits = all(1 <= size <= sizes.get(group, 0) for group, size in changes.items())
        if not fits or all(size == sizes[group] for group, size in changes.items()):
            raise UsageError(
                f"The strategy proposed {dict(changes)} as {proposal.name!r}; a proposal must give "
                "groups of the network sizes from 1 to the present ones, and shrink at least one."
            )
    return proposals


def aims(step: Step, space: Space, costs: Mapping[str, Cost]) -> dict[str, Scale]:
    """The cost to get down to next, of each bound: the schedule's, but not below the budget."""
    found = {}
    for bound in space.bounds:
        present = step.costs[bound.key]
        reach = 0.0
        if space.schedule.initial is None:
            reach = present.bias * comfortable_reduction(
                space.network, step.sizes, costs[bound.key], space.multiple
            )
        scheduled = space.schedule.target(
            iteration=step.iteration + 1,
            achieved=present.measured,
            original=bound.original,
            reach=reach,
        )
        found[bound.key] = Scale(present.bias, max(bound.limit, scheduled))
    return found


def _nothing_left(step: Step, space: Space, run: Run) -> BudgetUnreachable:
    bound = binding(step.measured, space.bounds)
    return BudgetUnreachable(
        f"Nothing more can be removed: {bound.key} is at "
        f"{step.measured[bound.key] / bound.original:.1%} of the original, and "
        f"{bound.limit / bound.original:.1%} was asked. The run is kept in {run.folder}, and its "
        "smallest network can be exported."
    )


@dataclass(frozen=True, slots=True)
class Judge:
    """Has proposals tried, once each over all of a run's life, and ranks them.

    Attributes:
        step: what they start from.
        selection: the rule.
        loads: of the iteration.
        run: the journal, in which finished trials are found and recorded.
        workshop: tries them.
    """

    step: Step
    selection: Selection
    loads: Loads
    run: Run
    workshop: Workshop

    def ranked(
        self, proposals: Sequence[Proposal], indices: Sequence[int], *, rung: int
    ) -> list[int]:
        """The indices of these proposals, best first; those that failed are left out.

        Raises:
            TrainingError: all of them failed.
        """
        outcomes = self._outcomes(proposals, indices, rung)
        scores = {
            index: (self._score(proposals[index], outcome),
                    -proposals[index].load, -index)
            for index, outcome in outcomes.items()
            if not outcome.failed
        }  # fmt: skip
        if not scores:
            raise TrainingError(next(iter(outcomes.values())).failed)
        return sorted(scores, key=lambda index: scores[index], reverse=True)

    def screened(self, proposals: Sequence[Proposal]) -> list[float]:
        """Score of each proposal without training; ``-inf`` for one that failed."""
        outcomes = self._outcomes(proposals, range(len(proposals)), rung=0)
        return [
            -math.inf if outcomes[index].failed else outcomes[index].accuracy
            for index in range(len(proposals))
        ]

    def outcome(self, proposal: Proposal, rung: int) -> Outcome | None:
        """What came of a proposal, if it was tried before the run was cut off."""
        iteration, changes = self.step.iteration + 1, dict(proposal.changes)
        for record in reversed(self.run.records):
            event = record.event
            if isinstance(event, IterationStarted) and event.iteration < iteration:
                return None
            if (
                isinstance(event, Tried)
                and (event.iteration, event.outcome.rung) == (iteration, rung)
                and (event.name, event.changes) == (proposal.name, changes)
            ):
                return event.outcome
        return None

    def _outcomes(
        self, proposals: Sequence[Proposal], indices: Sequence[int], rung: int
    ) -> dict[int, Outcome]:
        done = {index: self.outcome(proposals[index], rung) for index in indices}
        outcomes = {index: outcome for index, outcome in done.items() if outcome is not None}
        waiting = {index: proposals[index] for index in indices if index not in outcomes}
        for outcome in self.workshop.attempt(self.step, waiting, rung) if waiting else ():
            proposal = proposals[outcome.index]
            outcomes[outcome.index] = outcome
            prices = self.loads.prices(proposal.changes)
            self.run.append(
                Tried(
                    self.step.iteration + 1, proposal.name, dict(proposal.changes), prices, outcome
                )
            )
            if outcome.failed:
                self.run.warn(f"A candidate is out: {outcome.failed}")
        return outcomes

    def _score(self, proposal: Proposal, outcome: Outcome) -> float:
        tried = Candidate(outcome.accuracy, proposal.load, self.step.accuracy, self.loads.present)
        score = self.selection(tried)
        if not isinstance(score, int | float) or math.isnan(score):
            raise UsageError(
                f"The selection gave {score!r} for {proposal.name!r}; it must return a number, the "
                "highest for the best candidate."
            )
        return score
