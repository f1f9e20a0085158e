#!/usr/bin/env python3
"""Which way of shrinking keeps most accuracy at equal latency and equal training, on real images.

    pip install 'netadapt[zoo]'
    python scripts/cifar.py FOLDER [--arms ARM ...] [--budgets 75% 50% 35%] [--seeds 1]
    python scripts/cifar.py FOLDER --judge

FOLDER holds train/CLASS/*.jpg and test/CLASS/*.jpg; of CIFAR-10 for the table in results/. Writes
results/cifar.csv, a row for each arm, budget and seed as soon as it is done; started again, it goes
on where it was cut off, within a training too. What it needs for that is in --work. Measuring
beside other work is rough: --judge measures all results of a model, beside the original, for longer
and in turn, so that they can be compared with each other too.

All arms of a seed start from the same trained weights (--epochs), and are trained for the same
number of images after that (--after, in epochs): the short fine-tunes of the winner on the path
count, and the long one takes the rest. What the search spends on losers is told beside it. Budgets
are of the measured latency; an arm serves them one after the other, in one search. With --shared,
seeds above 0 start from the weights of seed 0 and keep its division of the images; what comes after
is drawn anew. The arms: see cifar_arms.py.
"""

import argparse
import csv
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_arms import ARMS, FOLDER, MODELS, NEW, WIDTHS, Row, Setting, beside, results
from provenance import write_csv

from netadapt.search.fleet import FIRST
from netadapt.units import parse_budget

TARGET = Path(__file__).resolve().parent.parent / "results" / "cifar.csv"
JUDGED = replace(FIRST, precision=0.002, spread_s=160.0, invocations=8, time_limit_s=320.0)
COLUMNS = (
    "model", "arm", "budget", "seed", "original", "latency", "judged", "judged_half_width",
    "accuracy_before", "accuracy", "epochs", "after", "path_trained", "long_trained",
    "search_trained", "search_scored", "iterations", "macs", "params", "file", "sizes",
)  # fmt: skip
LABELS = {
    "exhaustive": "one_group, exhaustive",
    "rungs": "one_group, rungs (default)",
    "rungs_repair": "one_group, rungs, repair",
    "several_two": "several, two finalists",
    "several_taylor": "several, taylor",
    "several_error": "several, output error",
    "knapsack": "knapsack, taylor",
    "knapsack_once": "knapsack, in one iteration",
    "knapsack_twice": "knapsack, in two",
    "knapsack_eight": "knapsack, in eight",
    "taught": "knapsack, taylor, with a teacher",
    "tp_global": "Torch-Pruning, global",
    "tp_local": "Torch-Pruning, local",
    "scratch": "widths of knapsack, new weights",
    "multiplier": "width multiplier, new weights",
}
"""Of arms whose names do not tell."""


def known() -> list[Row]:
    """Rows of earlier starts."""
    if not TARGET.is_file():
        return []
    with TARGET.open(newline="") as file:
        return [{**dict.fromkeys(COLUMNS, ""), **row} for row in csv.DictReader(file)]


def run(setting: Setting, arms: Sequence[str], budgets: Sequence[str]) -> None:
    """Add the rows that are missing."""
    rows = known()
    for arm in arms:
        head = {"model": setting.model, "arm": arm, "seed": str(setting.seed)}
        have = {row["budget"] for row in rows if head.items() <= row.items()}
        wanted = [f"width {w}" for w in setting.widths] if arm == "multiplier" else budgets
        if set(wanted) <= have:
            continue
        before = accuracy_before(setting, arm, rows)
        for budget, row in results(setting, arm, wanted, rows):
            if budget in have:
                continue
            told = {
                **dict.fromkeys(COLUMNS, ""), **head, "original": setting.original_seed,
                "budget": budget, **row,
                "accuracy_before": before, "epochs": setting.epochs,
                "after": setting.after,
            }  # fmt: skip
            write_csv(TARGET, [*known(), told], sys.argv)  # another start may have added some
            print(json.dumps(told), flush=True)


def accuracy_before(setting: Setting, arm: str, rows: Sequence[Row]) -> str:
    """Of the original, which is trained now if an arm needs it and it is not there yet."""
    mine = {"model": setting.model, "original": str(setting.original_seed)}
    told = [str(row["accuracy_before"]) for row in rows if mine.items() <= row.items()]
    return told[0] if told and arm in NEW else f"{setting.accuracy:.4f}"


def judge(setting: Setting) -> None:
    """Measure all results of a model anew, in turn, so that all meet the same conditions."""
    mine = [row for row in known() if row["model"] == setting.model]
    for original in {int(str(row["original"])) for row in mine}:
        files = {
            key_of(row): setting.work / f"{setting.model}-{row['seed']}" / str(row["file"])
            for row in mine if int(str(row["original"])) == original
        }  # fmt: skip
        for file in [file for file in files.values() if not file.is_file()]:
            print(f"{file} is missing; its row is left as it is.", file=sys.stderr)
        onnx = {key: file.read_bytes() for key, file in files.items() if file.is_file()}
        beside_it = replace(setting, original_seed=original)
        judged = dict(zip(onnx, beside(beside_it, list(onnx.values()), JUDGED), strict=True))
        rows = known()  # another start may have added some
        for row in rows:
            if ratio := judged.get(key_of(row)):
                row["judged"] = f"{ratio.value:.4f}"
                row["judged_half_width"] = f"{ratio.value * (ratio.uncertainty or 0.0):.4f}"
                print(row["arm"], row["budget"], row["seed"], row["judged"], flush=True)
        write_csv(TARGET, rows, sys.argv)


def key_of(row: Row) -> tuple[str, ...]:
    """What tells a row from all others."""
    return tuple(str(row[name]) for name in ("model", "arm", "budget", "seed", "original"))


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy over measured latency, a panel for each model."""
    from matplotlib.figure import Figure

    models = [name for name in MODELS if any(row["model"] == name for row in rows)]
    figure = Figure(figsize=(9 + 5 * (len(models) - 1), 5.5), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False, width_ratios=[9, 6, 6][: len(models)])
    for axes, model in zip(panels[0], models, strict=True):
        draw(axes, [row for row in rows if row["model"] == model])
        axes.set_title(model)
    figure.savefig(path, format="png", dpi=110)


def draw(axes: Any, rows: Sequence[Row]) -> None:
    """A line for each arm of a model; a bar where there are several seeds."""
    from matplotlib import colormaps

    hues = colormaps["tab20"].colors
    original = 100 * statistics.mean(float(str(row["accuracy_before"])) for row in rows)
    for number, arm in enumerate(ARMS):
        if not any(row["arm"] == arm for row in rows):
            continue
        color = hues[2 * number % 20 + number // 10]  # the strong ones first
        xs, ys, spreads = zip(*points_of([r for r in rows if r["arm"] == arm]), strict=True)
        axes.errorbar(
            xs, ys, yerr=spreads if any(spreads) else None, marker="osD^v<>pP*Xh"[number % 12],
            color=color, label=LABELS.get(arm, arm), capsize=2,
            linewidth=1.2, markersize=6,
        )  # fmt: skip
        if arm not in NEW:
            axes.plot((xs[-1], 100), (ys[-1], original), color=color, linewidth=0.6, alpha=0.4)
    axes.plot(100, original, "*", color="black", markersize=12, label="original", linestyle="")
    axes.set_xlim(right=103)
    axes.set_xlabel("measured latency, % of the original")
    axes.set_ylabel("test accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def points_of(rows: Sequence[Row]) -> list[tuple[float, float, float]]:
    """Latency, accuracy and its deviation over seeds of each budget of an arm, in per cent."""
    found: dict[object, list[tuple[float, float]]] = {}
    for row in rows:
        at = float(str(row["judged"] or row["latency"]))
        found.setdefault(row["budget"], []).append((100 * at, 100 * float(str(row["accuracy"]))))
    return sorted(
        (statistics.mean(x for x, _ in of), statistics.mean(y for _, y in of),
         statistics.stdev(y for _, y in of) if len(of) > 1 else 0.0)
        for of in found.values()
    )  # fmt: skip


def main() -> None:
    """Run every arm that has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", metavar="FOLDER")
    parser.add_argument("--model", default="mobilenet_v1", choices=list(MODELS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--budgets", nargs="+", default=["75%", "50%", "35%"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=float, default=100, help="of the original's training")
    parser.add_argument("--after", type=float, default=20, help="epochs after it, in all")
    parser.add_argument("--steps", type=int, default=100, help="of a short fine-tune")
    parser.add_argument("--widths", type=float, nargs="+", default=WIDTHS, help="of multiplier")
    parser.add_argument("--work", type=Path, default=Path("runs/cifar"))
    parser.add_argument("--shared", action="store_true", help="seed 0's original for all seeds")
    parser.add_argument("--judge", action="store_true", help="measure the results at length")
    args = parser.parse_args()
    os.environ[FOLDER] = args.data
    settings = [
        Setting(args.model, args.data, seed, args.epochs, args.after, args.steps, args.work,
                args.widths, 0 if args.shared else seed)
        for seed in args.seeds
    ]  # fmt: skip
    if args.judge:
        judge(settings[0])
    else:
        budgets = sorted(args.budgets, key=lambda text: -parse_budget(text).value)
        for setting in settings:
            run(setting, args.arms, budgets)
    plot(known(), TARGET.with_suffix(".png"))


if __name__ == "__main__":
    main()
