#!/usr/bin/env python3
"""How far measurements can be trusted while other programs run.

    python scripts/busy_machine.py [--repeats 16] [--fresh]

Writes results/busy.csv, a row as soon as it is known; started again, it goes on with those that are
missing. Run it where nothing else does: it makes its own load, two processes, one of which computes
and one of which moves memory. Figures, each quiet and busy:

    ratio, in turn     MobileNetV1 0.36 over 0.5 at 32 pixels, its runs right beside the other's:
                       standard deviation over the repetitions, relative
    ratio, five processes   the same as where a search may end
    ratio, p10         the same from 10th percentiles of visits, as single networks are measured
    held, in turn; held, five processes
                       share of their 95 % intervals that hold the mean of all repetitions
    table              mean error of a new table on 8 networks that it never saw
    table, anew        the same, calibrated anew on the day's measurements
    final load         of a run to 60 % of the latency, as judged quiet, over its budget
"""

import argparse
import csv
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy
from provenance import write_csv

from netadapt.adapt import adapt
from netadapt.assembly import Source, assemble
from netadapt.config import RunConfig, Tuning
from netadapt.export import to_onnx
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.platforms.measurement import Ratio
from netadapt.search.fleet import DECIDING, FIRST, WHOLE
from netadapt.table import Building, build_table, verify_table
from netadapt.tables.accuracy import Sample
from netadapt.train import train
from netadapt.units import parse_budget

TARGET = Path(__file__).resolve().parent.parent / "results" / "busy.csv"
PIXELS = 32
ANEW = "the same, calibrated anew"
V1 = Source("mobilenet_v1", {"width": 0.5, "num_classes": 10}, None, PIXELS)
SURE = replace(WHOLE, precision=0.001, time_limit_s=120.0)


def computing() -> None:
    """Multiply small matrices for ever."""
    numbers = numpy.random.rand(64, 64)
    while True:
        numbers = numbers @ numbers
        numbers /= numbers.max()


def moving() -> None:
    """Copy 64 MB to and fro for ever."""
    one = numpy.zeros(8 << 20)
    other = numpy.ones(8 << 20)
    while True:
        numpy.copyto(one, other)
        numpy.copyto(other, one)


@contextmanager
def load(busy: bool) -> Iterator[None]:
    """Two processes beside what is measured, if it is to be busy."""
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=f, daemon=True) for f in (computing, moving)] if busy else []
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


RATIOS = (
    "ratio, in turn", "held, in turn", "ratio, five processes", "held, five processes",
    "ratio, p10",
)  # fmt: skip


def ratios(repeats: int) -> tuple[float, ...]:
    """Relative standard deviations, and shares of intervals that hold; see :data:`RATIOS`."""
    platform = open_platform("ort:cpu")
    works = []
    for width in (0.36, 0.5):
        found = assemble(Source("mobilenet_v1", {"width": width, "num_classes": 10}, None, PIXELS))
        onnx = to_onnx(found.module, found.network.input_shape)
        works.append(Workload(f"width {width}", onnx, found.network.at({})))
    found: dict[Effort, list[Ratio]] = {WHOLE: [], DECIDING: [], FIRST: []}
    for _ in range(repeats):
        for effort, of_it in found.items():
            small, large = (r["latency"] for r in platform.measure_networks(works, effort))
            of_it.append(Ratio.of(small, large))
    turns, decided, apart = found.values()
    return (*deviation(turns), *deviation(decided), deviation(apart)[0])


def deviation(found: list[Ratio]) -> tuple[float, float]:
    """Standard deviation over the mean, and the share of intervals that hold the mean."""
    values = [ratio.value for ratio in found]
    mean = statistics.mean(values)
    held = [abs(mean / ratio.value - 1) <= (ratio.uncertainty or 0.0) for ratio in found]
    return statistics.stdev(values) / mean, statistics.mean(held)


def table_errors(folder: Path) -> tuple[float, ...]:
    """Mean error on networks that the table never saw: as it is, and calibrated anew."""
    path = folder / "table.csv"
    build_table(V1, path, platform_uri="ort:cpu", how=Building())
    report = verify_table(V1, path, platform_uri="ort:cpu", sample=Sample(unseen=8, halved=0))
    found = report["predictors"]
    return tuple(found[name]["mean_error"] for name in ("lookup table", ANEW))


def adapted(folder: Path) -> tuple[Path, Path]:
    """The files of a network before and after a run to 60 % of its latency."""
    weights = folder / "weights.safetensors"
    tuning = Tuning(train_epochs=1, short_steps=2, long_epochs=0.3, screen_batches=1)
    config = RunConfig(
        "mobilenet_v1", "digits", (parse_budget("60%"),), model_args={"width": 0.5}, tuning=tuning,
        finalists=1,
    )  # fmt: skip
    train(config, weights)
    adapt(replace(config, weights=str(weights)), folder / "run")
    found = assemble(Source("mobilenet_v1", {"width": 0.5}, None, data="digits"))
    original = folder / "original.onnx"
    original.write_bytes(to_onnx(found.module, found.network.input_shape))
    return original, folder / "run" / "adapted.onnx"


def final_load(original: Path, result: Path) -> float:
    """What a run left of the latency over what its budget allows, judged at length."""
    works = [Workload(path.name, path.read_bytes(), ()) for path in (result, original)]
    small, large = (r["latency"] for r in open_platform("ort:cpu").measure_networks(works, SURE))
    return Ratio.of(small, large).value / 0.6


Row = dict[str, object]


def known() -> list[Row]:
    """Rows of an earlier start."""
    if not TARGET.is_file():
        return []
    with TARGET.open(newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def main() -> None:
    """Measure what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=16)
    parser.add_argument("--fresh", action="store_true", help="measure all anew")
    args = parser.parse_args()
    rows: list[Row] = [] if args.fresh else known()

    def add(load: str, figures: dict[str, float]) -> None:
        rows.extend({"load": load, "figure": f, "value": f"{v:.5f}"} for f, v in figures.items())
        write_csv(TARGET, rows, sys.argv)
        print(load, figures, flush=True)

    def missing(load: str, figure: str) -> bool:
        return not any((row["load"], row["figure"]) == (load, figure) for row in rows)

    for name, busy in (("quiet", False), ("busy", True)):
        steps: list[tuple[tuple[str, ...], Callable[[Path], tuple[float, ...]]]] = [
            (RATIOS, lambda _: ratios(args.repeats)),
            (("table", "table, anew"), table_errors),
        ]
        for figures, measure in steps:
            if missing(name, figures[0]):
                with tempfile.TemporaryDirectory() as folder, load(busy):
                    values = measure(Path(folder))
                add(name, dict(zip(figures, values, strict=True)))
        if missing(name, "final load"):
            with tempfile.TemporaryDirectory() as folder:
                with load(busy):
                    files = adapted(Path(folder))
                value = final_load(*files)
            add(name, {"final load": value})


if __name__ == "__main__":
    main()
