"""How far lookup tables are off on networks that they never saw: results/table_accuracy.csv.

Run as ``python scripts/table_accuracy.py``; about 40 minutes on a quiet machine. For each setting
a grid table is measured and held against 8 networks of random widths (multiples of 8) and against
every channel group halved alone. All predictors are calibrated once, on the same four networks (of
full width, 3/4, 1/2, and one uneven), none of which counts:

- ``table``: the grid, interpolated; ``exact table``: a row for every layer that occurs;
- ``single layers``: each layer as a model of its own; ``MACs``.

``table, one network`` is the grid scaled on the full network alone. ``noise`` is how far the two
halves of measuring the same networks differ. ``results/table_order.csv`` has the error of the first
N rows, in the order in which they are measured and in the order of the network.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from provenance import write_csv

from netadapt.assembly import Source, assemble
from netadapt.measure import Subject
from netadapt.network import LayerShape
from netadapt.platforms import OVERHEAD, REFILL, Platform, open_platform
from netadapt.table import compare
from netadapt.tables.accuracy import Accuracy, Observations, Sample, assess, observe
from netadapt.tables.build import LAYERS
from netadapt.tables.correction import SPREAD, Calibration, fit
from netadapt.tables.lookup import LookupTable
from netadapt.tables.plan import plan_grid

CASES = [
    ("mobilenet_v1", {"width": 0.5}, 32, "ort:cpu"),
    ("mobilenet_v1", {"width": 0.5}, 224, "ort:cpu"),
    ("mobilenet_v1", {}, 224, "ort:cpu"),
    ("mobilenet_v2", {}, 224, "ort:cpu"),
    ("mobilenet_v3_small", {}, 224, "ort:cpu"),
    ("resnet18", {}, 224, "ort:cpu"),
    ("mobilenet_v1", {}, 224, "ort:cpu?precision=int8"),
    ("mobilenet_v1", {}, 224, "ort:cpu?threads=2"),
    ("mobilenet_v2", {}, 224, "ort:cpu?precision=int8"),
]
ORDERED = ("mobilenet_v1", "mobilenet_v2")  # at 224 pixels, 1 thread, float32
STEP = 8
THOROUGH = replace(SPREAD, passes=20)


def one_network(found: Observations, table: LookupTable) -> Accuracy:
    """The table scaled on the full network alone."""
    full = found.calibration[0]
    scaled = fit([(full.cost, table.price(full.layers))], networks="full")
    return assess(found, replace(table, calibration=scaled).price, calibrate=False)


def check(
    name: str, arguments: dict[str, float], size: int, uri: str, networks: int, groups: int
) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Rows of both results."""
    platform = open_platform(uri)
    info = platform.describe()
    # 8-bit depthwise layers of half a block are slower than those of a whole one: no one wants them
    multiple = info.block if info.precision == "int8" else STEP
    subject = Subject(assemble(Source(name, arguments, input_size=size)))
    began_s = time.perf_counter()
    grid = plan_grid(subject.network, multiple, info.block)
    table = LookupTable(info, interpolated=True).fill(platform, grid, effort=LAYERS)
    build_s = time.perf_counter() - began_s
    found = observe(
        subject.network, platform, subject.variants(info).onnx,
        Sample(multiple, networks, groups), effort=THOROUGH,
    )  # fmt: skip
    accuracies, extra = compare(table, platform, found)
    whole = table.fill(platform, table.lacking(found.layers), effort=LAYERS)
    exact = LookupTable(info).fill(platform, found.layers, effort=LAYERS)
    accuracies = {
        "table": accuracies.pop("lookup table"),
        "table, one network": one_network(found, whole),
        "exact table": assess(found, exact.price, calibrate=True),
        "single layers": accuracies.pop("single layers, summed"),
        **accuracies,
    }
    noise, times = [m.noise for m in found.unseen], [m.cost for m in found.unseen]
    model = name + "".join(f" {k}={v}" for k, v in arguments.items())
    rows: list[dict[str, object]] = [
        {
            "model": model, "input_px": size, "threads": info.threads,
            "precision": info.precision, "predictor": predictor,
            "mean_error": round(a.mean, 4), "max_error": round(a.most, 4),
            "kendall_tau": round(a.tau, 3),
            "savings_correlation": "" if a.savings_r is None else round(a.savings_r, 3),
            "within_5pct": sum(abs(e) <= 0.05 for e in a.errors) / len(a.errors),
            "within_10pct": sum(abs(e) <= 0.10 for e in a.errors) / len(a.errors),
            "noise_mean": round(sum(noise) / len(noise), 4), "noise_max": round(max(noise), 4),
            "min_us": round(min(times) * 1e6), "max_us": round(max(times) * 1e6),
            "groups": len(found.halved), "entries": len(table.entries), "extra_entries": extra,
            "build_s": round(build_s, 1), "canary_spread": round(table.canary_spread, 3),
        }
        for predictor, a in accuracies.items()
    ]  # fmt: skip
    for row in rows:
        print(*list(row.values())[:9], f"noise {row['noise_mean']}", flush=True)
    plain = uri == "ort:cpu" and size == 224 and not arguments and name in ORDERED
    return rows, [*in_order(model, whole, grid, found, platform)] if plain else []


def in_order(
    model: str, table: LookupTable, grid: Sequence[LayerShape], found: Observations,
    platform: Platform,
) -> list[dict[str, object]]:  # fmt: skip
    """The error of the first rows of a table, in the planned order and in two others."""
    first = [OVERHEAD, REFILL, *dict.fromkeys(found.calibration[0].layers)]
    beyond = [shape for shape in table.entries if shape not in grid]
    rest = [shape for shape in grid if shape not in first]
    shuffled = random.Random(0).sample(rest, len(rest))
    by_name = sorted(rest, key=lambda s: (str(s.in_hw), s.op, s.kernel, s.cin, s.cout))
    rows: list[dict[str, object]] = []
    for order, shapes in (("planned", rest), ("shuffled", shuffled), ("sorted", by_name)):
        for count in (*range(0, len(rest), 8), len(rest)):
            kept = dict.fromkeys((*first, *shapes[:count], *beyond))
            part = replace(
                table, entries={s: table.entries[s] for s in kept}, calibration=Calibration()
            )
            if part.lacking(found.layers):
                continue  # some network would have no more than an estimate
            accuracy = assess(found, part.price, calibrate=True)
            rows.append(
                {"model": model, "order": order, "entries": len(first) + count,
                 "mean_error": round(accuracy.mean, 4), "max_error": round(accuracy.most, 4)}
            )  # fmt: skip
    return rows


def main() -> None:
    """Check all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--groups", type=int, default=99)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)))
    parser.add_argument("--out", type=Path, default=Path("results/table_accuracy.csv"))
    options = parser.parse_args()
    accuracy, order = [], []
    for number in options.only:
        more = check(*CASES[number], options.networks, options.groups)
        accuracy += more[0]
        order += more[1]
        write_csv(options.out, accuracy, sys.argv)
    if order:
        write_csv(options.out.with_name("table_order.csv"), order, sys.argv)


if __name__ == "__main__":
    main()
