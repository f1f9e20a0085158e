"""The run folder: an append-only journal and weight files, so that no finished work is ever lost.

    RUN/journal.jsonl      one JSON object per line, fsynced; the first holds the settings
    RUN/weights/*.safetensors
    RUN/table.csv          the lookup table as far as it was measured
    RUN/adapted.*          the result, see :mod:`netadapt.export`

A line is on disk before the next thing starts, and ends with its own checksum. A process killed
while writing leaves a torn last line, which the reader ignores and the next writer removes. One
process writes at a time. Weights are on disk before the line that needs them, and the line before
that holds their checksum (:class:`Stored`), which is compared when the run is continued.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from netadapt.errors import RunError, SettingsChanged
from netadapt.files import claimed, writing
from netadapt.runs.events import (
    BoundSet,
    Continued,
    Event,
    Finished,
    Listener,
    Record,
    Started,
    StepTaken,
    Stored,
    Trained,
    Tried,
    Warned,
    from_json,
)
from netadapt.runs.format import BEGINS, line_of, require_costs, values_of
from netadapt.runs.history import last, left_for_nearer, steps_of
from netadapt.runs.progress import Progress
from netadapt.runs.step import Step
from netadapt.units import Budget

FORMAT = 2
_FIRST_FORMAT = b'{"event":"run","format":1,'
"""How journals of format 1 begin, which had neither times nor checksums."""

_RESULTS = (
    "adapted.onnx", "adapted.int8.onnx", "adapted.pt2", "adapted.pt", "arch.json",
    "load_adapted.py", "preprocessing.json", "weights", "report.html",
)  # fmt: skip
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
    if path.exists() and not path.is_file():
        raise RunError(f"{path} is no file, so that {folder} is no run; name another folder.")
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"Cannot read {path}: {error.strerror}.") from error
    records: list[Record] = []
    keys: set[str] = set()
    if lines[0].startswith(_FIRST_FORMAT):
        raise _of_another_version(folder)
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        try:
            data = values_of(line)
            if number == 1 and (data["event"], data["format"]) != ("Started", FORMAT):
                raise _of_another_version(folder)
            records.append(from_json(data))
            require_costs(records[-1].event, keys)
            keys |= {records[-1].event.key} if isinstance(records[-1].event, BoundSet) else set()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise RunError(
                f"{path} is damaged at line {number}; restore it from a copy, or start afresh."
            ) from error
    if not records and lines[-1] and not lines[-1].startswith(BEGINS[: len(lines[-1])]):
        raise RunError(f"{path} was written by another program; name another folder.")
    return records


def _of_another_version(folder: Path) -> RunError:
    return RunError(
        f"{folder} was written by another program or version; name another folder, or start afresh."
    )


def setting_differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    unsaid: Mapping[str, Any] | None = None,
    at: str = "",
) -> list[str]:
    """Settings that differ, as ``path: old -> new``.

    Args:
        old: settings of a run.
        new: those that it is to be continued with.
        unsaid: what the old ones are where they say nothing, as the version that wrote them did not
            know the setting yet.
        at: path of the table that these are in.
    """
    found: list[str] = []
    unsaid = unsaid or {}
    for name in sorted({*old, *new}):
        here, there = old.get(name, unsaid.get(name)), new.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += setting_differences(here, there, unsaid.get(name), f"{at}{name}.")
        elif here != there:
            found.append(f"{at}{name}: {_in_words(here)} -> {_in_words(there)}")
    return found


def _in_words(value: Any) -> str:
    """A setting for a person: budgets as they are written, tables in short, the rest as JSON."""
    if isinstance(value, Mapping) and len(value) > 1:
        return f"{json.dumps(dict(list(value.items())[:1]))[:-1]}, ...}}"
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        with suppress(TypeError, KeyError):
            return " and ".join(str(Budget(**item)) for item in value)
    return json.dumps(value)


class Run:
    """A run folder opened for writing; use as a context manager.

    Args:
        folder: the run folder; made if it does not exist.
        started: the first line: settings that decide the result, versions, command.
        fresh: start over; what was there is kept beside it with the ending ``.old``.
        listener: called with every event as it is written.
        unsaid: see :func:`setting_differences`.

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
        unsaid: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self._unsaid = unsaid
        self.notify = listener
        self.records: list[Record] = []
        self._zero_s = time.time() - time.monotonic()  # a clock that is set tells no long work
        self._lock = claimed(folder)
        try:
            self._open(started, fresh)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, started: Started, fresh: bool) -> None:
        if fresh and self.folder.exists():
            self._set_aside()
        self._require_own()
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
        new = json.loads(json.dumps(started.settings))
        changed = setting_differences(first.settings, new, self._unsaid)
        if changed:
            raise SettingsChanged(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}). Repeat "
                "its command to continue it, name another folder, or start afresh."
            )
        check_weights(self.folder, self.records)
        self._drop_torn_line()
        self._sweep()
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
        """Rename a run; nothing is deleted, and what was never a run stays where it is."""
        if self.folder.is_symlink():
            raise RunError(f"{self.folder} is a symbolic link and is left; name the folder itself.")
        if not any(self.folder.iterdir()):
            return
        if not (self.folder / "journal.jsonl").is_file():
            raise RunError(
                f"{self.folder} is not empty and holds no run, so that it is left as it is; name "
                "another folder."
            )
        names = (f"{self.folder.name}.old{n}" for n in ("", *(f"-{k}" for k in range(2, 10_000))))
        free = (self.folder.with_name(name) for name in names)
        old = next(path for path in free if not os.path.lexists(path))
        with writing(old):
            self.folder.rename(old)

    def _require_own(self) -> None:
        """Refuse a folder of somebody else's in which a run would replace files."""
        if not self.folder.is_dir() or (self.folder / "journal.jsonl").exists():
            return
        theirs = [n for n in _RESULTS if os.path.lexists(self.folder / n)]
        if theirs:
            raise RunError(
                f"{self.folder} holds no run, but {theirs[0]}, which a run would replace; name "
                "another folder."
            )

    def _sweep(self) -> None:
        """Remove what a killed process had half written."""
        for pattern in ("weights/.*.tmp", ".*.part", "weights/.*.part"):
            for path in self.folder.glob(pattern):
                if path.is_file() and not path.is_symlink():
                    path.unlink(missing_ok=True)

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
            RunError: the disk is full, or the folder cannot be written or has gone.
        """
        name = weights_of(event)
        stored = _stored(self.folder, name) if name else None
        if stored and stored.sha256 and stored != self.last(Stored, name=name):
            self.append(stored)
        record = Record(self._zero_s + time.monotonic(), event)
        path = self.folder / "journal.jsonl"
        whole = path.stat().st_size if path.exists() else 0
        with writing(path):
            try:
                # Only the first line makes the file: a folder that was moved is not begun anew.
                with open(path, "r+b" if self.records else "ab") as file:
                    file.seek(0, os.SEEK_END)
                    file.write(line_of(record))
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, whole)  # half a line, and the next would follow it
                raise
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


def weights_of(event: Event) -> str:
    """The weights that a run needs from this event on; empty for none."""
    if isinstance(event, Trained):
        return event.what
    return event.step.weights if isinstance(event, StepTaken) else ""


def _stored(folder: Path, name: str) -> Stored:
    path = weights_path(folder, name)
    if not path.is_file():
        return Stored(name, "")
    with writing(path), path.open("rb") as file:
        return Stored(name, hashlib.file_digest(file, "sha256").hexdigest())


def check_weights(
    folder: Path, records: Sequence[Record], names: Collection[str] | None = None
) -> None:
    """Compare weights with the checksums in the journal.

    Args:
        folder: the run.
        records: its journal.
        names: of weights; None for those that the run goes on from: the unpruned network's, the
            last step's and the result's.

    Raises:
        RunError: a file is missing, or is not as it was written.
    """
    known = {r.event.name: r.event for r in records if isinstance(r.event, Stored)}
    if names is None:
        names = _needed(records)
    for name in sorted(names):
        expected = known.get(name)
        if expected is None or not expected.sha256:
            continue
        found = _stored(folder, name)
        if found != expected:
            path = weights_path(folder, name)
            what = "is not as it was written" if found.sha256 else "is missing"
            raise RunError(
                f"{path} {what}, and the run needs it; restore it from a copy, or start afresh."
            )


def _needed(records: Sequence[Record]) -> set[str]:
    """Weights that a run goes on from.

    The result of an earlier step is not among them: a process may have been killed between writing
    that of the last step and the line on it.
    """
    steps = steps_of(records)
    if not steps:
        return {"original"} if last(records, Trained, what="original") else set()
    step, left = steps[-1], left_for_nearer(records)
    tuned = last(records, Trained, what="adapted", iteration=step.iteration) is not None
    needed = {step.weights}
    if left is None and step.origin is None and not tuned:  # more may be cut from the one before it
        needed.update(before.weights for before in steps[-2:-1])
    if left is not None and last(records, Finished) is None:
        needed.add(left.weights)
    return {"original", *needed, *(["adapted"] if tuned else [])}


def weights_path(folder: Path, name: str) -> Path:
    """Where a run keeps the weights of that name."""
    return folder / "weights" / f"{name}.safetensors"
