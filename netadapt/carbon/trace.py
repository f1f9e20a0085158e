"""A user's own trace or forecast of carbon intensity, read from CSV."""

import csv
import io
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from netadapt.errors import UsageError

_MOST_G_PER_KWH = 3000.0
_TIMES = ("time", "time_utc", "datetime", "datetime_utc", "timestamp")
_VALUES = ("g_per_kwh", "g_co2e_per_kwh", "carbon_intensity")
_FIRST_YEAR, _LAST_YEAR = 1900, 2200
"""No grid's data lies outside; the calendar's own ends have no day before or after them."""
_STEPS_MIN = (5, 10, 15, 20, 30, 60)
_FORM = "a column 'time' (2026-01-31T00:00Z) and a column 'g_per_kwh'"


@dataclass(frozen=True, slots=True)
class Trace:
    """Carbon intensity at equal steps of time.

    Attributes:
        name: of the file.
        start: of the first step, in UTC.
        step: from one value to the next; whole minutes that divide an hour.
        g_per_kwh: each holds for one step.
    """

    name: str
    start: datetime
    step: timedelta
    g_per_kwh: tuple[float, ...]

    @property
    def per_hour(self) -> int:
        """Steps in an hour."""
        return timedelta(hours=1) // self.step

    @property
    def end(self) -> datetime:
        """Of the last step."""
        return self.start + self.step * len(self.g_per_kwh)


@dataclass(frozen=True, slots=True)
class _Sample:
    line: int
    time: datetime
    value: float


def read_trace(path: Path) -> Trace:
    """Read a CSV file with a header, a time and a value in grams per kilowatt-hour.

    Times carry their offset (``Z``, ``+02:00``), unless the column's name ends in ``utc``; they are
    equally spaced by 5 to 60 minutes. A byte order mark is skipped.

    Raises:
        UsageError: the file is no such trace, or has a gap; the sentence names the line.
    """
    rows = _rows(path)
    header = [name.strip().lower() for name in rows[0]] if rows else []
    time, value = _column(path, header, _TIMES), _column(path, header, _VALUES)
    utc = header[time].endswith("utc")
    samples = [
        _Sample(number, _time(path, number, row, time, utc), _value(path, number, row, value))
        for number, row in enumerate(rows[1:], start=2)
        if any(cell.strip() for cell in row)
    ]
    if len(samples) < 2:
        raise UsageError(f"{path} holds {len(samples)} values; a trace needs at least two.")
    step = _step(path, samples)
    _check_spacing(path, samples, step)
    return Trace(path.name, samples[0].time, step, tuple(sample.value for sample in samples))


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return list(csv.reader(io.StringIO(text, newline="")))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not CSV in UTF-8; save it as such with {_FORM}.") from error


def _column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    positions = [number for number, name in enumerate(header) if name in names]
    if len(positions) != 1:
        had = ", ".join(header) or "nothing"
        raise UsageError(f"{path} line 1 must name {_FORM}, separated by commas; it has: {had}.")
    return positions[0]


def _time(path: Path, line: int, row: list[str], column: int, utc: bool) -> datetime:
    text = row[column].strip() if column < len(row) else ""
    try:
        time = datetime.fromisoformat(text)
        if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
            raise ValueError
    except ValueError:
        raise UsageError(
            f"{path} line {line}: {text!r} is not a time; write it like 2026-01-31T00:00Z."
        ) from None
    if time.tzinfo is None and not utc:
        raise UsageError(
            f"{path} line {line}: {text} has no offset, so the hours around a change of the clocks "
            "are ambiguous; write 2026-01-31T00:00Z, or name the column time_utc if it is UTC."
        )
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def _value(path: Path, line: int, row: list[str], column: int) -> float:
    text = row[column].strip() if column < len(row) else ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= _MOST_G_PER_KWH:
        shown = repr(text) if text else "an empty cell"
        raise UsageError(
            f"{path} line {line}: {shown} is not a carbon intensity in g/kWh; fill gaps before "
            "planning with the trace."
        )
    return value


def _step(path: Path, samples: list[_Sample]) -> timedelta:
    step = samples[1].time - samples[0].time
    minutes = step / timedelta(minutes=1)
    if minutes not in _STEPS_MIN:
        raise UsageError(
            f"{path} line {samples[1].line}: the first two values lie {minutes:g} minutes apart; a "
            f"trace needs steps of one of {_STEPS_MIN} minutes."
        )
    return step


def _check_spacing(path: Path, samples: list[_Sample], step: timedelta) -> None:
    for earlier, later in pairwise(samples):
        apart = later.time - earlier.time
        if apart == step:
            continue
        what = (
            f"{apart - step} of values are missing before it"
            if apart > step
            else "it is no later than the value before it plus one step"
        )
        raise UsageError(
            f"{path} line {later.line}: {what}; every {step / timedelta(minutes=1):g} minutes from "
            f"{samples[0].time:%Y-%m-%dT%H:%MZ} on there must be one value."
        )
