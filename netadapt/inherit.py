"""A run that goes on from where the search of an earlier one ended, to a smaller budget.

Every step of a search is a network of its own, so that one search serves several budgets (Yang et
al., ECCV 2018, section 3: a family of networks). Each gets a long fine-tune; the search goes on
from the weights before it.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netadapt.config import RunConfig
from netadapt.errors import AlreadyMet, UsageError
from netadapt.files import writing
from netadapt.runs import Record, Run, Step, check_weights, last, read_journal, steps_of
from netadapt.runs import weights_path as path_of
from netadapt.runs.events import Finished, Inherited, Started, Stopped, Stored, Traced
from netadapt.runs.journal import setting_differences
from netadapt.search.budgets import Meter, bounds, load
from netadapt.units import Budget, format_share

_OWN = ("config.budgets", "config.tuning.long_epochs", "after")
"""Settings in which the two may differ: they come after the search, or tell where it ends."""


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A finished run that another goes on from.

    Attributes:
        folder: the run.
        records: its journal.
    """

    folder: Path
    records: Sequence[Record]

    @classmethod
    def of(cls, folder: Path) -> "Ancestor":
        """Read it.

        Raises:
            UsageError: there is no run, or it is not finished.
            RunError: its journal is damaged.
        """
        records = read_journal(folder)
        if not records:
            raise UsageError(f"{folder} holds no run to go on from; name the folder of a run.")
        if last(records, Finished) is None:
            reason, advice = "is not finished", "repeat its command first"
            if isinstance(records[-1].event, Stopped):
                reason = "ended short of its budgets"
                advice = "start another with a budget that can be reached"
            raise UsageError(
                f"The run in {folder} {reason}, so that no other can go on from it; {advice}."
            )
        return cls(folder, records)

    @property
    def steps(self) -> list[Step]:
        """Its steps; the last is where its search ended."""
        return steps_of(self.records)

    def told(self) -> dict[str, str]:
        """What says where a run that goes on from it began, wherever the folder lies."""
        stored = last(self.records, Stored, name=self.steps[-1].weights)
        return {"run": self.folder.name, "weights": stored.sha256 if stored else ""}


def origin(
    after: Path, folder: Path, settings: Mapping[str, Any], asked: Mapping[Meter, Budget],
    *, fresh: bool = False,
) -> dict[str, str]:  # fmt: skip
    """What says where the run in a folder goes on from, before there is that folder.

    Once it has begun, the earlier run is not needed any more, and may be renamed.

    Args:
        after: the earlier run.
        folder: this run.
        settings: of this run.
        asked: its budgets.
        fresh: whether it starts over.

    Raises:
        UsageError: there is no finished run to go on from, or its search is another.
    """
    if os.path.realpath(after) == os.path.realpath(folder):  # resolve() fails where links circle
        raise UsageError(f"The run in {folder} cannot go on from itself; name another folder.")
    records = [] if fresh else read_journal(folder)
    told = _told_by(records)
    begun = last(records, Inherited) is not None
    if begun and told and not (after / "journal.jsonl").is_file():
        return told
    ancestor = Ancestor.of(after)
    if not begun:
        _check_same(ancestor, settings)
        _check_below(ancestor, asked)
    return told if told.get("weights") == ancestor.told()["weights"] else ancestor.told()


def _told_by(records: Sequence[Record]) -> dict[str, str]:
    """What a run said of where it goes on from when it began; empty where it said nothing."""
    first = records[0].event if records else None
    return dict(first.settings.get("after", {})) if isinstance(first, Started) else {}


def _check_same(ancestor: Ancestor, settings: Mapping[str, Any]) -> None:
    """Refuse a run that would not have come by the steps of the earlier one itself.

    Raises:
        UsageError: it has other settings, but for its budgets and the long fine-tune.
    """
    first = ancestor.records[0].event
    assert isinstance(first, Started)
    changed = [
        text
        for text in setting_differences(
            first.settings, json.loads(json.dumps(settings)), {"config": RunConfig.unsaid()}
        )
        if not text.startswith(_OWN)
    ]
    if changed:
        raise UsageError(
            f"The run in {ancestor.folder} has other settings ({'; '.join(changed)}), so that its "
            "search cannot be gone on with; give the same, or start anew."
        )


def _check_below(ancestor: Ancestor, asked: Mapping[Meter, Budget]) -> None:
    """Refuse budgets that the earlier run has met already, or of something else.

    Raises:
        AlreadyMet: it is within them.
        UsageError: they are of other resources or devices.
    """
    original, present = ancestor.steps[0].measured, ancestor.steps[-1].measured
    keys = {meter.key for meter in asked}
    if keys != set(present):
        raise UsageError(
            f"The run in {ancestor.folder} has budgets of {', '.join(sorted(present))}, and this "
            f"one of {', '.join(sorted(keys))}; a search goes on in what it was bounded in."
        )
    allowed = bounds(asked, original)
    if load(present, allowed) <= 1:
        reached = "; ".join(
            f"{b.key} is at {format_share(present[b.key] / b.original)}, and "
            f"{format_share(b.limit / b.original)} is allowed"
            for b in allowed
        )
        raise AlreadyMet(
            f"The run in {ancestor.folder} is within the budget already ({reached}); give a "
            "smaller one."
        )


def inherit(run: Run, ancestor: Ancestor) -> None:
    """Make the steps of an earlier run those of this one; what they took stays in its journal.

    Called again after it was cut off, it does the same again.

    Raises:
        RunError: the earlier run's weights are not as they were written, or the folder cannot be
            written.
    """
    steps = ancestor.steps
    names = {step.weights for step in steps}
    check_weights(ancestor.folder, ancestor.records, names)
    files = {path_of(ancestor.folder, name): run.weights_path(name) for name in names}
    for source, target in files.items():
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, target)
    for table in ancestor.folder.glob("table*.csv"):
        with writing(run.folder / table.name):
            shutil.copyfile(table, run.folder / table.name)  # it grows here
    traced = last(ancestor.records, Traced)
    assert traced is not None  # it is finished
    run.append(traced)
    for step in steps:
        run.commit(step)
    told = ancestor.told()
    run.append(Inherited(told["run"], told["weights"], steps[-1].iteration))


def _copy(source: Path, target: Path) -> None:
    """Another name for a file that nothing changes in place, or a copy on another disk."""
    target.unlink(missing_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copyfile(source, target)
