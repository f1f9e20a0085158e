"""How far a run is, from its events as they come: for the console, and for runs of others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netadapt.runs.events import (
    BoundSet,
    Continued,
    Event,
    Exported,
    Finished,
    IterationStarted,
    Measured,
    Record,
    Started,
    StepTaken,
    Stopped,
    Traced,
    Trained,
    Tried,
)
from netadapt.runs.progress import Progress
from netadapt.runs.step import Step
from netadapt.runs.works import works
from netadapt.units import cost_name, format_cost, format_metric

_AFTER: dict[type[Event], str] = {
    Traced: "measuring the unpruned network",
    BoundSet: "lookup table",
    Trained: "scoring",
    Tried: "trying",
    Measured: "measured",
    Exported: "measuring the result",
    Finished: "finished",
    Stopped: "ended short of its budgets",
}


def iterations_left(loads: Sequence[float]) -> int | None:
    """How many more iterations it takes until the load is 1, by the mean fall so far.

    Args:
        loads: of every step, the unpruned network first.

    Returns:
        None where nothing can be said: before the first iteration, or where the load does not fall.
    """
    if loads and loads[-1] <= 1:
        return 0
    if len(loads) < 2 or loads[-1] >= loads[0]:
        return None
    fall = (loads[0] - loads[-1]) / (len(loads) - 1)
    return math.ceil((loads[-1] - 1) / fall - 1e-9)


def duration(seconds: float) -> str:
    """For a person: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(slots=True)
class Activity:
    """What is going on within a stage.

    Attributes:
        latest: the last news of it.
        began_s: when the first came.
        first: the first news of it.
    """

    latest: Progress
    began_s: float
    first: Progress

    def text(self, now_s: float) -> str:
        """``train 40 of 90, loss 0.51, holdout 91.41% at 38, 310 images/s, 2 min left``."""
        news, seconds = self.latest, now_s - self.began_s - self._aside_s
        far = f" {news.done} of {news.total}" if news.total > 1 else ""
        words = [f"{news.what}{far}"]
        if news.loss is not None:
            words.append(f"loss {news.loss:.3g}")
        if news.glance is not None:
            score = format_metric(news.glance.accuracy, share=news.glance.is_share)
            words.append(f"holdout {score} at {news.glance.step}")
        share = 1 - self.first.done / news.done if news.done else 0.0
        if seconds > 0 and share > 0:
            if news.images:
                words.append(f"{news.images * share / seconds:.3g} images/s")
            left_s = seconds * (news.total - news.done) / (news.done - self.first.done)
            words.append(f"{duration(left_s)} left")
        return ", ".join(words)

    @property
    def _aside_s(self) -> float:
        """Seconds since the first news in which it was looked at, and nothing learned."""
        ends = (self.first.glance, self.latest.glance)
        first, last = (glance.seconds if glance else 0.0 for glance in ends)
        return last - first


@dataclass(slots=True)
class Watch:
    """The state of a run, changed by :meth:`note`; times are seconds since 1970.

    Attributes:
        stage: what goes on.
        bounds: the budgets by key.
        steps: the last record of each iteration.
        trials, tried: of the present iteration.
        finished: whether the result is there.
        stopped: why it ended short of its budgets; empty if it did not.
        started: its first line.
        execution: how it is executed now.
        measured_j: energy that sensors have told so far.
        measured_s: how long the work took that they told it of.
    """

    stage: str = "starting"
    bounds: dict[str, BoundSet] = field(default_factory=dict)
    steps: dict[int, Step] = field(default_factory=dict)
    trials: int = 0
    tried: int = 0
    finished: bool = False
    stopped: str = ""
    started: Started | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    measured_j: float = 0.0
    measured_s: float = 0.0
    _share: bool = field(default=True, init=False)
    _metric: str = field(default="accuracy", init=False)
    _activities: dict[str, Activity] = field(default_factory=dict, init=False)
    _last_s: float | None = field(default=None, init=False)
    _worked_s: float = field(default=0.0, init=False)
    _marks: list[float] = field(default_factory=list, init=False)

    def note(self, event: Event | Progress, now_s: float) -> None:
        """Take in what has happened."""
        if self._last_s is not None and not isinstance(event, Continued):
            self._worked_s += max(0.0, now_s - self._last_s)  # pauses are no work
        self._last_s = now_s
        if isinstance(event, Progress):
            self._progress(event, now_s)
            return
        self._activities.pop("", None)  # those of workers go on
        self._work(event)
        self.stage = _AFTER.get(type(event), self.stage)
        if isinstance(event, Started | Continued):
            self.started = event if isinstance(event, Started) else self.started
            self.execution, self.stopped = event.execution, ""
        elif isinstance(event, Stopped):
            self.stopped = event.text
        elif isinstance(event, Traced):
            self._share, self._metric = event.metric_is_share, event.metric
        elif isinstance(event, BoundSet):
            self.bounds[event.key] = event
        elif isinstance(event, IterationStarted):
            self.stage, self.trials, self.tried = "trying", event.trials, 0
        elif isinstance(event, Tried):
            self.tried += 1
        elif isinstance(event, StepTaken):
            self._step(event.step)
        self.finished = isinstance(event, Finished) or self.finished

    def _work(self, event: Event) -> None:
        for work in works(event):
            if work.energy_j is not None:
                self.measured_j += work.energy_j
                self.measured_s += work.seconds

    @property
    def worked_s(self) -> float:
        """How long it has been worked on, up to the last event."""
        return self._worked_s

    def _step(self, step: Step) -> None:
        self.steps[step.iteration] = step
        self.stage, self.trials, self.tried = "proposing", 0, 0
        self._activities.clear()
        self._marks.append(self._worked_s)

    def _progress(self, news: Progress, now_s: float) -> None:
        activity = self._activities.get(news.worker)
        if activity is None or activity.latest.what != news.what:
            activity = self._activities[news.worker] = Activity(news, now_s, news)
        activity.latest = news
        if news.done >= news.total:
            del self._activities[news.worker]

    @property
    def last(self) -> Step | None:
        """The last finished iteration."""
        return self.steps[max(self.steps)] if self.steps else None

    def load(self, step: Step) -> float:
        """Cost over limit, the largest over all budgets."""
        return max((step.costs[k].measured / b.limit for k, b in self.bounds.items()), default=0.0)

    @property
    def iterations_left(self) -> int | None:
        """See :func:`iterations_left`."""
        if not self.bounds:
            return None
        return iterations_left([self.load(self.steps[i]) for i in sorted(self.steps)])

    @property
    def left_s(self) -> float | None:
        """Seconds until the search is done; the long fine-tune and the export come on top."""
        left = self.iterations_left
        if left is None or len(self._marks) < 2:
            return None
        each_s = (self._marks[-1] - self._marks[0]) / (len(self._marks) - 1)
        return max(0.0, left * each_s - (self._worked_s - self._marks[-1]))

    def loads(self) -> Mapping[str, str]:
        """Each cost with its share of the budget, in words, by name."""
        step = self.last
        if step is None:
            return {}
        return {
            cost_name(key, bound.unit): f"{format_cost(step.costs[key].measured, bound.unit)}, "
            f"{step.costs[key].measured / bound.limit:.0%} of the budget"
            for key, bound in self.bounds.items()
        }

    def left(self) -> str:
        """What is left, in words; empty where nothing can be said."""
        left, left_s = self.iterations_left, self.left_s
        if self.finished or self.stopped or left is None:
            return ""
        if left == 0:
            return "the long fine-tune"
        time = f", {duration(left_s)}" if left_s is not None else ""
        return f"about {left} iteration{'s' * (left != 1)}{time}, then the long fine-tune"

    def rows(self, now_s: float) -> list[tuple[str, str]]:
        """All of it, labelled."""
        doing = {who: what.text(now_s) for who, what in sorted(self._activities.items())}
        rows = [("stage", doing.pop("", self.stage)), *doing.items()]
        if self.steps:
            rows.append(("iterations", str(max(self.steps))))
        rows += self.loads().items()
        if self.last is not None:
            rows.append(
                (f"holdout {self._metric}", format_metric(self.last.accuracy, share=self._share))
            )
        if self.trials:
            rows.append(("trials", f"{self.tried} of {self.trials}"))
        return [*rows, ("left", self.left())] if self.left() else rows

    def line(self, now_s: float) -> str:
        """What goes on, in one line."""
        own = self._activities.get("")
        words = [own.text(now_s) if own else self.stage]
        workers = len(self._activities) - (own is not None)
        if workers:
            words.append(f"{workers} worker{'s' * (workers > 1)} at it")
        if self.trials:
            words.insert(0, f"iteration {max(self.steps, default=0) + 1}")
            words.append(f"trial {self.tried} of {self.trials}")
        left_s = self.left_s
        if left_s and not self.finished:
            words.append(f"search {duration(left_s)} left")
        return ", ".join(words)


def watched(records: Sequence[Record]) -> Watch:
    """The state that a journal tells."""
    watch = Watch()
    for record in records:
        watch.note(record.event, record.time)
    return watch
