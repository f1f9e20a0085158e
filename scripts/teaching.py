#!/usr/bin/env python3
"""What distillation, averaged weights and label smoothing are worth, each alone, after one cut.

    python scripts/teaching.py [--data digits] [--kept 0.5] [--seeds 0 1 2] [--arms none distill]

Adds to results/teaching.csv a row per seed, course and arm, as soon as it is done; those that are
there are not repeated. All arms of a seed start from the same cut network and see the same images.
A course is as long as in a run: short as a candidate's fine-tune, or long as that of the result.
The long ones' learning rate is that of training, times what an arm says.
"""

import argparse
import copy
import csv
import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provenance import write_csv
from torch import nn

from netadapt import training
from netadapt.assembly import Assembly, Source, assemble
from netadapt.config import Recipe, Tuning
from netadapt.models import restore, save_weights
from netadapt.network import shrinkable
from netadapt.pruning.importance import top
from netadapt.pruning.surgery import shrink
from netadapt.training.samples import Samples
from netadapt.workers.scoring import Scoring

ROOT = Path(__file__).resolve().parent.parent
FORWARD = 1 / 3
"""What an image that only goes forward counts for, beside one that is trained on."""

BLOCK = 10
"""Images whose losses are averaged first; any number gives the same mean."""


@dataclass(frozen=True)
class Arm:
    """A way to fine-tune: what is different in the recipe, and whether the original teaches.

    ``rate`` is a factor on the learning rate, for T^2 KL can have steeper gradients.
    ``longer`` has no teacher, and as many more steps as a teacher's work counts for.
    """

    changes: Mapping[str, float]
    taught: bool = False
    longer: bool = False
    rate: float = 1.0


ARMS = {
    "none": Arm({}),
    "longer": Arm({}, longer=True),
    "rate x3": Arm({}, rate=3.0),
    "rate x0.3": Arm({}, rate=0.3),
    "rate x0.1": Arm({}, rate=0.1),
    "longer, rate x0.3": Arm({}, longer=True, rate=0.3),
    "distill, rate x0.3": Arm({}, taught=True, rate=0.3),
    "distill": Arm({}, taught=True),
    "distill, temperature 1": Arm({"temperature": 1.0}, taught=True),
    "distill, weight 0.9": Arm({"distill_weight": 0.9}, taught=True),
    "smoothing": Arm({"label_smoothing": 0.1}),
    "ema 0.9": Arm({"ema": 0.9}),
    "ema 0.99": Arm({"ema": 0.99}),
    "distill + ema 0.9": Arm({"ema": 0.9}, taught=True),
    "distill + ema 0.99": Arm({"ema": 0.99}, taught=True),
}


def original(args: argparse.Namespace, seed: int) -> Assembly:
    """A trained network; where no weights are given, it is trained once and kept under runs/."""
    subject = assemble(
        Source(
            "mobilenet_v1", {"width": args.width, "stem": "cifar"}, weights=args.weights,
            data=args.data, input_size=args.input_size, seed=seed,
        )
    )  # fmt: skip
    if args.weights:
        return subject
    size = subject.data.pixels
    name = f"{Path(args.data).name}-{args.width:g}-{size}-{args.epochs:g}-{seed}"
    kept = ROOT / "runs" / "teaching" / f"{name}.safetensors"
    if kept.is_file():
        restore(subject.module, kept)
        return subject
    course = training.Course(Recipe(), epochs=args.epochs, seed=seed)
    training.fine_tune(subject.module, subject.data, course)
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_weights(subject.module, kept)
    return subject


def cut(subject: Assembly, kept: float, seed: int) -> tuple[nn.Module, float]:
    """The network with a share of every group kept, and that of its MACs."""
    scoring = Scoring(subject.module, subject.network, Samples(subject.data, seed=seed))
    scores = scoring.scores("l2")
    units = {
        group.id: top(scores[group.id], max(group.least, int(kept * group.size)))
        for group in shrinkable(subject.network)
    }
    candidate = shrink(subject.module, subject.network, units)
    training.recalibrate_bn(candidate, subject.data, batches=8, seed=seed)
    sizes = {group: len(stay) for group, stay in units.items()}
    return candidate, subject.network.macs(sizes) / subject.network.macs({})


def rows(
    args: argparse.Namespace, seed: int, todo: list[tuple[str, str]]
) -> Iterator[dict[str, object]]:
    """A row for each course and arm of a seed."""
    subject = original(args, seed)
    task = subject.data
    before = training.accuracy(subject.module, task, "test")
    candidate, share = cut(subject, args.kept, seed)
    after_cut = training.accuracy(candidate, task, "test")
    tuning = Tuning().suited(task.pixels)
    epoch = len(task.train) // tuning.recipe.batch_size
    courses = {
        "short": (tuning.short, min(args.short_steps, 2 * epoch)),
        "long": (tuning.recipe, round(args.long_epochs * epoch)),
    }
    for course, arm in todo:
        recipe, steps = courses[course]
        yield {
            **key(args, seed, course, arm),
            "train_images": len(task.train), "macs": f"{share:.3f}",
            "before": f"{before:.4f}", "cut": f"{after_cut:.4f}",
            **tuned(subject, candidate, ARMS[arm], Lesson(recipe, steps, seed)),
        }  # fmt: skip


def key(args: argparse.Namespace, seed: int, course: str, arm: str) -> dict[str, str]:
    """What tells a row from all others."""
    length = args.short_steps if course == "short" else args.long_epochs
    original = Path(args.weights).stem if args.weights else f"{args.epochs:g} epochs"
    return {
        "data": Path(args.data).name, "pixels": str(args.input_size or ""),
        "width": f"{args.width:g}", "original": original, "kept": f"{args.kept:g}",
        "seed": str(seed), "course": course, "length": f"{length:g}", "arm": arm,
    }  # fmt: skip


@dataclass(frozen=True)
class Lesson:
    """A course of fine-tuning that all arms share.

    Attributes:
        recipe: without what an arm changes.
        steps: of all arms but ``longer``.
        seed: of the order of images and their augmentation.
    """

    recipe: Recipe
    steps: int
    seed: int


def tuned(subject: Assembly, candidate: nn.Module, arm: Arm, lesson: Lesson) -> dict[str, object]:
    """What an arm comes to on test images, and what it took."""
    task, model = subject.data, copy.deepcopy(candidate)
    steps = round(lesson.steps * (1 + FORWARD)) if arm.longer else lesson.steps
    recipe = replace(lesson.recipe, **arm.changes, lr=lesson.recipe.peak_lr * arm.rate)
    course = training.Course(recipe, steps=steps, seed=lesson.seed)
    teacher = subject.module if arm.taught else None
    started_s = time.process_time()
    images = training.fine_tune(model, task, course, teacher=teacher).images_seen
    cpu_s = time.process_time() - started_s
    score = training.score(model, task, task.batches("test", batch_size=250), block=BLOCK)
    return {
        "steps": steps, "trained": images, "taught": images if arm.taught else 0,
        "work": round(images * (1 + FORWARD * arm.taught)), "cpu_s": f"{cpu_s:.1f}",
        "accuracy": f"{score.accuracy:.4f}", "loss": f"{score.loss:.4f}",
    }  # fmt: skip


def main() -> None:
    """Fine-tune a cut network in every way, for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--weights", help="a trained network, in place of training one")
    parser.add_argument("--epochs", type=float, default=25, help="of training one")
    parser.add_argument("--kept", type=float, default=0.5, help="share of every group")
    parser.add_argument("--courses", nargs="+", default=["short", "long"])
    parser.add_argument("--short-steps", type=int, default=100)
    parser.add_argument("--long-epochs", type=float, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "teaching.csv")
    args = parser.parse_args()
    done: list[dict[str, object]] = []
    if args.out.is_file():
        with args.out.open(newline="") as file:
            done += csv.DictReader(file)
    for seed in args.seeds:
        wanted = itertools.product(args.courses, args.arms)
        keys = {arm: key(args, seed, *arm) for arm in wanted}
        todo = [arm for arm, own in keys.items() if not any(own.items() <= r.items() for r in done)]
        for row in rows(args, seed, todo) if todo else ():
            done.append(row)
            write_csv(args.out, done, sys.argv)


if __name__ == "__main__":
    main()
