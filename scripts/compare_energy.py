#!/usr/bin/env python3
"""Which way of pruning keeps most accuracy at equal energy, on a modelled accelerator.

    python scripts/compare_energy.py [--data digits] [--seeds 0 1] [--share 50%] [--arms ARM ...]

Writes results/compare_energy.csv, a row for each run as soon as it is done; started again, it goes
on where it was cut off, within a run too (what it needs for that is in --work). The networks are a
small AlexNet and MobileNetV1 0.25; ``--data`` is digits, or a folder of images of 32 pixels such as
CIFAR-10's. Energy is Eyeriss's at a batch of 4. Every arm starts from the same trained weights, and
ends with the same long fine-tune; widths are multiples of 4, so that all arms can end close below
the share. ``images`` are those that an arm was trained on before the end, and a third of those that
only went forward. The arms:

    energy_ordered   the costliest layer first, by the error at its readers' outputs, repaired
                     (after Yang et al., CVPR 2017)
    netadapt         one group an iteration, the paper's importance
    netadapt_repair  the same with the importance and the repair of energy_ordered
    magnitude        one threshold on the norms of all groups, in four steps
    uniform          one factor for all widths, in four steps
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from provenance import write_csv
from torch import nn

from netadapt.adapt import Result, adapt
from netadapt.config import Recipe, RunConfig, Tuning
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


@dataclass(frozen=True)
class Net:
    """A network, and how hard it is pressed.

    Attributes:
        model: by name.
        share: of its energy that it has to come down to, unless told.
        pixels: that digits are drawn with for it.
        epochs: of training on digits, where it has then learned about all that it will.
        arguments: of the model.
    """

    model: str
    share: str
    pixels: int
    epochs: int
    arguments: Mapping[str, object] = field(default_factory=dict)


NETS = {
    "alexnet": Net("compare_energy:alexnet", "25%", 16, 20),
    "mobilenet_v1": Net("mobilenet_v1", "50%", 16, 30, {"width": 0.25}),
}
MULTIPLE = 4
LONG_EPOCHS = 8
ALONE = Recipe(distill=False)
"""No arm has a teacher."""

FOLDER = Tuning(train_epochs=12, short_steps=50, long_epochs=4, recipe=ALONE, short=ALONE)
"""For a folder's many images: what an hour of one core has room for."""
TOLERANCE = 0.03
"""How far below the share an arm may end; one that ends lower is named, as unfairly treated."""


def alexnet(num_classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Five convolutions and three linear layers (Krizhevsky et al. 2012), of few channels."""
    widths = (24, 64, 96, 96, 64)
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        layers += [nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
                   nn.BatchNorm2d(width), nn.ReLU()]  # fmt: skip
        layers += [nn.MaxPool2d(2)] if number in (0, 1, 4) else []
        in_channels = width
    sizes = (widths[-1] * 4, 128, 128)
    layers += [nn.AdaptiveMaxPool2d(2), nn.Flatten()]
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], num_classes))


def run_arm(config: RunConfig, arm: str, folder: Path) -> dict[str, object]:
    """One run; what it came to."""
    result: Result = adapt(replace(config, **ARMS[arm]), folder / arm)  # type: ignore[arg-type]
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


def config_for(net: str, data: str, share: str, seed: int) -> RunConfig:
    """What all arms of a network have in common."""
    chosen = NETS[net]
    tuning = replace(FOLDER, train_epochs=chosen.epochs, short_steps=None, long_epochs=LONG_EPOCHS)
    return RunConfig(
        chosen.model, data, (parse_budget(f"energy={share}"),), {DEVICE: DEVICE}, seed=seed,
        model_args=chosen.arguments, input_size=chosen.pixels if data == "digits" else 32,
        multiple=MULTIPLE, tuning=tuning if data == "digits" else FOLDER,
    )  # fmt: skip


def arguments() -> argparse.Namespace:
    """What is to be run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="digits", metavar="digits|FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--share", help="of the energy; default: 25%% or 50%%, by network")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--work", type=Path, default=Path("runs/compare_energy"))
    return parser.parse_args()


def main() -> None:
    """Run every arm that has no row yet."""
    args = arguments()
    data = Path(args.data).name
    rows: list[dict[str, object]] = []
    if TARGET.is_file():
        with TARGET.open(newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
    keys = ("data", "network", "share", "arm", "seed")
    done = {tuple(str(row[key]) for key in keys) for row in rows}
    for seed, net in itertools.product(args.seeds, args.nets):
        share = args.share or NETS[net].share
        left = [a for a in args.arms if (data, net, share, a, str(seed)) not in done]
        config = config_for(net, args.data, share, seed)
        folder = args.work / f"{data}-{net}-{seed}"
        weights = folder / "weights.safetensors"
        if left and not weights.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            train(config, weights)
        for arm in left:
            figures = run_arm(replace(config, weights=str(weights)), arm, folder / share)
            run = dict(zip(keys, (data, net, share, arm, seed), strict=True))
            rows.append({**run, **figures})
            write_csv(TARGET, rows, sys.argv)
            print(rows[-1], flush=True)
            if float(str(figures["energy_ratio"])) < limit(share) - TOLERANCE:
                print(f"{arm} ends clearly below {share}: not at equal energy.")


def limit(share: str) -> float:
    """``25%`` as 0.25."""
    return float(share.rstrip("%")) / 100


if __name__ == "__main__":
    main()
