"""Passing news of work that goes on, for a listener; none of it is in the journal."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Passing news for a listener; never in the journal.

    Attributes:
        what: the activity.
        done, total: how far it has come.
        loss: of the last training step, if it is a training.
        images: seen so far, if it is a training.
    """

    what: str
    done: int
    total: int
    loss: float | None = None
    images: int = 0


def training_progress(
    notify: Callable[[Progress], None], what: str, batch_size: int = 0
) -> Callable[[int, int, float], None]:
    """A training callback that reports as :class:`Progress`."""

    def report(done: int, total: int, loss: float) -> None:
        notify(Progress(what, done, total, loss, done * batch_size))

    return report


def counted(notify: Callable[[Progress], None], what: str) -> Callable[[int, int], None]:
    """A measuring callback that reports as :class:`Progress`."""

    def report(done: int, total: int) -> None:
        notify(Progress(what, done, total))

    return report
