"""How two methods differ at equal cost and at equal accuracy, with what that is worth."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, stdev

from netadapt.platforms.bench.rounds import NORMAL, student
from netadapt.report.comparison import Comparison, Curve, at_accuracy, at_cost
from netadapt.units import format_metric, format_quantity

_GRID = 101


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference with its 95 % interval.

    Attributes:
        value: the mean.
        margin: half of the interval; None where it is not known.
        basis: what the interval rests on, in words.
    """

    value: float
    margin: float | None
    basis: str

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.margin is not None and abs(self.value) > self.margin


def in_words(comparison: Comparison) -> tuple[str, ...]:
    """A sentence on each pair of methods at equal cost, and one at equal accuracy."""
    sentences = []
    for first, second in combinations(comparison.methods, 2):
        sentences.append(_equal_cost(comparison, first, second))
        sentences.append(_equal_accuracy(comparison, first, second))
    return tuple(sentences)


def _equal_cost(comparison: Comparison, first: str, second: str) -> str:
    one, other = comparison.curves(first), comparison.curves(second)
    everything = [*one.values(), *other.values()]
    low = max(curve[0][0] for curve in everything)
    high = min(curve[-1][0] for curve in everything)
    if low >= high:
        return f"{first} and {second} have no {comparison.resource} in common."
    difference = _difference(one, other, lambda curve: _mean(at_cost, curve, low, high))
    if difference.margin is None and comparison.share and comparison.test_images:
        middle = min(max(fmean(at_cost(c, (low + high) / 2) for c in everything), 0.0), 1.0)
        margin = NORMAL * math.sqrt(2 * middle * (1 - middle) / comparison.test_images)
        basis = f"one seed each; the interval is of {comparison.test_images} test images alone"
        difference = Difference(difference.value, margin, basis)
    factor, unit = (100.0, " points") if comparison.share else (1.0, f" {comparison.metric}")
    return (
        f"At equal {comparison.resource} ({format_quantity(low, comparison.unit)} to "
        f"{format_quantity(high, comparison.unit)}), {first} against {second}: "
        f"{_text(difference, factor, unit)}."
    )


def _equal_accuracy(comparison: Comparison, first: str, second: str) -> str:
    one, other = comparison.curves(first), comparison.curves(second)
    everything = [*one.values(), *other.values()]
    low = max(curve[0][1] for curve in everything)
    high = min(max(y for _, y in curve) for curve in everything)
    if low >= high:
        return f"{first} and {second} have no accuracy in common, or none that rises with cost."
    difference = _difference(
        one, other, lambda curve: _mean(lambda c, y: math.log(at_accuracy(c, y)), curve, low, high)
    )
    show = " to ".join(format_metric(value, share=comparison.share) for value in (low, high))
    return (
        f"At equal accuracy ({show}), {comparison.resource} of {first} against {second}: "
        f"{_text(difference, 100.0, ' %')}."
    )


def _mean(
    value_at: Callable[[Curve, float], float], curve: Curve, low: float, high: float
) -> float:
    return fmean(
        value_at(curve, min(high, low + (high - low) * i / (_GRID - 1))) for i in range(_GRID)
    )


def _difference(
    one: dict[int, Curve], other: dict[int, Curve], figure: Callable[[Curve], float]
) -> Difference:
    """Of a figure of every seed: paired where both have the same seeds, else Welch's."""
    if set(one) == set(other):
        pairs = [figure(one[seed]) - figure(other[seed]) for seed in one]
        if len(pairs) < 2:
            return Difference(pairs[0], None, "one seed each, so its spread is not known")
        margin = student(len(pairs) - 1) * stdev(pairs) / math.sqrt(len(pairs))
        return Difference(fmean(pairs), margin, f"{len(pairs)} seeds, paired")
    values = [[figure(curve) for curve in curves.values()] for curves in (one, other)]
    value = fmean(values[0]) - fmean(values[1])
    if min(map(len, values)) < 2:
        return Difference(value, None, "a method has one seed, so its spread is not known")
    basis = f"{len(values[0])} and {len(values[1])} seeds"
    return Difference(value, _welch(values), basis)


def _welch(values: Sequence[Sequence[float]]) -> float:
    """Half of the interval; of the degrees of freedom the fewer, which is cautious."""
    error = math.sqrt(sum(stdev(sample) ** 2 / len(sample) for sample in values))
    return student(min(map(len, values)) - 1) * error


def _text(difference: Difference, factor: float, unit: str) -> str:
    value = difference.value * factor
    if difference.margin is None:
        return f"{value:+.2f}{unit} ({difference.basis})"
    margin = difference.margin * factor
    verdict = "clear" if difference.clear else "no clear difference"
    return (
        f"{value:+.2f}{unit}, 95 % interval {value - margin:+.2f} to {value + margin:+.2f}, "
        f"{verdict} ({difference.basis})"
    )
