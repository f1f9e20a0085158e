"""Passing news of work that goes on, for a listener; none of it is in the journal."""

import time
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
        worker: who does it; empty for the run's own process.
    """

    what: str
    done: int
    total: int
    loss: float | None = None
    images: int = 0
    worker: str = ""


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


def throttled(
    notify: Callable[[Progress], None], every_s: float = 0.25
) -> Callable[[Progress], None]:
    """Passes on what is new or complete, and of the rest no more than one each so often."""
    last = ("", -every_s)

    def report(news: Progress) -> None:
        nonlocal last
        what, then_s = last
        now_s = time.monotonic()
        if news.what != what or news.done >= news.total or now_s - then_s >= every_s:
            last = (news.what, now_s)
            notify(news)

    return report
