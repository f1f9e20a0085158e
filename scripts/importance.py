#!/usr/bin/env python3
"""What importance and repair are worth, each alone: accuracy after one cut of every group.

    python scripts/importance.py [--data digits] [--shares 0.875 0.75 0.5] [--seeds 2]

Writes results/importance.csv, a row per seed, share kept, importance, and repair or none. All arms
of a seed start from the same weights, keep as many units, and have the same training after the cut.
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from provenance import write_csv
from torch import nn

from netadapt import training
from netadapt.assembly import Assembly, Source, assemble
from netadapt.config import Recipe
from netadapt.network import shrinkable
from netadapt.pruning.importance import IMPORTANCES, top
from netadapt.pruning.repair import repair
from netadapt.pruning.surgery import shrink
from netadapt.training.samples import Samples
from netadapt.workers.scoring import Scoring

RESULTS = Path(__file__).resolve().parent.parent / "results"
STEPS = 16
"""Of fine-tuning after the cut."""


def arms(subject: Assembly, seed: int, shares: list[float]) -> Iterator[dict[str, object]]:
    """A row for each way to cut a trained network."""
    model, network, task = subject.module, subject.network, subject.data
    scoring = Scoring(model, network, Samples(task, seed=seed))
    before = training.accuracy(model, task, "test")
    for share, name in itertools.product(shares, IMPORTANCES):
        scores = scoring.scores(name)
        keep = {
            group.id: top(scores[group.id], max(group.least, int(share * group.size)))
            for group in shrinkable(network)
        }
        for repaired in (False, True):
            candidate = shrink(model, network, keep)
            if repaired:
                repair(candidate, model, network, keep, scoring.moments)
            yield {
                "seed": seed, "kept": share, "importance": name,
                "repair": "yes" if repaired else "no", "before": f"{before:.4f}",
                **after(candidate, subject, seed),
            }  # fmt: skip


def after(candidate: nn.Module, subject: Assembly, seed: int) -> dict[str, str]:
    """Accuracy on test images with statistics taken anew, and then after a short fine-tune."""
    task = subject.data
    training.recalibrate_bn(candidate, task, batches=8, seed=seed)
    cut = training.accuracy(candidate, task, "test")
    recipe = Recipe().suited(task.pixels, share=0.1)
    training.fine_tune(candidate, task, training.Course(recipe, steps=STEPS, seed=seed))
    tuned = training.accuracy(candidate, task, "test")
    return {"cut": f"{cut:.4f}", "fine_tuned": f"{tuned:.4f}"}


def main() -> None:
    """Train a network for each seed, and cut it in every way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--input-size", type=int, default=16)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--epochs", type=float, default=25)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.875, 0.75, 0.5])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "importance.csv")
    args = parser.parse_args()
    rows: list[dict[str, object]] = []
    for seed in range(args.seeds):
        subject = assemble(
            Source(
                "mobilenet_v1", {"width": args.width, "stem": "cifar"}, data=args.data,
                input_size=args.input_size, seed=seed,
            )
        )  # fmt: skip
        course = training.Course(Recipe(), epochs=args.epochs, seed=seed)
        training.fine_tune(subject.module, subject.data, course)
        for row in arms(subject, seed, args.shares):
            rows.append(row)
            write_csv(args.out, rows, sys.argv)


if __name__ == "__main__":
    main()
