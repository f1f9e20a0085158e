"""The lookup table: what each layer costs on one device, and the price of a network by it.

A table is a CSV file that explains itself: lines ``# key: value`` say on what and how it was
measured, then one row for each layer shape, with units in the names of the columns. It is written
row by row as a device answers, so that an interrupted build keeps what it has.

The price of a network is ``scale * (overhead + layers + refill + cold)``:

- ``overhead`` is what a call costs before any layer runs (a row of its own);
- ``layers`` is the sum of the 10th percentiles of its layers; a difference of two timings can be
  slightly negative for a layer that costs nothing: the row keeps it, the price is zero;
- ``refill``: a layer timed alone finds its weights in the core's own cache, run after run, as far
  as they fit; in a network that does not fit, the others have displaced them. Of W megabytes, about
  ``W * (1 - W / cache)`` are found alone. What a megabyte costs is a row of its own;
- ``cold`` is what reading weights adds once the network outgrows the caches altogether; together
  with ``scale`` it comes from whole networks, see :meth:`LookupTable.calibrated`.
"""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from netadapt import __version__
from netadapt.errors import DeviceError, TableError
from netadapt.grid import Surface
from netadapt.measurement import DeviceInfo
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, OVERHEAD, REFILL, Effort, Platform, Progress
from netadapt.runs import write_atomically
from netadapt.tablefile import Entry, append, columns, entry_of, row_of

__all__ = ["UNPRICED", "Entry", "LookupTable"]

FORMAT = 1
_BYTES = {"float32": 4, "int8": 1}
_CACHES = 3.0  # times the core's cache: where weights were seen to come from memory
_LEAST_SHARE = 0.25
UNPRICED = frozenset({"other"})
"""Kinds of layers that no table prices: they cost nothing in a sum."""


@dataclass(frozen=True)
class LookupTable:
    """Measured layers of one device; also a :class:`netadapt.costs.Cost`, in seconds.

    Attributes:
        info: the device and every setting that changes its timings.
        entries: what was measured of each layer shape, :data:`OVERHEAD` and :data:`CANARY` too.
        scale: what the sum is multiplied by; found by :meth:`calibrated`.
        calibrated_on: the networks that gave the scale; empty if none did.
        cold_s_per_mb: seconds for each megabyte (10^6 bytes) of weights beyond three times the
            core's cache, before scaling.
        interpolated: whether widths between measured ones are priced from their neighbours, by
            blocks of channels (see :mod:`netadapt.grid`); if not, every layer needs its own row.
        measured_on: date of the first measurement.
        warnings: what disturbed the measurements, each with its remedy.
        netadapt: version that measured.
    """

    info: DeviceInfo
    entries: Mapping[LayerShape, Entry] = field(default_factory=dict)
    scale: float = 1.0
    calibrated_on: str = ""
    cold_s_per_mb: float = 0.0
    interpolated: bool = False
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

    @cached_property
    def _surface(self) -> Surface:
        return Surface(self.entries, self.info.block)

    def entry(self, shape: LayerShape) -> Entry | None:
        """The row of a layer, or what its neighbours say if the table is interpolated; or None."""
        found = self.entries.get(shape)
        return self._surface.entry(shape) if found is None and self.interpolated else found

    def layer(self, shape: LayerShape) -> float:
        """Seconds of one layer inside a network, before scaling; 0 for what no table prices.

        Raises:
            TableError: it was not measured.
        """
        entry = self.entry(shape)
        if entry is not None:
            return max(entry.p10_s, 0.0) + self._refill_s(shape.weights)
        if shape.op in UNPRICED:
            return 0.0
        raise TableError(
            f"The lookup table has no row for the layer {shape}; measure it on the device with "
            "'netadapt table build', or give a table that was built for this network."
        )

    def network(self, layers: float, weights: int) -> float:
        """Seconds of a network whose layers take ``layers`` and hold ``weights`` elements."""
        layers -= self._refill_s(weights)  # of the layers' own, what this network finds in cache
        return self.scale * (self.overhead_s + layers + self.cold_s_per_mb * self._beyond(weights))

    def _megabytes(self, weights: int) -> float:
        return weights * _BYTES.get(self.info.precision, 4) * 1e-6

    def _beyond(self, weights: int) -> float:
        """Megabytes of weights beyond all caches."""
        return max(0.0, self._megabytes(weights) - _CACHES * self.info.cache_mb)

    def _refill_s(self, weights: int) -> float:
        """Seconds to read those weights that a core finds in its cache if nothing displaces them.

        The measured chain held 4 * 192 * 192 bytes in each convolution, of which the cache would
        have kept its share too.
        """
        entry = self.entries.get(REFILL)
        if entry is None or weights == 0:
            return 0.0
        cache_mb = self.info.cache_mb

        def kept(megabytes: float) -> float:
            return max(0.0, 1.0 - megabytes / cache_mb)

        share = max(kept(REFILL.cin * REFILL.cout * 4e-6), _LEAST_SHARE)
        megabytes = self._megabytes(weights)
        return max(entry.p10_s, 0.0) / share * megabytes * kept(megabytes)

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
        if OVERHEAD in missing and REFILL not in self.entries:
            missing = (*missing, REFILL)
        entries, warnings = dict(self.entries), dict.fromkeys(self.warnings)
        if path is not None:
            self.save(path)
        for shape, measurement in platform.measure_layers(missing, effort, progress):
            if shape == CANARY and CANARY in entries:
                continue  # drift is told of the first and longest measurement
            entries[shape] = Entry.of(measurement)
            warnings.update(dict.fromkeys(measurement.warnings))
            if path is not None:
                append(path, row_of(shape, entries[shape]))
        filled = replace(self, entries=entries, warnings=tuple(warnings))
        if path is not None:
            filled.save(path)
        return filled

    def calibrated(
        self, networks: Sequence[tuple[float, Sequence[LayerShape]]], *, name: str
    ) -> "LookupTable":
        """This table fitted to measured networks.

        One network gives the scale, and by how much it is larger than the caches some of the cold
        weights' price; three or more, of different widths, tell the two apart. The fit is that of
        least relative error, with the prior that the scale is near 1 and that a cold megabyte costs
        about what a refilled one does. A single network then comes out exactly.

        Args:
            networks: seconds measured, and the layers, of each.
            name: the networks, for the record.

        Raises:
            DeviceError: a time is not above zero.
        """
        plain = replace(self, scale=1.0, cold_s_per_mb=0.0)
        prices = [plain.price(layers) for _, layers in networks]
        for price_s, (measured_s, _) in zip(prices, networks, strict=True):
            if price_s <= 0 or measured_s <= 0:
                raise DeviceError(
                    f"{name} was measured at {measured_s} s and priced at {price_s} s; both must "
                    "be above zero to calibrate a table. Measure it again."
                )
        rows = [
            (p / m, self._beyond(sum(shape.weights for shape in layers)) / m)
            for p, (m, layers) in zip(prices, networks, strict=True)
        ]
        cold_s = _fit(rows, prior=self._refill_s(1) / self._megabytes(1))
        cold_s_per_mb = max(0.0, cold_s)
        ratios = [1.0 / (a + cold_s_per_mb * b) for a, b in rows]
        scale = math.exp(sum(map(math.log, ratios)) / len(ratios))
        return replace(self, scale=scale, cold_s_per_mb=cold_s_per_mb, calibrated_on=name)

    def save(self, path: Path) -> None:
        """Write the table as CSV; the file is complete or, on any failure, as it was.

        Raises:
            RunError: the disk is full or the file cannot be written.
        """
        rows = "".join(row_of(shape, entry) for shape, entry in self.entries.items())
        header = "".join(f"# {key}: {value}\n" for key, value in self._provenance())
        names = ",".join(columns()) + "\n"
        write_atomically(path, (header + names + rows).encode())

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
        yield "interpolated", self.interpolated
        for warning in self.warnings:
            yield "warning", " ".join(warning.split())


def _fit(rows: Sequence[tuple[float, float]], prior: float) -> float:
    """Price of a cold megabyte in seconds, before scaling, by least squares with priors.

    Args:
        rows: for each network, its price and its cold megabytes, each over its measured time.
        prior: what is expected; 10 µs if nothing is known.
    """
    expected = prior or 1e-5
    noise, loose = 0.02, 0.05  # relative error of a measurement; how far the scale is from 1
    wide = 1.5 * expected
    aa = sum(a * a for a, _ in rows) / noise**2 + 1 / loose**2
    ab = sum(a * b for a, b in rows) / noise**2
    bb = sum(b * b for _, b in rows) / noise**2 + 1 / wide**2
    ya = sum(a for a, _ in rows) / noise**2 + 1 / loose**2
    yb = sum(b for _, b in rows) / noise**2 + expected / wide**2
    determinant = aa * bb - ab * ab
    scale, cold = (ya * bb - yb * ab) / determinant, (yb * aa - ya * ab) / determinant
    return cold / scale if scale > 0 else 0.0


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
        cache_mb = float(header["cache_mb"])
        info = DeviceInfo.from_json({**texts, **numbers, "cache_mb": cache_mb})
        entries = dict(entry_of(row) for row in csv.DictReader(body))
        return LookupTable(
            info=info,
            entries=entries,
            scale=float(header["scale"]),
            calibrated_on=header["calibrated_on"],
            cold_s_per_mb=float(header["cold_s_per_mb"]),
            interpolated=header.get("interpolated") == "True",
            measured_on=header["measured_on"],
            warnings=tuple(warnings),
            netadapt=header["netadapt"],
        )
    except KeyError as error:
        raise TableError(f"The lookup table {path} lacks {error}; it was cut or edited.") from error
    except (TypeError, ValueError) as error:
        raise TableError(f"The lookup table {path} has a value out of place: {error}.") from error
