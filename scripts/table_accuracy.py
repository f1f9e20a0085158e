"""Error of the lookup table on networks that it never saw, beside MACs: results/table_accuracy.csv.

Run as ``python scripts/table_accuracy.py``; about six minutes on a quiet machine. One calibration,
on the full network. ``noise`` is how far two turns of measuring the same networks differ.
"""

import argparse
import csv
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

from provenance import write_provenance

from netadapt import export
from netadapt.costs import MACS, cost_of
from netadapt.grid import plan_grid
from netadapt.lookup import LookupTable
from netadapt.models import ModelSpec
from netadapt.network import keep_first
from netadapt.platforms import open_platform
from netadapt.surgery import shrink
from netadapt.tracing import trace
from netadapt.verification import random_sizes, summarize, verify_table

CASES = [
    ("mobilenet_v1", {"width": 0.5}, 32),
    ("mobilenet_v1", {"width": 0.5}, 224),
    ("mobilenet_v1", {}, 224),
    ("mobilenet_v3_small", {}, 224),
    ("mobilenet_v2", {}, 224),
    ("resnet18", {}, 224),
]


def check(name: str, arguments: dict[str, float], size: int, count: int) -> list[dict[str, object]]:
    """One row for each predictor."""
    spec = ModelSpec(name, 1000, (3, size, size), dict(arguments))
    model = spec.build(None)
    network = trace(model, spec.input_shape)
    platform = open_platform("ort:cpu")
    info = platform.describe()
    step = max(info.block // 2, 1)
    began_s = time.perf_counter()
    table = replace(LookupTable(info), interpolated=True).fill(platform, plan_grid(network, step))
    build_s = time.perf_counter() - began_s

    def exported(sizes: dict[str, int]) -> bytes:
        keep = keep_first(network, sizes) if sizes else {}
        return export.to_onnx(shrink(model, network, keep), spec.input_shape)

    unseen = [s for n in range(count) for s in network.at(random_sizes(network, step, n))]
    lacking = dict.fromkeys(s for s in unseen if table.entry(s) is None)
    completed = table.fill(platform, lacking)  # what is narrower than a block has its own row
    predictors = {"table": completed.price, "MACs": lambda layers: cost_of(MACS, layers)}
    rows = verify_table(network, platform, predictors, exported, count=count, step=step)
    found = summarize(rows)
    exact = [r.predictions_s["table"] / r.measured_s - 1 for r in rows]
    print(name, size, [f"{e:+.1%}" for e in exact], flush=True)
    low_s, high_s = found["measured_s"]
    return [
        {
            "model": name + "".join(f" {k}={v}" for k, v in arguments.items()), "input_px": size,
            "predictor": predictor, "mean_error": round(found[predictor]["mean"], 4),
            "max_error": round(found[predictor]["max"], 4),
            "kendall_tau": round(found[predictor]["tau"], 3),
            "noise_mean": round(found["noise_mean"], 4), "noise_max": round(found["noise_max"], 4),
            "min_us": round(low_s * 1e6), "max_us": round(high_s * 1e6),
            "entries": len(table.entries),
            "exact_entries": len(completed.entries) - len(table.entries),
            "build_s": round(build_s, 1), "canary_spread": round(table.canary_spread, 3),
            "load": round(os.getloadavg()[0], 1),
        }
        for predictor in predictors
    ]  # fmt: skip


def main() -> None:
    """Check all cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--only", type=int, nargs="*", default=range(len(CASES)))
    parser.add_argument("--out", type=Path, default=Path("results/table_accuracy.csv"))
    options = parser.parse_args()
    rows = [row for n in options.only for row in check(*CASES[n], options.count)]
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_provenance(options.out, sys.argv)
    print(options.out.read_text())


if __name__ == "__main__":
    main()
