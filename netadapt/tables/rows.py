"""The rows of a lookup table as text."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path
from typing import Any

from netadapt.files import writing
from netadapt.network import LayerShape
from netadapt.platforms.measurement import Measurement

_PAIRS = ("in_hw", "out_hw", "kernel", "stride", "padding", "dilation")
_MOST = 2**31 - 1
_SIZES = tuple(f for f in fields(LayerShape) if f.compare)  # a name is no part of a shape
_TIMES = ("p10", "median", "p90", "runs")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one layer costs inside a network.

    Attributes:
        p10, median, p90: quantiles of its runs in the unit of the table; ``p10`` is the price.
        runs: how many.
    """

    p10: float
    median: float
    p90: float
    runs: int

    @classmethod
    def of(cls, measurement: Measurement) -> "Entry":
        """The quantiles of a measurement."""
        runs = len(measurement.samples)
        return cls(measurement.p10, measurement.median, measurement.p90, runs)


def columns() -> list[str]:
    """Names of the columns."""
    found = []
    for f in _SIZES:
        stem = f.name.removesuffix("_hw")
        found += [f"{stem}_h", f"{stem}_w"] if f.name in _PAIRS else [f.name]
    return [*found, *_TIMES]


def row_of(shape: LayerShape, entry: Entry) -> str:
    """One line of CSV."""
    cells: list[Any] = []
    for f in _SIZES:
        value = getattr(shape, f.name)
        if f.name in _PAIRS:
            cells += value
        elif f.name == "inputs":
            cells.append("+".join(map(str, value)))
        else:
            cells.append(int(value) if isinstance(value, bool) else value)
    cells += [entry.p10, entry.median, entry.p90, entry.runs]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def entry_of(row: Mapping[str, str]) -> tuple[LayerShape, Entry]:
    """What :func:`row_of` wrote; raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    values: dict[str, Any] = {}
    for f in _SIZES:
        stem = f.name.removesuffix("_hw")
        if f.name in _PAIRS:
            values[f.name] = (int(row[f"{stem}_h"]), int(row[f"{stem}_w"]))
        elif f.name == "inputs":
            values[f.name] = tuple(map(int, row["inputs"].split("+"))) if row["inputs"] else ()
        elif f.name in ("bias", "residual"):
            values[f.name] = bool(int(row[f.name]))
        else:
            values[f.name] = row[f.name] if f.name in ("op", "act") else int(row[f.name])
    entry = Entry(
        p10=float(row["p10"]),
        median=float(row["median"]),
        p90=float(row["p90"]),
        runs=int(row["runs"]),
    )
    shape = LayerShape(**values)
    require_sizes(shape)
    return shape, entry


def require_sizes(shape: LayerShape) -> None:
    """Refuse a layer that was read and cannot be one.

    Raises:
        ValueError: a value is of another kind, or absurd.
    """
    values = {f.name: getattr(shape, f.name) for f in _SIZES}
    words = (values.pop("op"), values.pop("act"))
    pairs, several = [values.pop(name) for name in _PAIRS], values.pop("inputs")
    if not (
        all(isinstance(word, str) for word in words)
        and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
        and isinstance(several, tuple)
    ):
        raise ValueError("it is no layer")
    numbers = [*values.values(), *several, *chain.from_iterable(pairs)]
    if not all(isinstance(n, int) and 0 <= n <= _MOST for n in numbers) or not shape.groups:
        raise ValueError(f"sizes are from 0 to {_MOST}, and groups from 1 on")


def append(path: Path, row: str) -> None:
    """Add a line to a file.

    Raises:
        RunError: the disk is full or the file cannot be written.
    """
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write(row)
