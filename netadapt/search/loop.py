"""NetAdapt's loop, without torch: what to try, what to keep, when to stop.

What the loop cannot do by arithmetic (train, score, measure) it asks of a :class:`Workshop`, so
that the same code runs on real devices, on recorded ones, and on mock accuracies in tests.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from netadapt.errors import BudgetUnreachable
from netadapt.network import Cost, Network, Sizes, cost_of, least_sizes
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Event, Run, Step
from netadapt.search.schedule import Schedule
from netadapt.search.strategies import Proposal, Strategy
from netadapt.search.strategies.one_group import comfortable_reduction


class Workshop(Protocol):
    """Does the work on real networks."""

    def cost(self, sizes: Sizes) -> Cost:
        """What prices the network at ``sizes``, and with any one group shrunk from there."""
        ...

    def screen(self, step: Step, proposal: Proposal) -> float:
        """Holdout accuracy of the proposal without training (rung 0)."""
        ...

    def tune(self, step: Step, proposal: Proposal, name: str) -> tuple[float, Step]:
        """Fine-tune briefly, store the weights under ``name``; accuracy and what was kept."""
        ...

    def measure(self, step: Step) -> Measurement:
        """The cost of a step's network on the device, corrected for drift."""
        ...

    def discard(self, name: str) -> None:
        """Remove stored weights."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A proposal with its holdout accuracy."""

    proposal: Proposal
    accuracy: float


Selection = Callable[[Scored, Step], float]
"""``(candidate, step before it) -> score``; the highest wins, the cheapest among equals."""


def highest_accuracy(scored: Scored, before: Step) -> float:
    """Holdout accuracy: the rule of the paper (algorithm 1, "pick highest accuracy")."""
    return scored.accuracy


def least_loss_per_saving(scored: Scored, before: Step) -> float:
    """Accuracy lost per fraction of the cost saved, negated.

    The rule of the official code. Where nothing is lost the larger saving wins, which the official
    ratio gets the wrong way round.
    """
    saved = 1 - scored.proposal.predicted / before.predicted
    lost = before.accuracy - scored.accuracy
    if lost <= 0:
        return saved - lost
    return -lost / saved if saved > 0 else float("-inf")


SELECTIONS: dict[str, Selection] = {
    "accuracy": highest_accuracy,
    "ratio": least_loss_per_saving,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides the course of a search.

    Attributes:
        limit: the budget, in the unit of the cost.
        strategy: proposes.
        schedule: sets the target of each iteration.
        selection: ranks what was tried.
        multiple: widths become multiples of this many channels.
        finalists: how many of the screened proposals are fine-tuned; 0 for all, unscreened.
    """

    limit: float
    strategy: Strategy
    schedule: Schedule
    selection: Selection = highest_accuracy
    multiple: int = 8
    finalists: int = 0


def check_reachable(network: Network, cost: Cost, plan: Plan, original: float) -> None:
    """Refuse a budget that even the smallest network misses clearly, before anything is trained.

    Args:
        network: the unpruned network.
        cost: prices it; must know the smallest network.
        plan: holds the limit.
        original: the unpruned network's measured cost.

    Raises:
        BudgetUnreachable: the smallest network is predicted more than 20 % above the limit.
    """
    bias = original / cost_of(cost, network.at({}))
    least = cost_of(cost, network.at(least_sizes(network, plan.multiple))) * bias
    if least > 1.2 * plan.limit:
        raise BudgetUnreachable(
            f"The budget is {plan.limit / original:.1%} of the original, and the smallest network "
            f"with widths in multiples of {plan.multiple} is predicted at {least / original:.1%}. "
            f"Ask for more than that, or lower --multiple."
        )


def search(network: Network, *, plan: Plan, workshop: Workshop, run: Run, first: Step) -> Step:
    """Shrink until the measured cost is within the limit (Yang et al., ECCV 2018, algorithm 1).

    Every finished candidate and iteration is in the run's journal; called again, the search goes on
    where it was cut off.

    Args:
        network: the unpruned network.
        plan: limit, strategy, schedule and rules.
        workshop: prices, trains, scores, measures. What its cost gets wrong is rescaled away at
            each iteration.
        run: the journal.
        first: the unpruned network, measured.

    Returns:
        The step whose measured cost is within the limit.

    Raises:
        BudgetUnreachable: nothing is left to remove; the run is kept.
    """
    step = (run.steps() or [first])[-1]
    while step.measured > plan.limit:
        cost = workshop.cost(step.sizes)
        target = _target(network, cost, plan, step, first)
        sizes = network.complete(step.sizes)
        proposals = plan.strategy(network, sizes, cost, target / step.bias, plan.multiple)
        if not proposals:
            raise BudgetUnreachable(
                "Nothing is left to remove: the network is at "
                f"{step.measured / first.measured:.1%} of the original, and "
                f"{plan.limit / first.measured:.1%} was asked. The run is kept; "
                f"netadapt export {run.folder} writes its smallest network."
            )
        step = _iterate(step, proposals, target, plan, workshop, run)
    return step


def _target(network: Network, cost: Cost, plan: Plan, step: Step, first: Step) -> float:
    """The measured cost to get down to next: the schedule's, but not below the budget."""
    reach = 0.0
    if plan.schedule.initial is None:
        reach = comfortable_reduction(network, step.sizes, cost, plan.multiple) * step.bias
    scheduled = plan.schedule.target(
        iteration=step.iteration + 1,
        achieved=step.measured,
        original=first.measured,
        reach=reach,
    )
    return max(plan.limit, scheduled)


def _iterate(
    step: Step,
    proposals: list[Proposal],
    target: float,
    plan: Plan,
    workshop: Workshop,
    run: Run,
) -> Step:
    """Try the proposals, keep the best, measure it, record it."""
    iteration = step.iteration + 1
    screened = 0 < plan.finalists < len(proposals)
    run.append(
        "iteration",
        iteration=iteration,
        target=target,
        proposals=len(proposals),
        trials=len(proposals) + plan.finalists * screened,
    )
    finalists = _screen(step, proposals, plan, workshop, run)
    best: tuple[tuple[float, float], Step, str] | None = None
    for proposal in finalists:
        name = f"candidate-{iteration:03d}-{proposals.index(proposal):03d}"
        done = _recorded(run, iteration, proposal, rung=1)
        if done is not None:
            accuracy, tuned = done["accuracy"], Step.from_event(done["step"])
        else:
            accuracy, tuned = workshop.tune(step, proposal, name)
            run.append(
                "candidate",
                iteration=iteration,
                name=proposal.name,
                rung=1,
                accuracy=accuracy,
                predicted=proposal.predicted,
                changes=dict(proposal.changes),
                step=asdict(tuned),
            )
        score = (plan.selection(Scored(proposal, accuracy), step), -proposal.predicted)
        if best is None or score > best[0]:
            loser = best[2] if best else ""
            best = (score, tuned, name)
        else:
            loser = name
        if loser:
            workshop.discard(loser)
    assert best is not None  # proposals are never empty here
    measurement = workshop.measure(best[1])
    return run.commit(
        replace(best[1], target=target, measured=measurement.p10, spread=measurement.spread)
    )


def _recorded(run: Run, iteration: int, proposal: Proposal, *, rung: int) -> Event | None:
    """The proposal's result, if it was finished before the run was cut off."""
    return run.found(
        "candidate",
        iteration=iteration,
        name=proposal.name,
        rung=rung,
        changes=dict(proposal.changes),
    )


def _screen(
    step: Step, proposals: list[Proposal], plan: Plan, workshop: Workshop, run: Run
) -> list[Proposal]:
    """The proposals worth fine-tuning: the best by accuracy after BN re-estimation."""
    if not 0 < plan.finalists < len(proposals):
        return proposals
    iteration = step.iteration + 1
    scored = []
    for proposal in proposals:
        done = _recorded(run, iteration, proposal, rung=0)
        if done is None:
            done = run.append(
                "candidate",
                iteration=iteration,
                name=proposal.name,
                rung=0,
                accuracy=workshop.screen(step, proposal),
                predicted=proposal.predicted,
                changes=dict(proposal.changes),
            )
        scored.append((plan.selection(Scored(proposal, done["accuracy"]), step), proposal))
    ranked = sorted(range(len(scored)), key=lambda i: -scored[i][0])[: plan.finalists]
    return [proposals[i] for i in sorted(ranked)]
