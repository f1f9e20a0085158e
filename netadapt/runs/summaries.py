"""Runs as their journals tell them; reads files only."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netadapt.errors import NetAdaptError, UsageError
from netadapt.runs.events import BoundSet, Finished, Record, Traced
from netadapt.runs.history import last, steps_of
from netadapt.runs.journal import read_journal
from netadapt.runs.watch import watched


@dataclass(frozen=True, slots=True)
class BoundSummary:
    """How far a run has come with one budget; in the unit, of the unpruned network and now."""

    key: str
    unit: str
    limit: float
    original: float
    present: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in figures.

    Attributes:
        run: the folder.
        state: ``finished``, ``unfinished``, ``stopped`` short of its budgets, or ``damaged``.
        iterations: steps taken.
        bounds: its budgets; empty before the unpruned network was measured.
        accuracy: of the last step on holdout images, of a finished run on test images.
        split: which of these.
        metric_is_share: whether it reads as a percentage.
        left: what is left of an unfinished run, in words; empty where nothing can be said.
    """

    run: str
    state: str
    iterations: int = 0
    bounds: tuple[BoundSummary, ...] = ()
    accuracy: float | None = None
    split: str = "holdout"
    metric_is_share: bool = True
    left: str = ""

    @property
    def load(self) -> float | None:
        """Cost over limit, the largest over all budgets."""
        return max((b.present / b.limit for b in self.bounds), default=None)

    def to_json(self) -> dict[str, Any]:
        """All fields, and the load, as plain JSON values."""
        return {**asdict(self), "load": self.load}


def list_runs(folder: Path) -> list[Summary]:
    """Every run in a folder, by name.

    Raises:
        UsageError: there is no such folder.
    """
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}; name the one that holds the runs.")
    return [summarize(path.parent) for path in sorted(folder.glob("*/journal.jsonl"))]


def summarize(run: Path) -> Summary:
    """One run in figures, from its journal."""
    try:
        records = read_journal(run)
    except NetAdaptError:
        return Summary(str(run), "damaged")
    traced, finished, steps = last(records, Traced), last(records, Finished), steps_of(records)
    share = traced.metric_is_share if traced else True
    if not records:
        return Summary(str(run), "damaged")
    progress = watched(records)
    unfinished = "stopped" if progress.stopped else "unfinished"
    if not steps:
        return Summary(str(run), unfinished, metric_is_share=share)
    if finished is not None:
        bounds = _bounds(records, finished.after.costs)
        accuracy, split = finished.after.accuracy, "test"
    else:
        bounds = _bounds(records, steps[-1].measured)
        accuracy, split = steps[-1].accuracy, "holdout"
    state, left = "finished" if finished else unfinished, progress.left()
    return Summary(str(run), state, steps[-1].iteration, bounds, accuracy, split, share, left)


def _bounds(records: Sequence[Record], costs: Mapping[str, float]) -> tuple[BoundSummary, ...]:
    events = {r.event.key: r.event for r in records if isinstance(r.event, BoundSet)}
    return tuple(
        BoundSummary(key, e.unit, e.limit, e.original, costs[key]) for key, e in events.items()
    )
