"""Finished runs against each other: accuracy over what was measured, one curve per method and seed.

Between two results of a method its curve is a straight line. The unpruned network is the upper end
of every curve.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev
from typing import Any

from netadapt.errors import UsageError, named
from netadapt.report.facts import Facts
from netadapt.runs.events import Figures, Finished
from netadapt.units import RESOURCES

_COUNTED = {"macs": "macs", "params": "params", "size": "onnx_bytes"}
_NO_METHOD = ("seed", "budgets", "devices", "data", "weights", "table", "model")
"""Settings that do not tell methods apart: what is compared, and what must be the same anyway."""

Point = tuple[float, float]
Curve = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished run.

    Attributes:
        run: its name.
        method: the settings that tell it from the others.
        seed: of the run.
        cost, spread: of the adapted network, in the resource's base unit; spread relative.
        accuracy: on test images.
        original: cost and accuracy of the unpruned network.
    """

    run: str
    method: str
    seed: int
    cost: float
    spread: float
    accuracy: float
    original: Point


@dataclass(frozen=True, slots=True)
class Line:
    """A method as it is drawn.

    Attributes:
        points: by rising cost; where there are several seeds and all have as many results, means
            of those that belong together.
        spreads: standard deviation of each between seeds, in cost and in accuracy; empty where
            there is one seed.
    """

    points: Curve
    spreads: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs that may be compared.

    Attributes:
        resource: what accuracy is set against, a name in :data:`netadapt.units.RESOURCES`.
        unit: its base unit.
        metric: what accuracy is.
        share: whether it reads as a percentage.
        test_images: how many the accuracy is of.
        setting: device, model and data that all have in common, in words.
        entries: the runs, by method, seed and cost.
    """

    resource: str
    unit: str
    metric: str
    share: bool
    test_images: int
    setting: str
    entries: tuple[Entry, ...]

    @property
    def methods(self) -> tuple[str, ...]:
        """Every method, in order."""
        return tuple(dict.fromkeys(entry.method for entry in self.entries))

    @property
    def frontier(self) -> tuple[Entry, ...]:
        """The runs that no other beats in both accuracy and cost, by rising cost."""
        best, kept = -math.inf, []
        for entry in sorted(self.entries, key=lambda e: (e.cost, -e.accuracy)):
            if entry.accuracy > best:
                kept.append(entry)
                best = entry.accuracy
        return tuple(kept)

    def curves(self, method: str) -> dict[int, Curve]:
        """Points of a method by seed, by rising cost, the unpruned network last."""
        curves: dict[int, Curve] = {}
        for seed in sorted({e.seed for e in self.entries if e.method == method}):
            mine = [e for e in self.entries if e.method == method and e.seed == seed]
            points = {e.cost: e.accuracy for e in mine}
            cost, accuracy = (sum(e.original[i] for e in mine) / len(mine) for i in (0, 1))
            curves[seed] = tuple(sorted({**points, cost: accuracy}.items()))
        return curves

    def lines(self, method: str) -> tuple[Line, ...]:
        """One for all seeds, or one for each where they have different numbers of results."""
        curves = tuple(self.curves(method).values())
        if len(curves) == 1 or len({len(curve) for curve in curves}) > 1:
            return tuple(map(Line, curves))
        columns = list(zip(*curves, strict=True))
        points = tuple((fmean(x for x, _ in c), fmean(y for _, y in c)) for c in columns)
        spreads = tuple((stdev(x for x, _ in c), stdev(y for _, y in c)) for c in columns)
        return (Line(points, spreads),)


def comparison_of(runs: Sequence[Facts], resource: str = "latency") -> Comparison:
    """Put finished runs beside each other.

    Args:
        runs: at least two.
        resource: what accuracy is set against, a name in :data:`netadapt.units.RESOURCES`.

    Raises:
        UsageError: a run is not finished, lacks the resource, or is of another device, model or
            data than the first.
        UnknownName: there is no such resource.
    """
    unit = named("resource", resource, RESOURCES).unit
    if len(runs) < 2:
        raise UsageError("A comparison needs at least two runs.")
    methods = _methods([run.started.settings.get("config", {}) for run in runs])
    entries = [_entry(run, method, resource) for run, method in zip(runs, methods, strict=True)]
    common = _common(runs, resource)  # after what tells that a run lacks the resource
    entries.sort(key=lambda e: (e.method, e.seed, e.cost))
    first = runs[0]
    images = first.traced.images.get("test", 0) if first.traced else 0
    return Comparison(resource, unit, first.metric, first.share, images, common, tuple(entries))


def _common(runs: Sequence[Facts], resource: str) -> str:
    """What must be the same in all runs, in words."""
    facts = [_setting(run, resource) for run in runs]
    for run, fact in zip(runs[1:], facts[1:], strict=True):
        for what, value in facts[0].items():
            if fact[what] != value:
                raise UsageError(
                    f"{run.name} cannot be compared with {runs[0].name}: the {what} is "
                    f"{fact[what]}, and there {value}. Compare runs of one {what} only."
                )
    return "; ".join(f"{what}: {value}" for what, value in facts[0].items() if value)


def _setting(run: Facts, resource: str) -> dict[str, str]:
    settings = run.started.settings
    model, data = settings.get("model", {}), settings.get("data", {})
    arguments = ", ".join(f"{k}={v}" for k, v in sorted(model.get("args", {}).items()))
    fixed = {
        "model": f"{model.get('name', '')} {arguments}".strip(),
        "data": _data(data.get("name", ""), run.traced.images if run.traced else {}),
        "metric": run.metric,
    }
    if not RESOURCES[resource].by_device or RESOURCES[resource].counted:
        return fixed
    bound = next((b for b in run.bounds.values() if b.resource == resource), None)
    told: Mapping[str, Any] = settings.get("devices", {}).get(bound.device if bound else "", {})
    parts = ("device", "runtime", "threads", "precision", "batch")
    words = (f"{p} {told[p]}" if p in ("threads", "batch") else f"{told[p]}"
             for p in parts if p in told)  # fmt: skip
    return {**fixed, "device": ", ".join(words)}


def _data(name: str, images: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in images.items())
    return f"{name} ({counts} images)" if counts else name


def _methods(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of each run, its strategy and whatever else its settings do not share with all others."""
    flat = [_flat({k: v for k, v in c.items() if k not in _NO_METHOD}) for c in configs]
    names = sorted({name for settings in flat for name in settings})
    differing = [n for n in names if len({str(s.get(n)) for s in flat}) > 1 and n != "strategy"]
    return [
        ", ".join([str(s.get("strategy", "?")), *(f"{n}={s.get(n)}" for n in differing)])
        for s in flat
    ]


def _flat(settings: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{at}{name}.") if isinstance(value, Mapping) else {at + name: value}
    return found


def _entry(run: Facts, method: str, resource: str) -> Entry:
    finished = run.finished
    if finished is None:
        raise UsageError(f"{run.name} is not finished; compare finished runs.")
    (before, _), (after, spread) = (
        _cost(run, finished, figures, resource) for figures in (finished.before, finished.after)
    )
    seed = int(run.started.settings.get("config", {}).get("seed", 0))
    original = (before, finished.before.accuracy)
    return Entry(run.name, method, seed, after, spread, finished.after.accuracy, original)


def _cost(run: Facts, finished: Finished, figures: Figures, resource: str) -> Point:
    """A cost and its relative spread."""
    for key, bound in run.bounds.items():
        if bound.resource == resource:
            return figures.costs[key], figures.spreads.get(key, 0.0)
    if resource not in _COUNTED:
        raise UsageError(
            f"{run.name} had no budget of {resource}, so it was not measured at its end; compare "
            "by another resource."
        )
    return float(getattr(figures, _COUNTED[resource])), 0.0


def at_cost(curve: Curve, cost: float) -> float:
    """Accuracy of a curve at a cost within its range, between its points by a straight line."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if x0 <= cost <= x1:
            return y0 + (y1 - y0) * (cost - x0) / (x1 - x0) if x1 > x0 else max(y0, y1)
    raise ValueError(f"{cost} is not on the curve")


def at_accuracy(curve: Curve, accuracy: float) -> float:
    """The least cost at which a curve has reached an accuracy."""
    for (x0, y0), (x1, y1) in pairwise(curve):
        if y0 >= accuracy:
            return x0
        if y1 >= accuracy:
            return x0 + (x1 - x0) * (accuracy - y0) / (y1 - y0)
    raise ValueError(f"the curve does not reach {accuracy}")
