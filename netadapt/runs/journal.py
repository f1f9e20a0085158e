"""The run folder: an append-only journal and weight files, so that no finished work is ever lost.

    RUN/journal.jsonl      one JSON object per line, fsynced; the first holds the settings
    RUN/weights/*.safetensors
    RUN/table.csv          the lookup table as far as it was measured
    RUN/adapted.*          the result, see :mod:`netadapt.export`

A line is on disk before the next thing starts. A process killed while writing leaves a torn last
line, which the reader ignores and the next writer removes. One process writes at a time.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from netadapt.errors import RunError, SettingsChanged
from netadapt.files import writing
from netadapt.runs.events import (
    Continued,
    Event,
    Listener,
    Record,
    Started,
    StepTaken,
    Trained,
    Tried,
    Warned,
    from_json,
    to_json,
)
from netadapt.runs.progress import Progress
from netadapt.runs.step import Step
from netadapt.units import Budget

FORMAT = 2
WORK = (Trained, Tried, StepTaken)
"""Events that stand for work that must not be lost; a table is kept in a file of its own."""

T = TypeVar("T")


def silent(event: Event | Progress) -> None:
    """The listener that ignores everything."""


def read_journal(folder: Path) -> list[Record]:
    """The records of a run, without a torn last line; empty if there is no journal.

    Raises:
        RunError: it cannot be read, or a line before the last is damaged or of another program.
    """
    path = folder / "journal.jsonl"
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror}.") from error
    records = []
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        try:
            data = json.loads(line)
            if number == 1 and (data["event"], data["format"]) != ("Started", FORMAT):
                raise RunError(
                    f"{folder} was written by another program or version; name another folder, or "
                    "start afresh."
                )
            records.append(from_json(data))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} is damaged at line {number}; restore it from a copy, or start afresh."
            ) from error
    return records


def steps_of(records: Sequence[Record]) -> list[Step]:
    """Every finished iteration, in order; a later record of an iteration replaces an earlier."""
    steps = {
        r.event.step.iteration: r.event.step for r in records if isinstance(r.event, StepTaken)
    }
    return [steps[iteration] for iteration in sorted(steps)]


def last(records: Sequence[Record], kind: type[T], **values: Any) -> T | None:
    """The last event of a kind with these values, if there is one."""
    for record in reversed(records):
        event = record.event
        if isinstance(event, kind) and all(getattr(event, k) == v for k, v in values.items()):
            return event
    return None


def setting_differences(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> list[str]:
    """Settings that differ, as ``path: old -> new``."""
    found: list[str] = []
    for name in sorted({*old, *new}):
        here, there = old.get(name), new.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += setting_differences(here, there, f"{at}{name}.")
        elif here != there:
            found.append(f"{at}{name}: {_in_words(here)} -> {_in_words(there)}")
    return found


def _in_words(value: Any) -> str:
    """A setting for a person: budgets as they are written, the rest as JSON."""
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        with contextlib.suppress(TypeError, KeyError):
            return " and ".join(str(Budget(**item)) for item in value)
    return json.dumps(value)


class Run:
    """A run folder opened for writing; use as a context manager.

    Args:
        folder: the run folder; made if it does not exist.
        started: the first line: settings that decide the result, versions, command.
        fresh: start over; what was there is kept beside it with the ending ``.old``.
        listener: called with every event as it is written.

    Raises:
        RunError: another process writes there, or the folder cannot be written.
        SettingsChanged: the folder holds a run with other settings.
    """

    def __init__(
        self,
        folder: Path,
        started: Started,
        *,
        fresh: bool = False,
        listener: Listener = silent,
    ) -> None:
        self.folder = folder
        self.notify = listener
        self.records: list[Record] = []
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        # The lock lies beside the folder, so that a fresh start may move the folder meanwhile.
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"Another process is writing to {folder}; wait for it, or name another folder."
            ) from None
        try:
            self._open(started, fresh)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, started: Started, fresh: bool) -> None:
        if fresh and self.folder.exists():
            self._set_aside()
        self.records = read_journal(self.folder)
        if self.records and not any(isinstance(r.event, WORK) for r in self.records):
            self._forget(started)  # it ended before anything was done: there is nothing to lose
        if not self.records:
            with writing(self.folder):
                self.folder.mkdir(exist_ok=True)
                (self.folder / "journal.jsonl").unlink(missing_ok=True)
            self.append(started)
            return
        first = self.records[0].event
        assert isinstance(first, Started)
        changed = setting_differences(first.settings, json.loads(json.dumps(started.settings)))
        if changed:
            raise SettingsChanged(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}). Repeat "
                "its command to continue it, name another folder, or start afresh."
            )
        self._drop_torn_line()
        self.append(Continued(started.execution, started.versions, started.command))

    def _forget(self, started: Started) -> None:
        """Begin again in the same folder; tables stay if they are of the same devices."""
        first = self.records[0].event
        assert isinstance(first, Started)
        if first.settings.get("devices") != started.settings.get("devices"):
            for path in self.folder.glob("table*.csv"):
                path.unlink()
        self.records = []

    def _set_aside(self) -> None:
        import shutil

        old = self.folder.with_name(f"{self.folder.name}.old")
        with writing(old):
            shutil.rmtree(old, ignore_errors=True)
            self.folder.rename(old)

    def _drop_torn_line(self) -> None:
        path = self.folder / "journal.jsonl"
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with writing(path):
                os.truncate(path, whole)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on disk.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        record = Record(time.time(), event)
        text = json.dumps(to_json(record), separators=(",", ":"), allow_nan=False)
        path = self.folder / "journal.jsonl"
        with writing(path), open(path, "ab") as file:
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.records.append(record)
        self.notify(event)

    def warn(self, text: str) -> None:
        """Record what a user should know; what was said before is not said again."""
        if self.last(Warned, text=text) is None:
            self.append(Warned(text))

    def commit(self, step: Step) -> Step:
        """Record a finished iteration."""
        self.append(StepTaken(step))
        return step

    @property
    def steps(self) -> list[Step]:
        """Every finished iteration, in order; a later record of an iteration replaces it."""
        return steps_of(self.records)

    def last(self, kind: type[T], **values: Any) -> T | None:
        """The last event of a kind with these values, if there is one."""
        return last(self.records, kind, **values)

    def weights_path(self, name: str) -> Path:
        """Where the weights of that name are."""
        return weights_path(self.folder, name)


def weights_path(folder: Path, name: str) -> Path:
    """Where a run keeps the weights of that name."""
    return folder / "weights" / f"{name}.safetensors"
