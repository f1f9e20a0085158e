"""From what a setting says of workers to desks for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from netadapt import training
from netadapt.config import Execution, parse_workers
from netadapt.runs import Run, Stopwatch
from netadapt.runs.stopwatch import stopwatch_of
from netadapt.workers.cluster import connected
from netadapt.workers.crew import Attempt, Crew
from netadapt.workers.desks import Desk, Desks
from netadapt.workers.local import LocalWorker
from netadapt.workers.patience import Patience


@contextmanager
def seated(execution: Execution) -> Iterator[Desks | None]:
    """Desks for the workers of a run, at which nobody sits yet; None where it needs none.

    Raises:
        DeviceError: a GPU is not there, or a cluster cannot be reached.
        UsageError: Ray is not installed.
    """
    workers = parse_workers(execution.workers)
    if workers.cluster:
        threads = torch.get_num_threads()
        with connected(workers.cluster, execution.trainer, threads) as cluster:
            yield Desks(Desk(f"ray {n}", cluster.hire) for n in range(1, cluster.size() + 1))
        return
    for gpu in workers.gpus:
        training.open_trainer(gpu)
    if workers.count == 1 and not workers.gpus:
        yield None
        return
    if workers.gpus:
        yield Desks(
            Desk(f"worker {n} ({gpu})", partial(LocalWorker, gpu))
            for n, gpu in enumerate(workers.gpus, start=1)
        )
    else:
        yield Desks(Desk(f"worker {n}", LocalWorker) for n in range(1, workers.count + 1))


@contextmanager
def staffed(desks: Desks | None, execution: Execution, run: Run) -> Iterator[Attempt | None]:
    """Have workers at the desks of a run for as long as it searches; they come when needed.

    Gives what tries candidates with them; None without desks.
    """
    if desks is None:
        yield None
        return
    if text := _crowded(execution):
        run.warn(text)
    with Crew(
        desks, Patience(execution.trial_limit_s), run.notify, run.warn, _stopwatch(execution)
    ) as crew:
        yield crew


def _stopwatch(execution: Execution) -> Stopwatch:
    """With sensors where they tell the energy of all workers, and not of some."""
    workers = parse_workers(execution.workers)
    here = not workers.cluster and len(set(workers.gpus)) < 2
    return stopwatch_of(execution.trainer) if here else Stopwatch()


def _crowded(execution: Execution) -> str:
    """What to know where workers have more threads than this machine has cores; else nothing."""
    workers, threads, cores = parse_workers(execution.workers), torch.get_num_threads(), _cores()
    if workers.count < 2 or execution.trainer != "cpu" or workers.count * threads <= cores:
        return ""
    return (
        f"{workers.count} workers of {threads} threads each share {cores} cores: the number of "
        f"threads decides the last bits, so that it stays. OMP_NUM_THREADS="
        f"{max(1, cores // workers.count)}, from the beginning of a run, is faster."
    )


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
