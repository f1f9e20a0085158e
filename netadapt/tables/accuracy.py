"""How far a lookup table is off: whole networks that it never saw, predicted and measured.

Two things are asked of a table. Does it tell what a network costs (error, order)? And does it
tell what a layer is worth: how much less the network takes when one group alone is halved? The
search chooses by the second.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from statistics import fmean
from typing import Any

from netadapt.network import LayerShape, Network, Sizes, nearest_choice, shrinkable
from netadapt.platforms import Effort, Platform, Progress, Workload
from netadapt.platforms.measurement import quantile
from netadapt.tables.correction import SPREAD, Calibration, calibration_sizes, fit, random_sizes
from netadapt.tables.lookup import LookupTable
from netadapt.units import RESOURCES

_FAST_S = 1e-3

Export = Callable[[Sizes], bytes]
"""Writes the network at some sizes as a serialized ONNX model."""

Predictor = Callable[[Sequence[LayerShape]], float]
"""Prices a network by its layers."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One network on the device.

    Attributes:
        name: what it is: a share of the widths, ``uneven`` or a number for random ones, or the
            group that was halved.
        sizes: its width choices; empty for the full network.
        layers: the shapes of its layers.
        cost: what it was measured at, see :attr:`netadapt.platforms.measurement.Measurement.value`.
        noise: see :attr:`netadapt.platforms.measurement.Measurement.noise`.
    """

    name: str
    sizes: Sizes
    layers: tuple[LayerShape, ...]
    cost: float
    noise: float


@dataclass(frozen=True)
class Observations:
    """What was measured to verify a table.

    Attributes:
        calibration: the networks to calibrate on, the full one first.
        unseen: networks of random widths.
        halved: the full network with one group at half its width.
    """

    calibration: tuple[Measured, ...]
    unseen: tuple[Measured, ...]
    halved: tuple[Measured, ...]

    @property
    def layers(self) -> tuple[LayerShape, ...]:
        """Every layer in them, once."""
        networks = (*self.calibration, *self.unseen, *self.halved)
        return tuple(dict.fromkeys(shape for network in networks for shape in network.layers))


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a table may be off, as shares.

    Attributes:
        mean: largest mean error.
        most: largest error of one network.
        tau: least Kendall's tau.
    """

    mean: float
    most: float
    tau: float = 0.95

    @classmethod
    def usual(cls, cost: float, resource: str = "latency") -> "Tolerance":
        """What is asked of networks at that cost: of latency below 1 ms, noise is a larger part."""
        fast = resource == "latency" and cost < _FAST_S
        return cls(0.05, 0.12) if fast else cls(0.02, 0.05)


@dataclass(frozen=True)
class Accuracy:
    """How well one predictor did.

    Attributes:
        errors: predicted over measured less one, of each unseen network.
        tau: Kendall's tau of predicted and measured costs, -1 to 1.
        savings_r: Pearson's correlation of predicted with measured savings by halving one group;
            None where fewer than three groups were halved.
        savings: predicted savings in the unit of the table, by group.
    """

    errors: tuple[float, ...]
    tau: float
    savings_r: float | None = None
    savings: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean absolute error."""
        return fmean(map(abs, self.errors))

    @property
    def most(self) -> float:
        """Largest absolute error."""
        return max(map(abs, self.errors))

    def within(self, tolerance: Tolerance) -> bool:
        """Whether it is as good as asked."""
        good = self.mean <= tolerance.mean and self.most <= tolerance.most
        return good and self.tau >= tolerance.tau

    def summary(self) -> dict[str, Any]:
        """All of it as plain JSON values."""
        return {
            "mean_error": self.mean, "max_error": self.most, "kendall_tau": self.tau,
            "savings_correlation": self.savings_r, "errors": list(self.errors),
            "savings": dict(self.savings),
        }  # fmt: skip


def halved_sizes(network: Network, multiple: int, count: int) -> dict[str, Sizes]:
    """One group at half its width, by its id; ``count`` groups spread evenly over the network."""
    able = [group for group in shrinkable(network) if group.choices(multiple)]
    chosen = {round((n + 0.5) * len(able) / count - 0.5): None for n in range(count)}
    groups = able if count >= len(able) else [able[n] for n in chosen]
    return {
        group.id: {group.id: nearest_choice(group, group.size / 2, multiple)} for group in groups
    }


@dataclass(frozen=True, slots=True)
class Sample:
    """Which networks a table is held against.

    Attributes:
        multiple: widths are multiples of so many channels.
        unseen: networks of random widths.
        halved: groups that are halved alone.
        seed: of the random widths.
        resource: what is measured of them.
    """

    multiple: int = 0
    unseen: int = 8
    halved: int = 12
    seed: int = 0
    resource: str = "latency"


def observe(
    network: Network,
    platform: Platform,
    export: Export,
    sample: Sample,
    *,
    effort: Effort = SPREAD,
    progress: Progress | None = None,
) -> Observations:
    """Measure the networks that a table is held against, all interleaved.

    Args:
        network: the full network.
        platform: the device.
        export: the network at some sizes.
        sample: which networks.
        effort: how long to measure.
        progress: called as they are measured.
    """
    multiple = sample.multiple
    kinds: list[Mapping[str, Sizes]] = [
        calibration_sizes(network, multiple),
        {
            f"random {n}": random_sizes(network, multiple, sample.seed + n)
            for n in range(sample.unseen)
        },
        halved_sizes(network, multiple, sample.halved),
    ]
    chosen = [choice for kind in kinds for choice in kind.items()]
    works = [Workload(name, partial(export, sizes), network.at(sizes)) for name, sizes in chosen]
    answers = platform.measure_networks(works, effort, progress)
    readings = [runs[sample.resource] for runs in answers]
    measured = iter(
        [
            Measured(name, sizes, work.layers, reading.value, reading.noise)
            for (name, sizes), work, reading in zip(chosen, works, readings, strict=True)
        ]
    )
    return Observations(*(tuple(islice(measured, len(kind))) for kind in kinds))


def assess(observed: Observations, predictor: Predictor, *, calibrate: bool) -> Accuracy:
    """Hold a predictor against what was measured.

    Args:
        observed: the measured networks.
        predictor: prices a network by its layers, in any unit if it is to be calibrated.
        calibrate: fit it to the calibration networks first; they are never among those that count.
    """
    correction = Calibration()
    if calibrate:
        pairs = [(m.cost, predictor(m.layers)) for m in observed.calibration]
        correction = fit(pairs, networks="the calibration networks")

    def price(measured: Measured) -> float:
        return correction.apply(predictor(measured.layers))

    full = observed.calibration[0]
    predicted = [price(m) for m in observed.unseen]
    actual = [m.cost for m in observed.unseen]
    savings = {m.name: price(full) - price(m) for m in observed.halved}
    real = [full.cost - m.cost for m in observed.halved]
    return Accuracy(
        errors=tuple(p / a - 1 for p, a in zip(predicted, actual, strict=True)),
        tau=kendall_tau(predicted, actual),
        savings_r=pearson(list(savings.values()), real) if len(real) > 2 else None,
        savings=savings,
    )


def report(
    table: LookupTable,
    observed: Observations,
    accuracies: Mapping[str, Accuracy],
    tolerance: Tolerance | None = None,
    resource: str = "latency",
) -> dict[str, Any]:
    """All of it as plain JSON values.

    Args:
        table: what was verified.
        observed: what was measured.
        accuracies: by predictor; the first is the table's and decides.
        tolerance: by default the usual one for networks as fast as the unseen ones.
        resource: what was measured.
    """
    allowed = tolerance or Tolerance.usual(
        quantile([m.cost for m in observed.unseen], 0.5), resource
    )
    everything = (*observed.calibration, *observed.unseen, *observed.halved)
    return {
        "schema": 2,
        "ok": next(iter(accuracies.values())).within(allowed),
        "device": table.info.to_json(),
        "resource": resource,
        "unit": RESOURCES[resource].unit,
        "tolerance": {"mean": allowed.mean, "max": allowed.most, "tau": allowed.tau},
        "noise_mean": fmean(m.noise for m in observed.unseen),
        "noise_max": max(m.noise for m in observed.unseen),
        "predictors": {name: accuracy.summary() for name, accuracy in accuracies.items()},
        "networks": [
            {"name": m.name, "sizes": dict(m.sizes), "measured": m.cost, "noise": m.noise}
            for m in everything
        ],
    }


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b: how far two orders agree, -1 to 1."""
    signs = [(_sign(a[i] - a[j]), _sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]
    score = sum(x * y for x, y in signs)
    total = math.sqrt(sum(x * x for x, _ in signs) * sum(y * y for _, y in signs))
    return score / total if total else 0.0


def pearson(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's correlation, -1 to 1; 0 where one of them does not vary."""
    a_mean, b_mean = fmean(a), fmean(b)
    covariance = sum((x - a_mean) * (y - b_mean) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(sum((x - a_mean) ** 2 for x in a) * sum((y - b_mean) ** 2 for y in b))
    return covariance / spread if spread else 0.0


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
