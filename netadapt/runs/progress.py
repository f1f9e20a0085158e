"""Passing news of work that goes on, for a listener; none of it is in the journal."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Glance:
    """What a network in training scored on some holdout images.

    Attributes:
        step: of the training, after which it was scored.
        accuracy: the task's metric.
        images: how many were scored.
        is_share: whether the metric lies in 0..1 and reads as a percentage.
        seconds: that this and earlier looks at the same training took together.
    """

    step: int
    accuracy: float
    images: int
    is_share: bool = True
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Passing news for a listener; never in the journal.

    Attributes:
        what: the activity.
        done, total: how far it has come.
        loss: of the last training step, if it is a training.
        images: seen so far, if it is a training.
        worker: who does it; empty for the run's own process.
        glance: what was scored last, if it is a training that is looked at.
    """

    what: str
    done: int
    total: int
    loss: float | None = None
    images: int = 0
    worker: str = ""
    glance: Glance | None = None


@dataclass
class TrainingNews:
    """The callbacks of a training, which report as :class:`Progress`.

    Attributes:
        notify: called with each.
        what: the activity.
        batch_size: images per step.
    """

    notify: Callable[[Progress], None]
    what: str
    batch_size: int = 0
    _glance: Glance | None = field(default=None, init=False)

    def step(self, done: int, total: int, loss: float) -> None:
        """A step is done."""
        images = done * self.batch_size
        self.notify(Progress(self.what, done, total, loss, images, glance=self._glance))

    def glance(self, glance: Glance) -> None:
        """It was looked at; told with the next step, and those that follow."""
        self._glance = glance


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
