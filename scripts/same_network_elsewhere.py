#!/usr/bin/env python3
"""One network adapted to half of five costs, and each result priced on all five.

    python scripts/same_network_elsewhere.py [--models mobilenet_v1 ...] [--folder runs/elsewhere]

Writes results/same_network_elsewhere.csv, a row for each result and cost, and its heat map. The
runs are kept in the folder: the same command goes on where it was cut off, and takes seconds once
all are there. Only ONNX Runtime is measured; the other hardware is modelled.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from provenance import write_csv

from netadapt.adapt import Result, adapt
from netadapt.assembly import Source, assemble
from netadapt.cli.console import Console
from netadapt.config import RunConfig
from netadapt.config.recipe import Recipe, Tuning
from netadapt.measure import Subject
from netadapt.network import MACS, Network, Sizes, cost_of
from netadapt.platforms import Modelled, open_platform
from netadapt.search.schedule import Schedule
from netadapt.tables.correction import SPREAD
from netadapt.train import train
from netadapt.units import parse_budget

RESULTS = Path(__file__).resolve().parent.parent / "results"
ORT = "ort:cpu"
TARGETS = {
    "MACs": (ORT, "macs=50%"),
    "ONNX Runtime latency": (ORT, "latency=50%"),
    "Eyeriss energy": ("eyeriss:", "energy=50%"),
    "crossbar energy, noisy": ("crossbar:?noise=pcm&chips=3", "energy=50%"),
    "optical energy": ("optical:", "energy=50%"),
}
"""What is halved: the device of each, and the budget."""

ARGS = {"mobilenet_v1": {"width": 0.5}}
SHORT = replace(Recipe(lr=0.02), augment=False)
TUNING = Tuning(8, short_steps=6, long_epochs=1, screen_batches=1, short=SHORT)
"""Short, for what counts here is which widths come out."""


def adapted(model: str, target: str, data: str, folder: Path) -> Result:
    """The run of one model to half of one cost; from trained weights that all runs share."""
    uri, budget = TARGETS[target]
    shared = RunConfig(model, data, budgets=(), model_args=ARGS.get(model, {}), tuning=TUNING)
    weights = folder / f"{model}.safetensors"
    if not weights.exists():
        train(shared, weights)
    config = RunConfig(
        model, data, (parse_budget(budget),), {uri: uri}, shared.model_args, str(weights),
        schedule=Schedule(initial=0.12, decay=1.0), multiple=0, finalists=1, tuning=TUNING,
    )  # fmt: skip
    name = "".join(c if c.isalnum() else "-" for c in target)
    with Console() as console:
        return adapt(config, folder / f"{model}-{name}", notify=console)


def sizes_in(result: Result, network: Network) -> Sizes:
    """The group sizes that a run ended with."""
    widths = result.finished.widths
    return {name: new // network.groups[name].channels_per_unit for name, _, new in widths}


def prices(subject: Subject, nets: Mapping[str, Sizes]) -> dict[str, dict[str, float]]:
    """What each network costs, by target; ONNX Runtime's measured now, all interleaved."""
    network = subject.network
    device = open_platform(ORT)
    variants = subject.variants(device.describe())
    readings = device.measure_networks([variants.workload(s) for s in nets.values()], SPREAD)
    measured = {name: r["latency"].value for name, r in zip(nets, readings, strict=True)}
    found: dict[str, dict[str, float]] = {"MACs": {}, "ONNX Runtime latency": measured}
    found["MACs"] = {name: cost_of(MACS, network.at(sizes)) for name, sizes in nets.items()}
    for target, (uri, _) in TARGETS.items():
        platform = open_platform(uri)
        if isinstance(platform, Modelled) and (cost := platform.cost("energy")) is not None:
            found[target] = {n: cost_of(cost, network.at(sizes)) for n, sizes in nets.items()}
    return found


def rows_of(model: str, results: Mapping[str, Result]) -> list[dict[str, object]]:
    """A row for each result and cost, relative to the unpruned network."""
    subject = Subject(assemble(Source(model, ARGS.get(model, {}), num_classes=10, input_size=32)))
    nets = {"": {}, **{t: sizes_in(r, subject.network) for t, r in results.items()}}
    table = prices(subject, nets)
    return [
        {
            "model": model,
            "adapted_to_half": target,
            "priced_by": by,
            "unpruned": f"{table[by]['']:.6g}",
            "adapted": f"{table[by][target]:.6g}",
            "ratio": f"{table[by][target] / table[by]['']:.4f}",
            "accuracy_before": f"{result.finished.before.accuracy:.4f}",
            "accuracy_after": f"{result.finished.after.accuracy:.4f}",
        }
        for target, result in results.items()
        for by in TARGETS
    ]


def draw(rows: Sequence[Mapping[str, object]], path: Path) -> None:
    """The heat map: a panel for each model, a row for each result, a column for each cost."""
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    figure = Figure(figsize=(1.5 + 5.6 * len(models), 4.6), layout="constrained", dpi=120)
    panels = figure.subplots(1, len(models), squeeze=False, sharey=True)[0]
    for panel, model in zip(panels, models, strict=True):
        own = [row for row in rows if row["model"] == model]
        targets = list(dict.fromkeys(str(row["adapted_to_half"]) for row in own))
        ratio = {(r["adapted_to_half"], r["priced_by"]): float(str(r["ratio"])) for r in own}
        values = [[ratio[target, by] for by in TARGETS] for target in targets]
        image = panel.imshow(values, cmap="cividis_r", vmin=0.2, vmax=1.0, aspect="auto")
        panel.set_xticks(range(len(TARGETS)), list(TARGETS), rotation=35, ha="right")
        panel.set_yticks(range(len(targets)), targets)
        panel.set_title(model, fontsize=10)
        panel.set_xlabel("priced by")
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                color = "white" if value > 0.65 else "black"
                weight = "bold" if list(TARGETS)[x] == targets[y] else "normal"
                panel.text(x, y, f"{value:.0%}", ha="center", va="center", color=color,
                           fontweight=weight)  # fmt: skip
    panels[0].set_ylabel("adapted to half of its")
    figure.colorbar(image, ax=panels, label="share of the unpruned network's")
    figure.suptitle("Cost of one network adapted to half of another cost", fontsize=11)
    figure.savefig(path, format="png")


def main() -> None:
    """Run what is not there yet, and write the table and the heat map."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", default=["mobilenet_v1", "resnet18"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--folder", type=Path, default=Path("runs/elsewhere"))
    parser.add_argument("--out", type=Path, default=RESULTS / "same_network_elsewhere.csv")
    args = parser.parse_args()
    os.makedirs(args.folder, exist_ok=True)
    rows: list[dict[str, object]] = []
    for model in args.models:
        runs = {target: adapted(model, target, args.data, args.folder) for target in TARGETS}
        rows += rows_of(model, runs)
        told = [sys.argv[0], "--models", *args.models, "--data", args.data]
        write_csv(args.out, rows, told)  # where the runs are kept decides nothing
        draw(rows, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
