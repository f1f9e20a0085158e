"""What an iteration came to."""

from collections.abc import Mapping
from dataclasses import dataclass

from netadapt.runs.trial import Keep


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a network costs in one bounded resource, in its base unit.

    Attributes:
        measured: on the device, or counted.
        predicted: by what steered when it was proposed, not rescaled.
        target: what the iteration aimed at; for the unpruned network, what it measured.
        spread: interquartile range of the measurement over its median.
        uncertainty: half of the 95 % interval of what was measured, relative to it; None where
            nothing tells.
        final: whether it was measured for as long as a doubt is worth.
    """

    measured: float
    predicted: float
    target: float
    spread: float = 0.0
    uncertainty: float | None = None
    final: bool = False

    @property
    def noisy(self) -> bool:
        """Whether the same network costs something else each time it is measured."""
        return self.spread > 0 or bool(self.uncertainty)

    @property
    def highest(self) -> float:
        """The upper end of the interval of what was measured."""
        return self.measured * (1 + (self.uncertainty or 0.0))

    @property
    def bias(self) -> float:
        """Measured over predicted: what to rescale the next predictions by.

        They are made by prices under which this network still costs what was predicted of it,
        whatever has been measured since.
        """
        return self.measured / self.predicted if self.predicted > 0 else 1.0


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A candidate that was predicted to lower the cost, and does not as measured.

    Attributes:
        changes: new sizes of groups.
        excess: what its prediction lacks, by the key of each bound, in the unit of predictions.
    """

    changes: Mapping[str, int]
    excess: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Step:
    """One finished iteration; iteration 0 is the unpruned network.

    Attributes:
        iteration: 0 for the unpruned network.
        name: what was shrunk: a group id, or the name of the strategy; empty at iteration 0.
        keep: units that stay of each group that shrank, as indices of the unpruned network.
        costs: by the key of each bound.
        accuracy: the task's metric on the holdout images.
        weights: name of its weight file; empty where there is none.
        reaches: false if no proposal could reach the target.
        passed_over: what was measured before it, to no avail.
        origin: the iteration whose network it was cut from; None for the one before. Where it is
            another, the step is what became of looking for a network nearer to the budgets.
        again: whether it is the network of an earlier step once more, as none nearer is better.
    """

    iteration: int
    name: str
    keep: Keep
    costs: Mapping[str, StepCost]
    accuracy: float
    weights: str = ""
    reaches: bool = True
    passed_over: tuple[PassedOver, ...] = ()
    origin: int | None = None
    again: bool = False

    @property
    def parent(self) -> int:
        """The iteration whose network it was cut from."""
        return self.iteration - 1 if self.origin is None else self.origin

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each group that shrank."""
        return {group: len(units) for group, units in self.keep.items()}

    @property
    def measured(self) -> dict[str, float]:
        """What was measured, by the key of each bound."""
        return {key: cost.measured for key, cost in self.costs.items()}
