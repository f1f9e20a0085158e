"""Where workers sit: who is free, who has been lost, and who is given up."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from threading import Condition
from typing import Protocol

from netadapt.runs import Outcome, Progress, Trial

LOSSES = 3
"""So many workers lost one after the other, and a desk is given up, if another is left."""


class WorkerLost(Exception):
    """A worker has died or was ended; says how, as the rest of a sentence about it."""


class SeatLost(WorkerLost):
    """There is no place for a worker any more."""


class Worker(Protocol):
    """Tries candidates in a process of its own, one at a time.

    All of it may raise :class:`WorkerLost`; then it is ended, and another takes its place.
    """

    def begin(self, trial: Trial) -> None:
        """Hand it a trial."""
        ...

    def hear(self, timeout_s: float) -> Progress | Outcome | None:
        """Its next word on the trial; None if it said none for so long.

        Raises:
            WorkerLost, SeatLost: as above.
            NetAdaptError: what ends a run, wherever it happens.
        """
        ...

    def end(self) -> None:
        """End it at once, whatever it does."""
        ...


@dataclass(eq=False)
class Desk:
    """A place for one worker.

    Attributes:
        name: of the place, for people.
        hire: starts a worker there.
        worker: who sits there; None before the first trial, and after one was lost.
        losses: how many workers were lost there since the last one that came to an end.
    """

    name: str
    hire: Callable[[], Worker]
    worker: Worker | None = None
    losses: int = 0


class Desks:
    """All desks of a run; what its threads share.

    Args:
        desks: one or more.
    """

    def __init__(self, desks: Iterable[Desk]) -> None:
        self._all = list(desks)
        self._free = list(self._all)
        self._homes: dict[int, Desk] = {}
        self._changed = Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many are not given up."""
        return len(self._all)

    def take(self, index: int, avoid: Collection[str] = ()) -> Desk:
        """Wait for a free desk, and take it.

        Args:
            index: of a candidate; where it was tried last something of it is remembered, so that
                this is the first choice.
            avoid: names of desks that will not do, unless no others are left.

        Raises:
            WorkerLost: the run is over.
        """
        with self._changed:
            while not self._closed:
                fit = [desk for desk in self._all if desk.name not in avoid] or self._all
                free = [desk for desk in self._free if desk in fit]
                if free:
                    home = self._homes.get(index)
                    desk = home if home in free else free[0]
                    self._free.remove(desk)
                    self._homes[index] = desk
                    return desk
                self._changed.wait()
        raise WorkerLost("was ended with the run")

    def give_back(self, desk: Desk, *, lost: bool = False, gone: bool = False) -> bool:
        """Make a desk free for others, or give it up.

        Args:
            desk: what was taken.
            lost: whether its worker was.
            gone: whether it cannot have another.

        Returns:
            Whether it is still there.
        """
        with self._changed:
            desk.losses = desk.losses + 1 if lost else 0
            if (gone or desk.losses >= LOSSES) and len(self._all) > 1:
                self._all.remove(desk)
            else:
                self._free.append(desk)
            self._changed.notify_all()
            return desk in self._all

    def close(self) -> None:
        """Send away who waits, and end all workers."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for desk in self._all:
            if desk.worker is not None:
                desk.worker.end()
