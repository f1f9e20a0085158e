#!/usr/bin/env python3
"""How much of the time training and screening lose to what is around them.

    python scripts/throughput.py [DATA] [--rounds 7] [--runs RUN ...]

Writes results/throughput.csv. MobileNetV1 0.5 with the stem for small images, at 32 pixels, on one
thread. Ours and a bare loop of PyTorch take turns, so that other work on the machine weighs on both
alike; what counts is the median of the ratios of neighbours, with its quartiles:

    training    images a second of fine_tune, over those of a bare loop with the same optimizer and
                layout, on one batch that lies in memory
    screening   images a second of score, over those of a bare forward pass
    data        time to make the batches of an epoch, over that of training on them
    NCHW, bf16, compiled
                images a second of the bare loop in the other layout, in bfloat16 (autocast) and by
                torch.compile, over those of the same loop without
    RUN         of a finished run: the share of its time in which it neither trained, scored nor
                measured: tracing, proposing, surgery, export, journal
"""

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from provenance import write_csv
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from netadapt import data, training
from netadapt.config import Tuning
from netadapt.models import mobilenet_v1
from netadapt.runs import read_journal
from netadapt.runs.events import BoundSet, Continued
from netadapt.runs.works import works
from netadapt.search.race import BLOCK

TARGET = Path(__file__).resolve().parent.parent / "results" / "throughput.csv"
STEPS, BATCH, SCORED = 12, 128, 256
WAYS_STEPS = 3
"""Of each way that is tried: bfloat16 without instructions for it takes twenty times as long."""

Found = Iterator[tuple[str, list[float]]]
"""Every ratio of each figure."""


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def bare_training(
    model: nn.Module, images: Tensor, labels: Tensor, steps: int = STEPS, bf16: bool = False
) -> None:
    """A loop as anybody writes it, with the fused optimizer."""
    model.train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()


def bare_inference(model: nn.Module, images: Tensor) -> None:
    """As many forward passes as make the images that are scored."""
    model.eval()
    with torch.inference_mode():
        for _ in range(STEPS):
            model(images)


def ratios(ours: Callable[[], object], bare: Callable[[], object], rounds: int) -> list[float]:
    """Bare over ours in time: our rate over the bare one."""
    ours(), bare()
    return [seconds(bare) / seconds(ours) for _ in range(rounds)]


def network(task: data.Task) -> nn.Module:
    """A new one, its weights in the layout that is trained in."""
    model = mobilenet_v1(width=0.5, num_classes=task.num_classes or 10,
                         in_channels=task.input_shape[0], stem="cifar")  # fmt: skip
    return model.to(memory_format=torch.channels_last)


def ways(task: data.Task, rounds: int) -> Found:
    """What is tried to train faster, over the loop as it is."""
    plain, other = network(task), network(task).to(memory_format=torch.contiguous_format)
    images, labels = next(iter(task.batches("train", batch_size=BATCH)))
    last = images.contiguous(memory_format=torch.channels_last)

    def against(model: nn.Module, seen: Tensor = last, bf16: bool = False) -> list[float]:
        return ratios(
            lambda: bare_training(model, seen, labels, WAYS_STEPS, bf16),
            lambda: bare_training(plain, last, labels, WAYS_STEPS),
            rounds,
        )

    yield "NCHW", against(other, images)
    yield "compiled", against(torch.compile(network(task)))
    yield "bf16", against(network(task), bf16=True)


def rates(task: data.Task, rounds: int) -> Found:
    """What training and screening lose."""
    model, plain = network(task), network(task)
    recipe = replace(Tuning().suited(task.pixels).recipe, lr=1e-4, batch_size=BATCH)
    course = training.Course(recipe, steps=STEPS)
    images, labels = next(iter(task.batches("train", batch_size=BATCH)))
    images = images.contiguous(memory_format=torch.channels_last)
    batches = [
        (i.clone(), t)
        for i, t in itertools.islice(task.batches("train", batch_size=SCORED), STEPS)
        if len(i) == SCORED
    ]
    batches = list(itertools.islice(itertools.cycle(batches), STEPS))
    many = batches[0][0].contiguous(memory_format=torch.channels_last)

    def made() -> None:
        for _ in itertools.islice(_endless(task), STEPS):
            pass

    def trained() -> None:
        training.fine_tune(model, task, course)

    yield "training", ratios(trained, lambda: bare_training(plain, images, labels), rounds)
    yield (
        "screening",
        ratios(
            lambda: training.score(model, task, batches, block=BLOCK),
            lambda: bare_inference(plain, many),
            rounds,
        ),
    )
    yield "data", [seconds(made) / seconds(trained) for _ in range(rounds)]


def _endless(task: data.Task) -> itertools.chain[object]:
    """Batches for training, epoch after epoch."""
    return itertools.chain.from_iterable(
        task.batches("train", batch_size=BATCH, shuffle=True, augment=True, epoch=epoch)
        for epoch in itertools.count()
    )


def bookkeeping(run: Path) -> float:
    """The share of a run's time that no training, scoring or measuring accounts for.

    Nobody worked between a cut and the command that went on. What ends in a budget's limit is the
    measuring of the original.
    """
    records = read_journal(run)
    spans = [
        (after.event, after.time - before.time)
        for before, after in itertools.pairwise(records)
        if not isinstance(after.event, Continued)
    ]
    known_s = math.fsum(
        span_s
        if isinstance(event, BoundSet)
        else math.fsum(work.seconds for work in works(event) if work.name != "exporting")
        for event, span_s in spans
    )
    return 1 - known_s / math.fsum(span_s for _, span_s in spans)


def row(figure: str, values: Sequence[float]) -> dict[str, object]:
    """A line of the table."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return {
        "figure": figure, "ratio": f"{middle:.4f}", "lower_quartile": f"{low:.4f}",
        "upper_quartile": f"{high:.4f}", "rounds": len(values),
    }  # fmt: skip


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    task = data.load(args.data, input_size=32)
    rows = [
        row(f"bookkeeping of {run.parent.name}/{run.name}", [bookkeeping(run)]) for run in args.runs
    ]
    for figure, values in itertools.chain(rates(task, args.rounds), ways(task, args.rounds)):
        rows.append(row(figure, values))
        write_csv(TARGET, rows, sys.argv)
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
