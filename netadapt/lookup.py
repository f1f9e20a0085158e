"""The lookup table: what each layer costs on one device, and the price of a network by it.

A table is a CSV file that explains itself: lines ``# key: value`` say on what and how it was
measured, then one row for each layer shape, with units in the names of the columns. It is written
row by row as a device answers, so that an interrupted build keeps what it has.

The price of a network is ``scale * (overhead + layers + cold weights)``:

- ``overhead`` is what a call costs before any layer runs (a row of its own),
- ``layers`` is the sum of the 10th percentiles of its layers; a difference of two timings can be
  slightly negative for a layer that costs nothing: the row keeps it, the price is zero,
- ``cold weights`` is what reading weights from memory adds once they outgrow the cache that
  single layers are timed in,
- ``scale`` makes one measured network come out right.
"""

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netadapt import __version__
from netadapt.errors import DeviceError, TableError
from netadapt.measurement import DeviceInfo, Measurement
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, OVERHEAD, Effort, Platform, Progress

FORMAT = 1
_BYTES = {"float32": 4, "int8": 1}
_PAIRS = ("in_hw", "out_hw", "kernel", "stride", "padding", "dilation")
_TIMES = ("p10_s", "median_s", "p90_s", "runs")
UNPRICED = frozenset({"other"})
"""Kinds of layers that no table prices: they cost nothing in a sum."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one layer costs inside a network.

    Attributes:
        p10_s, median_s, p90_s: quantiles of its runs in seconds; ``p10_s`` is the price.
        runs: how many.
    """

    p10_s: float
    median_s: float
    p90_s: float
    runs: int

    @classmethod
    def of(cls, measurement: Measurement) -> "Entry":
        """The quantiles of a measurement."""
        runs = len(measurement.samples_s)
        return cls(measurement.p10_s, measurement.median_s, measurement.p90_s, runs)


@dataclass(frozen=True)
class LookupTable:
    """Measured layers of one device; also a :class:`netadapt.costs.Cost`, in seconds.

    Attributes:
        info: the device and every setting that changes its timings.
        entries: what was measured of each layer shape, :data:`OVERHEAD` and :data:`CANARY` too.
        scale: what the sum is multiplied by; found by :meth:`calibrated`.
        calibrated_on: the network that gave the scale; empty if none did.
        cold_s_per_mb: seconds for each megabyte (10^6 bytes) of weights beyond ``cold_free_mb``.
        cold_free_mb: megabytes of weights that stay in cache.
        measured_on: date of the first measurement.
        warnings: what disturbed the measurements, each with its remedy.
        netadapt: version that measured.
    """

    info: DeviceInfo
    entries: Mapping[LayerShape, Entry] = field(default_factory=dict)
    scale: float = 1.0
    calibrated_on: str = ""
    cold_s_per_mb: float = 0.0
    cold_free_mb: float = 1.0
    measured_on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    warnings: tuple[str, ...] = ()
    netadapt: str = __version__

    @property
    def unit(self) -> str:
        """The unit of its prices."""
        return "s"

    @property
    def overhead_s(self) -> float:
        """Seconds that a call costs before any layer runs; 0 as long as it was not measured."""
        entry = self.entries.get(OVERHEAD)
        return entry.p10_s if entry else 0.0

    @property
    def canary_spread(self) -> float:
        """How much one small model varied over the measurement: (p90 - p10) / median."""
        entry = self.entries.get(CANARY)
        return (entry.p90_s - entry.p10_s) / entry.median_s if entry else 0.0

    def layer(self, shape: LayerShape) -> float:
        """Seconds of one layer inside a network, before scaling; 0 for what no table prices.

        Raises:
            TableError: it was not measured.
        """
        entry = self.entries.get(shape)
        if entry is not None:
            return max(entry.p10_s, 0.0)
        if shape.op in UNPRICED:
            return 0.0
        raise TableError(
            f"The lookup table has no row for the layer {shape}; measure it on the device with "
            "'netadapt table build', or give a table that was built for this network."
        )

    def network(self, layers: float, weights: int) -> float:
        """Seconds of a network whose layers take ``layers`` and hold ``weights`` elements."""
        weights_mb = weights * _BYTES.get(self.info.precision, 4) * 1e-6
        cold_s = self.cold_s_per_mb * max(0.0, weights_mb - self.cold_free_mb)
        return self.scale * (self.overhead_s + layers + cold_s)

    def price(self, shapes: Sequence[LayerShape]) -> float:
        """Seconds of a network given by its layers."""
        weights = sum(shape.weights for shape in shapes)
        return self.network(sum(map(self.layer, shapes)), weights)

    def missing(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that are to be measured before a price can be given."""
        wanted = dict.fromkeys((OVERHEAD, *shapes))
        return tuple(s for s in wanted if s not in self.entries and s.op not in UNPRICED)

    def residue(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that it can never price."""
        return tuple(s for s in shapes if s.op in UNPRICED and s not in self.entries)

    def require(self, info: DeviceInfo) -> None:
        """Refuse a device or settings other than its own.

        Raises:
            TableError: they differ; it lists how.
        """
        differences = self.info.differences(info)
        if differences:
            raise TableError(
                "The lookup table was measured on another device or with other settings "
                f"({'; '.join(differences)}, table first). Build one for this device with "
                "'netadapt table build'."
            )

    def fill(
        self,
        platform: Platform,
        shapes: Iterable[LayerShape],
        *,
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
        path: Path | None = None,
    ) -> "LookupTable":
        """This table and what is missing of these layers, measured in the order given.

        Args:
            platform: the device that this table is of.
            shapes: layers of networks to come.
            effort: how long to measure.
            progress: called as it proceeds.
            path: where each row is appended as soon as it is known, and the whole then saved.

        Raises:
            TableError: the platform is another device, or has other settings.
            DeviceError: the device cannot measure; rows that it had given are in the file.
        """
        missing = self.missing(shapes)
        if not missing:
            return self
        self.require(platform.describe())
        entries, warnings = dict(self.entries), dict.fromkeys(self.warnings)
        if path is not None:
            self.save(path)
        for shape, measurement in platform.measure_layers(missing, effort, progress):
            if shape == CANARY and CANARY in entries:
                continue  # drift is told of the first and longest measurement
            entries[shape] = Entry.of(measurement)
            warnings.update(dict.fromkeys(measurement.warnings))
            if path is not None:
                _append(path, _row(shape, entries[shape]))
        filled = replace(self, entries=entries, warnings=tuple(warnings))
        if path is not None:
            filled.save(path)
        return filled

    def calibrated(
        self, measured_s: float, shapes: Sequence[LayerShape], *, name: str
    ) -> "LookupTable":
        """This table scaled so that one measured network comes out right.

        Args:
            measured_s: what the device took for it, in seconds.
            shapes: its layers.
            name: the network, for the record.
        """
        plain = replace(self, scale=1.0).price(shapes)
        if plain <= 0 or measured_s <= 0:
            raise DeviceError(
                f"{name} was measured at {measured_s} s and priced at {plain} s; both must be "
                "above zero to calibrate a table. Measure it again."
            )
        return replace(self, scale=measured_s / plain, calibrated_on=name)

    def save(self, path: Path) -> None:
        """Write the table as CSV; the file is complete or, on any failure, as it was.

        Raises:
            TableError: the file cannot be written.
        """
        rows = "".join(_row(shape, entry) for shape, entry in self.entries.items())
        header = "".join(f"# {key}: {value}\n" for key, value in self._provenance())
        columns = ",".join((*_columns(), *_TIMES)) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, header + columns + rows)
        except OSError as error:
            raise TableError(f"Cannot write the lookup table {path}: {error.strerror}.") from error

    @classmethod
    def load(cls, path: Path) -> "LookupTable":
        """Read what :meth:`save` wrote; a last row that was cut off is left out.

        Raises:
            TableError: there is no such file, or it is no lookup table.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise TableError(f"Cannot read the lookup table {path}: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise TableError(f"{path} is no lookup table: it is not text.") from None
        whole = text[: text.rfind("\n") + 1].splitlines()
        comments = [line for line in whole if line.startswith("#")]
        body = [line for line in whole if line and not line.startswith("#")]
        return _parse(path, comments, body)

    def _provenance(self) -> Iterator[tuple[str, Any]]:
        """The commented lines at the head of the file."""
        yield "netadapt-table", FORMAT
        yield "netadapt", self.netadapt
        yield "measured_on", self.measured_on
        yield from self.info.to_json().items()
        yield "scale", self.scale
        yield "calibrated_on", self.calibrated_on
        yield "cold_s_per_mb", self.cold_s_per_mb
        yield "cold_free_mb", self.cold_free_mb
        for warning in self.warnings:
            yield "warning", " ".join(warning.split())


def _columns() -> list[str]:
    found = []
    for f in fields(LayerShape):
        stem = f.name.removesuffix("_hw")
        found += [f"{stem}_h", f"{stem}_w"] if f.name in _PAIRS else [f.name]
    return found


def _row(shape: LayerShape, entry: Entry) -> str:
    cells: list[Any] = []
    for f in fields(LayerShape):
        value = getattr(shape, f.name)
        if f.name in _PAIRS:
            cells += value
        elif f.name == "inputs":
            cells.append("+".join(map(str, value)))
        else:
            cells.append(int(value) if isinstance(value, bool) else value)
    cells += [entry.p10_s, entry.median_s, entry.p90_s, entry.runs]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _parse(path: Path, comments: Sequence[str], body: Sequence[str]) -> LookupTable:
    header: dict[str, str] = {}
    warnings = []
    for line in comments:
        key, _, value = line.removeprefix("#").strip().partition(":")
        if key == "warning":
            warnings.append(value.strip())
        header[key] = value.strip()
    if header.get("netadapt-table") != str(FORMAT):
        raise TableError(
            f"{path} is no lookup table that this netadapt reads: its first line is not "
            f"'# netadapt-table: {FORMAT}'. Build one with 'netadapt table build'."
        )
    try:
        numbers = {name: int(header[name]) for name in ("threads", "block", "batch")}
        texts = {f.name: header[f.name] for f in fields(DeviceInfo) if f.name not in numbers}
        info = DeviceInfo.from_json({**texts, **numbers})
        entries = dict(_entry(row) for row in csv.DictReader(body))
        return LookupTable(
            info=info,
            entries=entries,
            scale=float(header["scale"]),
            calibrated_on=header["calibrated_on"],
            cold_s_per_mb=float(header["cold_s_per_mb"]),
            cold_free_mb=float(header["cold_free_mb"]),
            measured_on=header["measured_on"],
            warnings=tuple(warnings),
            netadapt=header["netadapt"],
        )
    except KeyError as error:
        raise TableError(f"The lookup table {path} lacks {error}; it was cut or edited.") from error
    except (TypeError, ValueError) as error:
        raise TableError(f"The lookup table {path} has a value out of place: {error}.") from error


def _entry(row: Mapping[str, str]) -> tuple[LayerShape, Entry]:
    values: dict[str, Any] = {}
    for f in fields(LayerShape):
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
        p10_s=float(row["p10_s"]),
        median_s=float(row["median_s"]),
        p90_s=float(row["p90_s"]),
        runs=int(row["runs"]),
    )
    return LayerShape(**values), entry


def _append(path: Path, row: str) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(row)
    except OSError as error:
        raise TableError(f"Cannot write the lookup table {path}: {error.strerror}.") from error


def _replace(path: Path, text: str) -> None:
    """Write beside the file, then rename."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
