"""A user's own task in whose training a worker meets with an accident, once each, where told to.

The folder that ``ACCIDENTS`` names holds a file for each accident to come, and ``head``: the
process of the run, which meets with none itself. Without the variable it is the task of
tests.examples.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from netadapt.data import ArraySplit, Batch, Task
from tests import examples

VARIABLE = "ACCIDENTS"
MODEL, TASK = "tests.examples:small_net", "tests.accidents:stripes"


def plan(folder: Path, *accidents: str) -> None:
    """Have these happen in workers of this process; ``head`` is of whichever runs by then."""
    (folder / "head").write_text(str(os.getpid()))
    for name in accidents:
        (folder / name).touch()


class Eventful(ArraySplit):
    """Images in whose second epoch of training things happen."""

    def batches(self, *args: Any, **kwargs: Any) -> Iterator[Batch]:
        if kwargs.get("augment") and kwargs["epoch"] == 1:
            happen()
        return super().batches(*args, **kwargs)


def stripes(seed: int = 0) -> Task:
    task = examples.stripes(seed)
    train = cast(ArraySplit, task.train)
    return replace(task, train=Eventful(train.images, train.targets, train.pixels))


def happen() -> None:
    folder = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None
    head = int((folder / "head").read_text()) if folder else os.getpid()
    if folder and head != os.getpid():
        for name, accident in ACCIDENTS.items():
            with suppress(FileNotFoundError):
                (folder / name).unlink()
                accident(folder, head)


def _killed(folder: Path, head: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hangs(folder: Path, head: int) -> None:
    time.sleep(3600)


def _orphaned(folder: Path, head: int) -> None:
    (folder / "orphan").write_text(str(os.getpid()))
    os.kill(head, signal.SIGKILL)
    time.sleep(3600)


ACCIDENTS = {"killed": _killed, "hangs": _hangs, "orphaned": _orphaned}
