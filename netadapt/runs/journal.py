"""The run folder: an append-only journal and weight files, so that no finished work is ever lost.

    RUN/journal.jsonl      one JSON object per line, fsynced; the first holds the settings
    RUN/weights/*.safetensors
    RUN/table.csv          the lookup table as far as it was measured
    RUN/adapted.*          the result, see :mod:`netadapt.export`

A line is on disk before the next thing starts. A process killed while writing leaves a torn last
line, which the reader ignores and the next writer removes. One process writes at a time.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from netadapt.runs.step import Event, Step

from netadapt.errors import RunError, SettingsChanged
from netadapt.files import writing

if TYPE_CHECKING:
    from torch import nn

FORMAT = 1
Listener = Callable[[Event], None]


def read_journal(folder: Path) -> list[Event]:
    """The events of a run, without a torn last line; empty if there is no journal.

    Raises:
        RunError: a line before the last is damaged.
    """
    path = folder / "journal.jsonl"
    if not path.exists():
        return []
    events = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is torn
        try:
            events.append(json.loads(line))
        except ValueError as error:
            raise RunError(
                f"{path} is damaged at line {number}; restore it from a copy, or start over "
                "with --fresh."
            ) from error
    return events


def setting_differences(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> list[str]:
    """Settings that differ, as ``path: old -> new``."""
    found: list[str] = []
    for name in sorted({*old, *new}):
        here, there = old.get(name), new.get(name)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            found += setting_differences(here, there, f"{at}{name}.")
        elif here != there:
            found.append(f"{at}{name}: {json.dumps(here)} -> {json.dumps(there)}")
    return found


class Run:
    """A run folder opened for writing; use as a context manager.

    Args:
        folder: the run folder; made if it does not exist.
        settings: everything that decides the result, as plain JSON values.
        fresh: start over; what was there is kept beside it with the ending ``.old``.
        listener: called with every event as it is written.

    Raises:
        RunError: another process writes there, or the folder cannot be written.
        SettingsChanged: the folder holds a run with other settings.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        fresh: bool = False,
        listener: Listener | None = None,
    ) -> None:
        self.folder = folder
        self._listener = listener
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
        # The lock lies beside the folder, so that --fresh may move the folder while holding it.
        self._lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"Another process is writing to {folder}; wait for it, or name another folder "
                "with --run."
            ) from None
        try:
            self._open(json.loads(json.dumps(settings)), fresh)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, settings: dict[str, Any], fresh: bool) -> None:
        if fresh and self.folder.exists():
            self._set_aside()
        self.events = read_journal(self.folder)
        if not self.events:
            with writing(self.folder):
                self.folder.mkdir(exist_ok=True)
                (self.folder / "journal.jsonl").unlink(missing_ok=True)
            self.append("run", format=FORMAT, settings=settings)
            return
        first = self.events[0]
        if first.get("event") != "run" or first.get("format") != FORMAT:
            raise RunError(
                f"{self.folder} was written by another version of netadapt; name another folder "
                "with --run, or start over with --fresh."
            )
        changed = setting_differences(first["settings"], settings)
        if changed:
            raise SettingsChanged(
                f"{self.folder} holds a run with other settings ({'; '.join(changed)}). Repeat "
                "its command to continue it, name another folder with --run, or start over with "
                "--fresh."
            )
        self._drop_torn_line()

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

    def append(self, event: str, **data: Any) -> Event:
        """Write one event and wait until it is on disk.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        entry: Event = {"event": event, **data}
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        path = self.folder / "journal.jsonl"
        with writing(path), open(path, "ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self.events.append(entry)
        if self._listener:
            self._listener(entry)
        return entry

    def commit(self, step: Step) -> Step:
        """Record a finished iteration."""
        self.append("step", **asdict(step))
        return step

    def steps(self) -> list[Step]:
        """Every finished iteration, in order; a later record of an iteration replaces it."""
        return steps_of(self.events)

    def found(self, event: str, **data: Any) -> Event | None:
        """The last event of that kind with these values, if there is one."""
        for entry in reversed(self.events):
            if entry["event"] == event and all(entry.get(k) == v for k, v in data.items()):
                return entry
        return None

    def weights_path(self, name: str) -> Path:
        """Where the weights of that name are."""
        return _weights_path(self.folder, name)

    def save_weights(self, name: str, model: "nn.Module") -> None:
        """Write a model's parameters and buffers, atomically.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        from netadapt.models.weights import save_weights

        save_weights(model, self.weights_path(name))

    def restore(self, model: "nn.Module", name: str) -> None:
        """Load weights that :meth:`save_weights` wrote; see :func:`restore`."""
        restore(model, self.folder, name)

    def drop_weights(self, name: str) -> None:
        """Remove weights that no record refers to any more."""
        self.weights_path(name).unlink(missing_ok=True)


def steps_of(events: list[Event]) -> list[Step]:
    """Every finished iteration among the events, in order; a later record replaces an earlier."""
    found = {e["iteration"]: Step.from_event(e) for e in events if e["event"] == "step"}
    return [found[iteration] for iteration in sorted(found)]


def _weights_path(folder: Path, name: str) -> Path:
    return folder / "weights" / f"{name}.safetensors"


def restore(model: "nn.Module", folder: Path, name: str) -> None:
    """Load weights of a run into a model, in place.

    Raises:
        RunError: the file is missing or damaged.
        ModelError: the model is of another architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from netadapt.models.weights import load_state

    path = _weights_path(folder, name)
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"Cannot read {path} ({error}); restore it from a copy, or start over with --fresh."
        ) from error
    load_state(model, state, source=str(path))
