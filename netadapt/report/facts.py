"""What a journal tells, put in order for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from netadapt.errors import UsageError
from netadapt.runs import Record, Step, last, steps_of
from netadapt.runs.events import (
    BoundSet,
    Continued,
    Exported,
    Finished,
    Inherited,
    Measured,
    Started,
    TableMeasured,
    Traced,
    Tried,
    Warned,
)
from netadapt.runs.watch import watched


@dataclass(frozen=True, slots=True)
class Facts:
    """A run, finished or not.

    Attributes:
        name: of the run.
        started: its first line.
        began_s, ended_s: time of its first and last line, in seconds since 1970.
        continued: how often it was taken up again.
        traced: the network; None before it was traced.
        bounds: its budgets, by key; empty before the unpruned network was measured.
        steps: every finished iteration, the unpruned network first.
        trials: what was tried, by iteration.
        finished: the result; None while there is none.
        exported: the files; None while there are none.
        warnings: what a user should know, each once.
        stopped: why it ended short of its budgets; empty if it did not.
        after: the earlier run that it goes on from, and from which of its steps; empty if none.
        tables: what was measured of layers, by device: rows, and seconds.
    """

    name: str
    started: Started
    began_s: float
    ended_s: float
    continued: int
    traced: Traced | None
    bounds: Mapping[str, BoundSet]
    steps: tuple[Step, ...]
    trials: Mapping[int, tuple[Tried, ...]]
    finished: Finished | None
    exported: Exported | None
    warnings: tuple[str, ...]
    stopped: str = ""
    after: str = ""
    tables: Mapping[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """What accuracy is."""
        return self.traced.metric if self.traced else "accuracy"

    @property
    def share(self) -> bool:
        """Whether it reads as a percentage."""
        return self.traced.metric_is_share if self.traced else True


def facts_of(name: str, records: Sequence[Record]) -> Facts:
    """Read the records of a run.

    Raises:
        UsageError: there are none.
    """
    started = records[0].event if records else None
    if not isinstance(started, Started):
        raise UsageError(f"{name} holds no run; name a folder with a journal.jsonl.")
    return Facts(
        name=name,
        started=started,
        began_s=records[0].time,
        ended_s=records[-1].time,
        continued=sum(isinstance(r.event, Continued) for r in records),
        traced=last(records, Traced),
        bounds={r.event.key: r.event for r in records if isinstance(r.event, BoundSet)},
        steps=tuple(steps_of(records)),
        trials=_trials(records),
        finished=last(records, Finished),
        exported=last(records, Exported),
        warnings=_warnings(records),
        stopped=watched(records).stopped,
        after=f"{e.run}, step {e.iteration}" if (e := last(records, Inherited)) else "",
        tables=_tables(records),
    )


def _tables(records: Sequence[Record]) -> dict[str, tuple[int, float]]:
    tables: dict[str, tuple[int, float]] = {}
    for record in records:
        event = record.event
        if isinstance(event, TableMeasured):
            rows, seconds = tables.get(event.device, (0, 0.0))
            tables[event.device] = (rows + event.rows, seconds + event.seconds)
    return tables


def _trials(records: Sequence[Record]) -> dict[int, tuple[Tried, ...]]:
    """By iteration; a trial that was repeated after a run was cut off counts once.

    Of a candidate in a race the last look tells all, and the time is that of all looks.
    """
    trials: dict[int, dict[tuple[object, ...], Tried]] = {}
    for record in records:
        event = record.event
        if isinstance(event, Tried):
            at = (event.outcome.rung, event.name, *sorted(event.changes.items()))
            earlier = trials.setdefault(event.iteration, {})
            earlier[at] = _after(earlier.get(at), event)
    return {iteration: tuple(trials[iteration].values()) for iteration in sorted(trials)}


def _after(before: Tried | None, trial: Tried) -> Tried:
    """A trial with the phases of its earlier looks."""
    if before is None or not 0 < before.outcome.images < trial.outcome.images:
        return trial
    phases = (*before.outcome.phases, *trial.outcome.phases)
    return replace(trial, outcome=replace(trial.outcome, phases=phases))


def _warnings(records: Sequence[Record]) -> tuple[str, ...]:
    texts: dict[str, None] = {}
    for record in records:
        event = record.event
        if isinstance(event, Warned):
            texts[event.text] = None
        elif isinstance(event, Measured | TableMeasured):
            texts.update(dict.fromkeys(event.warnings))
    return tuple(texts)
