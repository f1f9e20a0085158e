"""Reading by processes of their own: torch's DataLoader, in the same order for any number of them.

What is read is cut into pieces. A piece is read the same wherever that is done: random numbers that
are drawn for an example depend on the seed, the epoch and the example alone.
"""

import math
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from netadapt.errors import DataError, NetAdaptError
from netadapt.plugins import own_code

P = TypeVar("P")
T = TypeVar("T")

ENOUGH_PER_S = 4000
"""Examples per second that workers are taken for by default; hardly a network learns from more."""

CHEAP_S = 0.2e-3
"""An example that is read in less is not worth handing over between processes."""

MOST_WORKERS = 16


@dataclass
class Pace:
    """What it takes to read an example, once that is known.

    Attributes:
        seconds: of one example; None until then.
    """

    seconds: float | None = None


def workers_for(seconds: float, cores: int) -> int:
    """Processes that read examples which take so long: for enough of them, but one core left."""
    if seconds < CHEAP_S:
        return 0
    return max(0, min(math.ceil(seconds * ENOUGH_PER_S), cores - 1, MOST_WORKERS))


def usable_cores() -> int:
    """Processor cores that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone tells
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def read(
    fetch: Callable[[P], T], pieces: Sequence[P], *, workers: int | None, pace: Pace, size: int
) -> Iterator[T]:
    """What ``fetch`` gives of each piece, in their order.

    The first piece is read here if it is small, or if nothing is known of how long it takes: who
    wants no more than that needs no processes.

    Args:
        fetch: reads a piece.
        pieces: what to read.
        workers: processes that read; None takes as many as suit the pace and the processor.
        pace: of one example; noted if it is not known.
        size: examples in a piece.

    Raises:
        DataError: a piece cannot be read.
    """
    if not pieces:
        return
    first = 0
    if size <= _SMALL or (workers is None and pace.seconds is None):
        begun_s = time.perf_counter()
        piece = fetch(pieces[0])
        pace.seconds = (time.perf_counter() - begun_s) / max(1, size)
        yield piece
        first = 1
    if workers is None:
        workers = workers_for(pace.seconds or 0.0, usable_cores())
    if workers and len(pieces) > first:
        yield from _by_workers(fetch, pieces[first:], min(workers, len(pieces) - first))
    else:
        yield from map(fetch, pieces[first:])


_SMALL = 16
"""Examples that are read in a moment."""

_ALONE_S = 0.2
"""How long a worker goes on at most when the main process is no more."""


def _by_workers(fetch: Callable[[P], T], pieces: Sequence[P], workers: int) -> Iterator[T]:
    arrived = _arriving(fetch, pieces, workers)
    try:
        while True:
            try:
                piece = next(arrived)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:  # a worker is gone
                reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
                piece = _Failure(
                    f"A process that reads examples has ended before its time ({reason}); read "
                    "with fewer data workers, or with more (shared) memory."
                )
            if isinstance(piece, _Failure):
                raise DataError(piece.text)
            yield piece
    finally:
        del arrived  # which no error holds, as it would its own: so the workers end now


def _arriving(fetch: Callable[[Any], Any], pieces: Sequence[Any], workers: int) -> Iterator[Any]:
    """The pieces as workers read them, which begin at once."""
    with warnings.catch_warnings(), _quiet_children():
        # Python 3.12 warns of forks beside threads; workers use none of what threads may hold.
        warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
        # More workers than cores may be a user's wish.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        return iter(
            DataLoader(
                _Pieces(fetch, pieces),
                batch_size=None,
                collate_fn=_as_it_is,
                num_workers=workers,
                worker_init_fn=_begin,
                generator=torch.Generator(),  # or it would draw from the global one
            )
        )


@contextmanager
def _quiet_children() -> Iterator[None]:
    """Leave the handling of SIGCHLD as it was.

    Torch sets one that raises wherever the main process is when a worker dies, be it in writing a
    journal. Whoever waits for that worker is told all the same, within seconds.
    """
    number = getattr(signal, "SIGCHLD", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before if before is not None else signal.SIG_DFL)


@dataclass(frozen=True, slots=True)
class _Failure:
    """What went wrong in a worker, as one sentence."""

    text: str


class _Pieces(Dataset[Any]):
    """What workers read, piece by piece."""

    def __init__(self, fetch: Callable[[Any], Any], pieces: Sequence[Any]) -> None:
        self._fetch, self._pieces = fetch, pieces

    def __len__(self) -> int:
        return len(self._pieces)

    def __getitem__(self, number: int) -> Any:
        what = "The data set, read by a process of its own,"
        try:
            with own_code(what, DataError):
                return self._fetch(self._pieces[number])
        except NetAdaptError as error:
            return _Failure(str(error))
        except (Exception, SystemExit) as error:
            said = str(error).strip().split("\n")[0].rstrip(".")
            return _Failure(f"{what} failed: {type(error).__name__}: {said}.")


def _as_it_is(piece: Any) -> Any:
    return piece


def _begin(_number: int) -> None:
    """Let a worker end when it is told to or alone, and leave interrupts to the main process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()


def _end_after(parent: int) -> None:
    """End with the main process however that ends: what it had locked is locked until then."""
    while os.getppid() == parent:
        time.sleep(_ALONE_S)
    os._exit(1)


@contextmanager
def seeds_apart() -> Iterator[Callable[[int], None]]:
    """A function that seeds the global random numbers, which are as before afterwards.

    Those of Python, of numpy, and of torch on the CPU.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def seed(value: int) -> None:
        random.seed(value)
        np.random.seed(value % 2**32)
        torch.default_generator.manual_seed(value)

    try:
        yield seed
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
