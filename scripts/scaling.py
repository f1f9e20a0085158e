#!/usr/bin/env python3
"""How an iteration over 64 channel groups speeds up with 1 to 64 workers.

    python scripts/scaling.py [--trial 1.0] [--out results/scaling.csv]

The loop, its journal, and the crew that hands out trials, listens and collects are the real ones.
Simulated are the network (64 equal groups), the workers (each sleeps for as long as its trial
takes: ``--trial`` seconds, with a standard deviation of a tenth, drawn once for all rows), and the
device, which measures one network at the end of the iteration and takes one trial's time for it. So
it shows what handing out costs, and what the order of work and the one device allow, where workers
share no cores; how fast real trainings are side by side it does not show.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from provenance import write_csv

from netadapt.config import Rung
from netadapt.network import (
    WEIGHTS,
    ChannelGroup,
    Cost,
    LayerSpec,
    Network,
    Sizes,
    Slot,
    TensorSpec,
    Width,
    cost_of,
)
from netadapt.platforms.measurement import Measurement
from netadapt.runs import Job, Outcome, Phase, Progress, Run, Step, StepCost, Trial
from netadapt.runs.events import IterationStarted, Started
from netadapt.search.budgets import Bound, Meter
from netadapt.search.loop import Space, search
from netadapt.search.schedule import Schedule
from netadapt.search.strategies import Proposal, Scores, one_group
from netadapt.search.strategies.situation import alike
from netadapt.workers.crew import Crew
from netadapt.workers.desks import Desk, Desks

RESULTS = Path(__file__).resolve().parent.parent / "results"
GROUPS, UNITS = 64, 64
WORKERS = (1, 2, 4, 8, 16, 32, 64)
ARMS: dict[str, tuple[Rung, ...]] = {"exhaustive": (), "rungs": (Rung(4, 0.1), Rung(2))}
SCREENING = 0.1
"""Of a whole trial's time: 512 images forward and the holdout, beside 500 steps of 128 images."""


def chain() -> Network:
    """65 convolutions of 64 channels, one after the other."""
    groups, layers, tensors = {}, [], []
    widths = [Width(3), *(Width(terms=((f"g{i}", 1),)) for i in range(GROUPS)), Width(UNITS)]
    for i in range(GROUPS + 1):
        cin, cout, name = widths[i], widths[i + 1], f"c{i}"
        layers.append(
            LayerSpec(
                name=name, op="conv", cin=cin, cout=cout, kernel=(3, 3), padding=(1, 1),
                in_hw=(8, 8), out_hw=(8, 8), module=name,
            )
        )  # fmt: skip
        tensors.append(TensorSpec(f"{name}.weight", (cout, cin, Width(3), Width(3))))
    index = tuple((unit,) for unit in range(UNITS))
    for i in range(GROUPS):
        slots = (Slot(f"c{i}.weight", 0, "out", index), Slot(f"c{i + 1}.weight", 1, "in", index))
        groups[f"g{i}"] = ChannelGroup(f"g{i}", UNITS, slots)
    return Network((3, 8, 8), tuple(layers), groups, tuple(tensors))


NETWORK = chain()
FULL = cost_of(WEIGHTS, NETWORK.at({}))
JOB = Job({}, "", None, "l2", False, None, 1, 1, 0, "cpu", {})  # type: ignore[arg-type]


def seconds_of(trial: Trial, mean_s: float) -> float:
    """How long a trial takes, the same whoever tries it."""
    whole = mean_s * random.Random(trial.name).gauss(1, 0.1)
    if trial.rung == 0:
        return SCREENING * whole
    return whole * trial.until / 100


class Sleeper:
    """A worker that sleeps through its trials."""

    def __init__(self, mean_s: float) -> None:
        self._mean_s = mean_s

    def begin(self, trial: Trial) -> None:
        """Note when it will be over."""
        self._trial = trial
        self._until_s = time.monotonic() + seconds_of(trial, self._mean_s)

    def hear(self, timeout_s: float) -> Progress | Outcome | None:
        """Sleep, and say what came of it."""
        time.sleep(max(0.0, min(timeout_s, self._until_s - time.monotonic())))
        if time.monotonic() < self._until_s:
            return None
        trial = self._trial
        keep = {group: tuple(range(size)) for group, size in trial.changes.items()}
        seconds = seconds_of(trial, self._mean_s)
        return Outcome(trial.index, trial.rung, 0.9, keep, (Phase("tuning", seconds),), loss=0.1)

    def end(self) -> None:
        """Nothing is left to end."""


@dataclass
class Workshop:
    """What :class:`netadapt.search.loop.Workshop` asks for, with a crew that is real."""

    crew: Crew
    mean_s: float
    rungs: tuple[Rung, ...]
    work_s: float = 0.0
    trying_s: float = 0.0
    measuring_s: float = 0.0

    def costs(self, sizes: Sizes) -> Mapping[str, Cost]:
        """Parameters."""
        return {"params": WEIGHTS}

    def scores(self, step: Step) -> Scores:
        """No unit matters more than another."""
        return alike(NETWORK.narrow(step.keep))

    def attempt(
        self, step: Step, proposals: Mapping[int, Proposal], rung: int
    ) -> Iterator[Outcome]:
        """Have the crew sleep through these trials."""
        done, until = 0, 100
        if rung and self.rungs:
            shares = [round(100 * r.share) for r in self.rungs]
            done, until = ([0, *shares][rung - 1], shares[rung - 1])
        trials = [
            Trial(JOB, step.iteration + 1, i, rung, p.name, dict(p.changes), step.keep, "",
                  until=until - done)
            for i, p in proposals.items()
        ]  # fmt: skip
        self.work_s += sum(seconds_of(trial, self.mean_s) for trial in trials)
        began_s = time.monotonic()
        yield from self.crew(trials)
        self.trying_s += time.monotonic() - began_s

    def measure(
        self, step: Step, index: int, outcome: Outcome, *, doubted: bool = False
    ) -> Mapping[str, Measurement]:
        """One network at a time, as a device does."""
        began_s = time.monotonic()
        time.sleep(self.mean_s)
        self.measuring_s += time.monotonic() - began_s
        sizes = {group: len(units) for group, units in outcome.keep.items()}
        return {"params": Measurement((cost_of(WEIGHTS, NETWORK.at(sizes)),), "model")}

    def settle(self, step: Step) -> Mapping[str, Measurement]:
        """Known already."""
        return {key: Measurement((cost.measured,), "model") for key, cost in step.costs.items()}

    def weights(self, iteration: int, index: int) -> str:
        """There are no weights."""
        return ""

    def keep(self, step: Step) -> None:
        """Nor any to drop."""

    def finish(self, step: Step) -> Mapping[str, Measurement]:
        """There is no long fine-tune."""
        return self.settle(step)


def row(arm: str, workers: int, mean_s: float) -> dict[str, object]:
    """One iteration with so many workers."""
    bound = Bound(Meter("params"), 0.995 * FULL, FULL)
    rungs = ARMS[arm]
    space = Space(
        NETWORK, (bound,), one_group.propose, Schedule(0.5, decay=1.0), multiple=1, rungs=rungs
    )
    costs = {bound.key: StepCost(FULL, FULL, FULL)}
    desks = Desks(Desk(f"worker {n}", lambda: Sleeper(mean_s)) for n in range(workers))
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(Path(folder) / "run", Started(2, {}, {}, {})) as run,
        Crew(desks) as crew,
    ):
        workshop = Workshop(crew, mean_s, rungs)
        run.commit(Step(0, "", {}, costs, 0.9))
        began_s = time.monotonic()
        last = search(space, workshop, run)
        wall_s = time.monotonic() - began_s
        started = run.last(IterationStarted)
    assert last.iteration == 1
    assert started is not None
    work_s, measuring_s = workshop.work_s, workshop.measuring_s
    return {
        "arm": arm,
        "workers": workers,
        "trials": started.trials,
        "trials_per_worker": started.trials / workers,
        "work_s": round(work_s, 3),
        "trying_s": round(workshop.trying_s, 3),
        "measuring_s": round(measuring_s, 3),
        "head_s": round(wall_s - workshop.trying_s - measuring_s, 3),
        "efficiency": round(work_s / workers / workshop.trying_s, 3),
        "speedup": round((work_s + measuring_s) / wall_s, 2),
        "speedup_limit": round((work_s + measuring_s) / (work_s / workers + measuring_s), 2),
    }


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trial", type=float, default=1.0, help="mean seconds of a trial")
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling.csv")
    given = parser.parse_args()
    rows = []
    for arm in ARMS:
        for workers in WORKERS:
            rows.append(row(arm, workers, given.trial))
            print(rows[-1], flush=True)
    write_csv(given.out, rows, sys.argv)


if __name__ == "__main__":
    main()
