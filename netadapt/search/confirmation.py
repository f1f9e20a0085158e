"""What measurements decide: whether a candidate is taken, and whether a search may end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from netadapt.network import Cost, Network, cost_of
from netadapt.platforms.bench.rounds import NORMAL
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Outcome, PassedOver, Run, Step, StepCost
from netadapt.search.budgets import Bound, load
from netadapt.search.pricing import Loads, Scale
from netadapt.search.strategies import Proposal

NEAR = 0.97
"""Share of the budgets below which a search that has ended looks for a larger network once more."""


class Scales(Protocol):
    """Measures candidates; the part of a workshop that is needed here."""

    def measure(
        self, step: Step, index: int, outcome: Outcome, *, doubted: bool = False
    ) -> Mapping[str, Measurement]:
        """What the network of an outcome costs."""
        ...

    def weights(self, iteration: int, index: int) -> str:
        """Name of the weights of a candidate."""
        ...

    def keep(self, step: Step) -> None:
        """Drop the weights of all candidates but those that steps took."""
        ...


def settled(step: Step, bounds: Sequence[Bound]) -> bool:
    """Whether it is beyond doubt that the step is within every budget.

    And, if it is so far below them that a larger network may be, how far. Or it was measured for as
    long as a doubt is worth. Decided before the long fine-tune, which would be in vain if a later
    measurement took the step back.
    """
    far = load(step.measured, bounds) < NEAR
    costs = [(step.costs[bound.key], bound) for bound in bounds if bound.measured]
    return all(
        cost.final or (cost.highest <= bound.limit and (_told(cost, bound) or not far))
        for cost, bound in costs
    )


def _told(cost: StepCost, bound: Bound) -> bool:
    """Whether the measurement tells :data:`NEAR` of a budget from all of it."""
    return cost.highest - cost.measured <= (1 - NEAR) * bound.limit


def pooled(step: Step, final: Mapping[str, Measurement]) -> Step:
    """The step with what its result measured taken in, each weighed by how well it is known.

    The ratio of two networks may drift by more from one hour to the next than either measurement
    tells, so that the last one alone does not take back what an earlier, longer one found. Where
    they differ by more than both tell, what is known of their mean is widened by as much (the ratio
    of Birge, The Calculation of Errors by the Method of Least Squares, Phys. Rev. 40, 1932).
    """
    readings = {}
    for key, reading in final.items():
        before = step.costs[key]
        if before.uncertainty and not reading.uncertainty:
            continue  # what is known better stays
        if before.uncertainty and reading.uncertainty and reading.value > 0:
            weight = (before.uncertainty / reading.uncertainty) ** 2
            value = (before.measured + weight * reading.value) / (1 + weight)
            told = math.hypot(before.uncertainty, reading.uncertainty) / NORMAL
            birge = max(1.0, abs(reading.value / before.measured - 1) / told)
            known = birge * before.uncertainty / math.sqrt(1 + weight)
            reading = replace(reading.scaled(value / reading.value), uncertainty=known)
        readings[key] = reading
    return remeasured(step, readings, final=True)


def remeasured(step: Step, readings: Mapping[str, Measurement], *, final: bool) -> Step:
    """The step with what it was measured at since; ``final`` if that is to be the last word."""
    costs = {
        key: replace(
            step.costs[key],
            measured=reading.value,
            spread=reading.spread,
            uncertainty=reading.uncertainty,
            final=final,
        )
        for key, reading in readings.items()
    }
    return replace(step, costs={**step.costs, **costs})


def take(step: Step, candidates: Sequence[tuple[Proposal, Outcome]], taking: "Taking") -> Step:
    """Make the best candidate that is measured to lower the load the next step.

    One that does not is measured again, for longer; then it is the next one's turn, and what misled
    is corrected for the iterations to come. Where none does, the smallest as measured is taken, so
    that the search goes on.
    """
    passed_over: list[PassedOver] = []
    readings: list[Mapping[str, Measurement]] = []
    for proposal, outcome in candidates:
        readings.append(taking.workshop.measure(step, outcome.index, outcome))
        if taking.lowers(readings[-1]):
            break
        readings[-1] = taking.workshop.measure(step, outcome.index, outcome, doubted=True)
        if taking.lowers(readings[-1]):
            break
        taking.run.warn(
            f"Shrinking {proposal.name} was predicted to lower the cost, and does not as measured; "
            "the next best candidate is measured instead."
        )
        passed_over.append(taking.excess(step, proposal, readings[-1]))
    best = min(range(len(readings)), key=lambda place: taking.load(readings[place]))
    taken = taking.step(step, *candidates[best], readings[best])
    taken = taking.run.commit(replace(taken, passed_over=tuple(passed_over)))
    taking.workshop.keep(taken)  # not before: a run that is cut off here measures them again
    return taken


def overshot(steps: Sequence[Step], bounds: Sequence[Bound]) -> bool:
    """Whether the last step is so far below its budgets that a larger network may be within them.

    If one was looked for already, it is not looked for again; nor where measurements tell too
    little to know that it is nearer, and still within the budgets.
    """
    if len(steps) < 2 or steps[-1].origin is not None or load(steps[-2].measured, bounds) <= 1:
        return False
    costs = [(steps[-1].costs[bound.key], bound) for bound in bounds]
    return all(c.highest < NEAR * bound.limit and _told(c, bound) for c, bound in costs)


def between(pair: tuple[Step, Step], key: str, cost: Cost, network: Network, end: float) -> Scale:
    """How the prices of one bound count for networks between two that were measured.

    They are right for the larger. What they get wrong of the smaller is taken to grow in proportion
    to what is saved, and the target moves by as much.

    Args:
        pair: a network, and one that was cut from it.
        key: of the bound.
        cost: what prices networks; the larger at what was predicted of it.
        network: the unpruned network.
        end: the cost to arrive at.
    """
    larger, smaller = pair
    at, reached = larger.costs[key].measured, smaller.costs[key].measured
    bias = larger.costs[key].bias
    foreseen = cost_of(cost, network.at(smaller.sizes)) * bias
    if min(at - reached, at - foreseen, at - end) <= 0:  # they tell nothing of this bound
        return Scale(bias, end)
    return Scale(bias, at - (at - end) * (at - foreseen) / (at - reached))


def nearest(
    step: Step, start: Step, candidates: Sequence[tuple[Proposal, Outcome]], taking: "Taking"
) -> tuple[Proposal, Outcome, Mapping[str, Measurement]] | None:
    """The better of the first two candidates that is nearer to the budgets, and no less accurate.

    It has to be within them beyond doubt, for the step is.

    Args:
        step: the network that it would replace.
        start: what the candidates were cut from.
        candidates: best first.
        taking: of the iteration.
    """
    present = load(step.measured, taking.bounds)
    for proposal, outcome in candidates[:2]:
        if outcome.accuracy < step.accuracy:
            continue
        for doubted in (False, True):
            readings = taking.workshop.measure(start, outcome.index, outcome, doubted=doubted)
            if not present < taking.load(readings) <= 1:
                break
            if settled(taking.step(start, proposal, outcome, readings), taking.bounds):
                return proposal, outcome, readings
    return None


@dataclass(frozen=True, slots=True)
class Taking:
    """What it takes to make a candidate the next step."""

    run: Run
    workshop: Scales
    loads: Loads
    bounds: Sequence[Bound]
    targets: Mapping[str, float]
    present: float

    def load(self, readings: Mapping[str, Measurement]) -> float:
        """Of a network as measured."""
        return load({key: reading.value for key, reading in readings.items()}, self.bounds)

    def lowers(self, readings: Mapping[str, Measurement]) -> bool:
        """Whether a network is measured below the present one."""
        return self.load(readings) < self.present

    def excess(
        self, step: Step, proposal: Proposal, readings: Mapping[str, Measurement]
    ) -> PassedOver:
        """How far the prediction of a candidate is below what it measures."""
        prices = self.loads.prices(proposal.changes)
        return PassedOver(
            dict(proposal.changes),
            {key: r.value / step.costs[key].bias - prices[key] for key, r in readings.items()},
        )

    def step(
        self, step: Step, proposal: Proposal, outcome: Outcome,
        readings: Mapping[str, Measurement],
    ) -> Step:  # fmt: skip
        """What the next step is, if a candidate is taken."""
        prices = self.loads.prices(proposal.changes)
        costs = {
            key: StepCost(r.value, prices[key], self.targets[key], r.spread, r.uncertainty)
            for key, r in readings.items()
        }
        return Step(
            iteration=step.iteration + 1,
            name=proposal.name,
            keep=outcome.keep,
            costs=costs,
            accuracy=outcome.accuracy,
            weights=self.workshop.weights(step.iteration + 1, outcome.index),
            reaches=proposal.reaches,
        )
