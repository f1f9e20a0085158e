"""What the networks measured in a run teach of prices: one factor for each class of layers.

A table that was measured in another minute, or with other data in the caches, tends to be off by
much the same factor on all layers of a class. One bias for a whole network takes away what the
classes share; what they do not share misleads every iteration in the same way. So the factors are
those under which the measured steps are proportional to their prices::

    measured = k * network(sum(factor[c] * layers[c])) * (1 + noise)

the most likely ones, with the prior that each is 1, give or take :data:`LOOSE`. The common ``k``
has no prior and is not used: only proportions are learned, and the bias of the present step still
takes the scale. They are found anew from the journal's steps at each iteration, so that a run that
is continued comes to the same.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from netadapt.network import Cost, LayerShape, Network, cost_of
from netadapt.platforms.bench.rounds import NORMAL
from netadapt.runs import Step
from netadapt.search.budgets import Bound
from netadapt.tables.powers import layer_class

NOISE = 0.01
"""Relative error of a network's price at the best of factors, beside that of its measurement."""

LOOSE = 0.1
"""Standard deviation of a factor's logarithm before any network was measured."""

_DIGITS = 3  # of a logarithm, so that the last bits of another machine change no proposal


@dataclass(frozen=True, slots=True)
class Corrected:
    """A :class:`netadapt.network.Cost` that prices each class of layers by a factor.

    Attributes:
        cost: what is corrected: a table, of seconds or of joules, or a closed form.
        factors: by class, see :func:`netadapt.tables.powers.layer_class`; 1 for others.
        scale: of whole networks.
    """

    cost: Cost
    factors: Mapping[str, float]
    scale: float = 1.0

    @property
    def unit(self) -> str:
        """That of the cost."""
        return self.cost.unit

    def layer(self, shape: LayerShape) -> float:
        """The price of one layer inside a network, by its class; the scale comes with the whole."""
        return self.factors.get(layer_class(shape), 1.0) * self.cost.layer(shape)

    def network(self, layers: float, weights: int) -> float:
        """The price of a network whose layers cost ``layers`` and hold ``weights`` elements."""
        return self.scale * self.cost.network(layers, weights)


@dataclass(frozen=True, slots=True)
class Lesson:
    """A network as it is priced, and as it was measured.

    Attributes:
        layers: the price of its layers, by class.
        weights: how many elements they hold.
        measured: what it costs.
        noise: relative standard deviation of what it costs around its price.
    """

    layers: Mapping[str, float]
    weights: int
    measured: float
    noise: float = NOISE

    @classmethod
    def of(
        cls, cost: Cost, shapes: Sequence[LayerShape], measured: float, uncertainty: float | None
    ) -> "Lesson":
        """What a network tells, measured with half of a relative 95 % interval of so much."""
        layers: dict[str, float] = {}
        for shape in shapes:
            name = layer_class(shape)
            layers[name] = layers.get(name, 0.0) + cost.layer(shape)
        noise = math.hypot(NOISE, (uncertainty or 0.0) / NORMAL)
        return cls(layers, sum(shape.weights for shape in shapes), measured, noise)


def learned(cost: Cost, lessons: Sequence[Lesson]) -> dict[str, float]:
    """The factor of each class, above zero; 1 for all as long as the lessons say nothing.

    Args:
        cost: prices networks from the sum over their layers.
        lessons: networks priced by it, all of one run.
    """
    names = sorted({name for lesson in lessons for name in lesson.layers})
    layers = np.array([[lesson.layers.get(name, 0.0) for name in names] for lesson in lessons])
    noises = np.array([lesson.noise for lesson in lessons])

    def residuals(logs: NDArray[np.float64]) -> NDArray[np.float64]:
        priced = map(cost.network, (layers @ np.exp(logs)).tolist(), (x.weights for x in lessons))
        ratios = np.log([p / x.measured for p, x in zip(priced, lessons, strict=True)])
        off = ratios - np.average(ratios, weights=noises**-2)  # whatever the common scale
        return np.concatenate([off / noises, logs / LOOSE])

    logs = least_squares(residuals, np.zeros(len(names))).x
    return {name: math.exp(round(log, _DIGITS)) for name, log in zip(names, logs, strict=True)}


def corrected(
    network: Network, costs: Mapping[str, Cost], bounds: Iterable[Bound], steps: Sequence[Step]
) -> dict[str, Cost]:
    """What prices networks, with what the steps taught; counted costs stay as they are.

    The present network, that of the last step, comes at the price that was predicted of it, so that
    its bias holds for these prices; whatever is measured or learned changes the others relative to
    it. A closed form that the readings follow teaches factors of 1.

    Args:
        network: the unpruned network.
        costs: what prices it and smaller ones, by the key of each bound.
        bounds: the budgets.
        steps: of the run so far.
    """
    measured = {bound.key for bound in bounds if bound.measured}
    return {
        key: _corrected(network, cost, key, steps) if key in measured else cost
        for key, cost in costs.items()
    }


def _corrected(network: Network, cost: Cost, key: str, steps: Sequence[Step]) -> Cost:
    told = [step.costs[key] for step in steps]
    if min(min(c.measured, c.predicted) for c in told) <= 0:
        return cost  # nothing is in proportion to nothing
    networks = [network.at(step.sizes) for step in steps]
    lessons = [
        Lesson.of(cost, shapes, c.measured, c.uncertainty)
        for shapes, c in zip(networks, told, strict=True)
    ]
    plain = Corrected(cost, learned(cost, lessons))
    return replace(plain, scale=told[-1].predicted / cost_of(plain, networks[-1]))
