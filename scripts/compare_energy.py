#!/usr/bin/env python3
"""Which way of pruning keeps most accuracy at equal energy, on a modelled accelerator.

    python scripts/compare_energy.py [--seeds 2] [--share 50%] [--arms ARM ...] [--nets NET ...]

Writes results/compare_energy.csv, a row for each run as soon as it is done; started again, it goes
on with those that are missing. The networks are a small AlexNet and MobileNetV1 0.25, on digits;
energy is Eyeriss's at a batch of 4. Every arm starts from the same trained weights, and ends with
the same long fine-tune; `images` are those that it was trained on before, and a third of those that
only went forward. The arms:

    energy_ordered   the costliest layer first, by the error at its readers' outputs, repaired
                     (after Yang et al., CVPR 2017)
    netadapt         one group an iteration, the paper's importance
    netadapt_repair  the same with the importance and the repair of energy_ordered
    magnitude        one threshold on the norms of all groups
    uniform          one factor for all widths
"""

import argparse
import csv
import itertools
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from provenance import write_csv
from torch import nn

from netadapt.adapt import Result, adapt
from netadapt.config import RunConfig, Tuning
from netadapt.runs import read_journal
from netadapt.runs.works import works
from netadapt.train import train
from netadapt.units import parse_budget

TARGET = Path(__file__).resolve().parent.parent / "results" / "compare_energy.csv"
DEVICE = "eyeriss:?batch=4"
ARMS: Mapping[str, Mapping[str, object]] = {
    "energy_ordered": {"strategy": "energy_ordered", "importance": "output_error", "repair": True},
    "netadapt": {"strategy": "one_group"},
    "netadapt_repair": {"strategy": "one_group", "importance": "output_error", "repair": True},
    "magnitude": {"strategy": "magnitude"},
    "uniform": {"strategy": "uniform"},
}
NETS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "alexnet": ("compare_energy:alexnet", {}),
    "mobilenet_v1": ("mobilenet_v1", {"width": 0.25}),
}
TUNING = Tuning(train_epochs=20, short_steps=16, long_epochs=8)


def alexnet(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Five convolutions and three linear layers (Krizhevsky et al. 2012), for 32 pixels."""
    widths = (48, 128, 192, 192, 128)
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        layers += [nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                   nn.BatchNorm2d(width), nn.ReLU()]  # fmt: skip
        layers += [nn.MaxPool2d(2)] if number in (0, 1, 4) else []
        in_channels = width
    sizes = (128 * 16, 256, 256)
    layers.append(nn.Flatten())
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))


def run_arm(config: RunConfig, arm: str, folder: Path) -> dict[str, object]:
    """One run; what it came to."""
    result: Result = adapt(replace(config, **ARMS[arm]), folder / f"{config.seed}-{arm}")  # type: ignore[arg-type]
    before, after = result.finished.before, result.finished.after
    spent = [work for record in read_journal(result.folder) for work in works(record.event)]
    trained = [work for work in spent if work.name in ("screening", "tuning")]
    return {
        "energy_ratio": f"{after.costs['energy'] / before.costs['energy']:.4f}",
        "accuracy_before": f"{before.accuracy:.4f}",
        "accuracy_after": f"{after.accuracy:.4f}",
        "macs_ratio": f"{after.macs / before.macs:.4f}",
        "params_ratio": f"{after.params / before.params:.4f}",
        "iterations": result.finished.iterations,
        "images": round(sum(work.images + work.scored / 3 for work in trained)),
    }


def main() -> None:
    """Run every arm that has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--share", default="50%")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    if TARGET.is_file():
        with TARGET.open(newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    done = {(row["network"], row["arm"], str(row["seed"]), row["share"]) for row in rows}
    for seed in range(args.seeds):
        for net in args.nets:
            left = [a for a in args.arms if (net, a, str(seed), args.share) not in done]
            if not left:
                continue
            model, given = NETS[net]
            config = RunConfig(
                model, "digits", (parse_budget(f"energy={args.share}"),), {DEVICE: DEVICE},
                model_args=given, tuning=TUNING, seed=seed,
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as name:
                weights = Path(name) / "weights.safetensors"
                train(config, weights)
                for arm in left:
                    found = run_arm(replace(config, weights=str(weights)), arm, Path(name))
                    head = {"network": net, "arm": arm, "seed": seed, "share": args.share}
                    rows.append({**head, **found})
                    write_csv(TARGET, rows, sys.argv)
                    print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
