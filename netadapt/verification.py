"""How far a lookup table is off: whole networks that it never saw, predicted and measured."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from netadapt.lookup import LookupTable
from netadapt.measurement import quantile
from netadapt.network import LayerShape, Network, shrinkable
from netadapt.platforms import Effort, Platform, Workload

WHOLE = Effort(passes=4, min_seconds=0.2)


@dataclass(frozen=True, slots=True)
class Row:
    """One network: seconds measured in two turns, and predicted from the first network's time.

    Attributes:
        sizes: its width choices; empty for the full network.
        measured_s: the lower of two turns, minutes apart at most.
        noise: how far the two differ, relative.
        predictions_s: by predictor, each scaled by the full network once.
    """

    sizes: dict[str, int]
    measured_s: float
    noise: float
    predictions_s: dict[str, float]


def random_sizes(network: Network, step: int, seed: int) -> dict[str, int]:
    """Widths between a quarter and all of each group, multiples of ``step`` channels."""
    source = random.Random(seed)
    found = {}
    for group in shrinkable(network):
        each = max(step // group.channels_per_unit, 1)
        wanted = int(source.uniform(0.25, 1.0) * group.size)
        found[group.id] = max(min(wanted // each * each, group.size), min(each, group.size))
    return found


def verify_table(
    network: Network,
    platform: Platform,
    predictors: dict[str, Callable[[Sequence[LayerShape]], float]],
    export: Callable[[dict[str, int]], bytes],
    *,
    count: int = 8,
    step: int = 8,
    seed: int = 0,
) -> list[Row]:
    """Measure the full network and random narrower ones, and predict them.

    Args:
        network: the full network.
        platform: the device.
        predictors: price of a network by its layers, by name.
        export: the network at some sizes as a serialized ONNX model.
        count: how many narrower networks.
        step: widths are multiples of it.
        seed: of the widths.

    Returns:
        The full network first.
    """
    choices = [{}, *(random_sizes(network, step, seed + n) for n in range(count))]
    layers = [network.at(sizes) for sizes in choices]
    works = [
        Workload(f"network {n}", export(sizes), shapes)
        for n, (sizes, shapes) in enumerate(zip(choices, layers, strict=True))
    ]
    turns = [platform.measure_networks(works, WHOLE) for _ in range(2)]
    measured = [min(a.p10_s, b.p10_s) for a, b in zip(*turns, strict=True)]
    noise = [abs(a.p10_s / b.p10_s - 1) for a, b in zip(*turns, strict=True)]
    scales = {name: measured[0] / price(layers[0]) for name, price in predictors.items()}
    return [
        Row(s, m, e, {name: scales[name] * price(shapes) for name, price in predictors.items()})
        for s, m, e, shapes in zip(choices, measured, noise, layers, strict=True)
    ]


def summarize(rows: Sequence[Row]) -> dict[str, Any]:
    """Errors over all but the full network, by predictor; plain JSON values."""
    others = rows[1:]
    measured = [row.measured_s for row in others]
    found: dict[str, Any] = {
        "networks": len(others),
        "measured_s": [min(measured), max(measured)],
        "noise_mean": fmean(row.noise for row in others),
        "noise_max": max(row.noise for row in others),
    }
    for name in rows[0].predictions_s:
        predicted = [row.predictions_s[name] for row in others]
        errors = [abs(p / m - 1) for p, m in zip(predicted, measured, strict=True)]
        found[name] = {
            "mean": fmean(errors),
            "median": quantile(errors, 0.5),
            "max": max(errors),
            "tau": kendall_tau(predicted, measured),
        }
    return found


def report(table: LookupTable, rows: Sequence[Row]) -> dict[str, Any]:
    """All of it as plain JSON values."""
    return {
        "schema": 1,
        "device": table.info.to_json(),
        "canary_spread": table.canary_spread,
        "summary": summarize(rows),
        "rows": [asdict(row) for row in rows],
    }


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b: how far two orders agree, -1 to 1."""
    signs = [(_sign(a[i] - a[j]), _sign(b[i] - b[j])) for i in range(len(a)) for j in range(i)]
    score = sum(x * y for x, y in signs)
    total = math.sqrt(sum(x * x for x, _ in signs) * sum(y * y for _, y in signs))
    return score / total if total else 0.0


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
