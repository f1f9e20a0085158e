"""The lookup table: what each layer costs on one device, and the price of a network by it.

A table is a CSV file that explains itself: lines ``# key: value`` say on what and how it was
measured, then one row for each layer shape, with units in the names of the columns. It is written
row by row as a device answers, so that an interrupted build keeps what it has.

The price of a network is ``calibration(overhead + layers + refill)``:

- ``overhead`` is what a call costs before any layer runs (a row of its own);
- ``layers`` is the sum of the 10th percentiles of its layers; a difference of two timings can be
  slightly negative for a layer that costs nothing: the row keeps it, the price is zero;
- ``refill``: a layer timed alone finds its weights in the core's own cache, run after run, as far
  as they fit; in a network that does not fit, the others have displaced them. Of W megabytes, about
  ``W * (1 - W / cache)`` are found alone. What a megabyte costs is a row of its own;
- ``calibration`` comes from whole networks, see :mod:`netadapt.tables.correction`.

Where a sensor told the joules of whole networks, each is a line ``# energy: ...``, from which
:mod:`netadapt.tables.energy` prices energy too.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from netadapt import __version__
from netadapt.errors import TableError, named
from netadapt.files import write_atomically
from netadapt.network import LayerShape, op_of
from netadapt.platforms import CANARY, OVERHEAD, REFILL, Effort, LayerTimer, Progress
from netadapt.platforms.measurement import DeviceInfo
from netadapt.tables.correction import Calibration, fit
from netadapt.tables.interpolation import Kinds, Surface
from netadapt.tables.lines import entries_in, read_lines
from netadapt.tables.powers import NetworkEnergy, Powers, fit_powers
from netadapt.tables.rows import Entry, append, columns, row_of
from netadapt.units import RESOURCES

__all__ = ["Entry", "LookupTable"]

FORMAT = 3
TABLE_BEGINS = (b"netadapt-table:",)
_BYTES = {"float32": 4, "int8": 1}
_LEAST_SHARE = 0.25


@dataclass(frozen=True)
class LookupTable:
    """Measured layers of one device; also a :class:`netadapt.network.cost.Cost`, in :attr:`unit`.

    Attributes:
        info: the device and every setting that changes its answers.
        entries: what was measured of each layer shape, :data:`OVERHEAD` and :data:`CANARY` too.
        calibration: corrects the sum; found by :meth:`calibrated`.
        interpolated: whether widths between measured ones are priced from their neighbours, by
            blocks of channels (see :mod:`.interpolation`); if not, every layer needs its own row.
        resource: what the rows are of.
        measured_on: date of the first measurement.
        warnings: what disturbed the measurements, each with its remedy.
        netadapt: version that measured.
        energies: what networks were measured at in joules.
    """

    info: DeviceInfo
    entries: Mapping[LayerShape, Entry] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)
    interpolated: bool = False
    resource: str = "latency"
    measured_on: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    warnings: tuple[str, ...] = ()
    netadapt: str = __version__
    energies: tuple[NetworkEnergy, ...] = ()
    _prices: dict[LayerShape, float] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @property
    def unit(self) -> str:
        """The unit of its prices."""
        return RESOURCES[self.resource].unit

    @property
    def overhead(self) -> float:
        """What a call costs before any layer runs; 0 as long as it was not measured."""
        entry = self.entries.get(OVERHEAD)
        return entry.p10 if entry else 0.0

    @property
    def canary_spread(self) -> float:
        """How much one small model varied over the measurement: (p90 - p10) / median."""
        entry = self.entries.get(CANARY)
        return (entry.p90 - entry.p10) / entry.median if entry else 0.0

    @cached_property
    def powers(self) -> Powers | None:
        """What classes of layers draw; None as long as no network's energy was measured."""
        return fit_powers(self.energies) if self.energies else None

    @cached_property
    def _surface(self) -> Surface:
        return Surface(self.entries, self.info.block, self.info.layout)

    @cached_property
    def _kinds(self) -> Kinds:
        return Kinds(self.entries)

    def entry(self, shape: LayerShape) -> Entry | None:
        """The row of a layer, or what its neighbours say if the table is interpolated; or None."""
        found = self.entries.get(shape)
        return self._surface.entry(shape) if found is None and self.interpolated else found

    def layer(self, shape: LayerShape) -> float:
        """The price of one layer inside a network, before calibration; 0 for what none can price.

        A layer without a row, and without neighbours to interpolate between, is estimated from the
        nearest row of its kind: see :mod:`.interpolation`, and :meth:`estimated` for which are.

        Raises:
            TableError: no layer of its kind was measured.
        """
        price = self.alone(shape)
        known = op_of(shape.op).priced or shape in self.entries
        return price + (self.refill(shape.weights) if known else 0.0)

    def alone(self, shape: LayerShape) -> float:
        """The price of one layer that finds its weights in the cache; otherwise as :meth:`layer`.

        Raises:
            TableError: no layer of its kind was measured.
        """
        price = self._prices.get(shape)
        if price is None:
            price = self._prices[shape] = self._alone(shape)
        return price

    def _alone(self, shape: LayerShape) -> float:
        entry = self.entry(shape) or self._kinds.entry(shape)
        if entry is not None:
            return max(entry.p10, 0.0)
        if not op_of(shape.op).priced:
            return 0.0
        raise TableError(
            f"The lookup table has no row for the layer {shape}, nor for one like it; measure it "
            "on the device with 'netadapt table build', or give a table that was built for this "
            "network."
        )

    def network(self, layers: float, weights: int) -> float:
        """Cost of a network whose layers cost ``layers`` and hold ``weights`` elements."""
        layers -= self.refill(weights)  # of the layers' own, what this network finds in cache
        return self.calibration.apply(self.overhead + layers)

    def _megabytes(self, weights: int) -> float:
        return weights * _BYTES.get(self.info.precision, 4) * 1e-6

    def refill(self, weights: int) -> float:
        """What reading those weights costs that a core has in its cache if nothing displaces them.

        The measured chain held 4 * 192 * 192 bytes in each convolution, of which the cache would
        have kept its share too.
        """
        return self._cold(weights, kept=True)

    def streamed(self, weights: int) -> float:
        """What reading those weights costs that a cache never holds: part of a layer's own row."""
        return self._cold(weights, kept=False)

    def _cold(self, weights: int, *, kept: bool) -> float:
        """The price of those weights that a cache would keep, or would not keep, of a layer."""
        entry = self.entries.get(REFILL)
        if entry is None or weights == 0:
            return 0.0
        cache_mb = self.info.cache_mb

        def share(megabytes: float) -> float:
            return max(0.0, 1.0 - megabytes / cache_mb)

        price = max(entry.p10, 0.0) / max(share(REFILL.cin * REFILL.cout * 4e-6), _LEAST_SHARE)
        megabytes = self._megabytes(weights)
        return price * megabytes * (share(megabytes) if kept else 1.0 - share(megabytes))

    def price(self, shapes: Sequence[LayerShape]) -> float:
        """Cost of a network given by its layers."""
        weights = sum(shape.weights for shape in shapes)
        return self.network(sum(map(self.layer, shapes)), weights)

    def missing(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that are to be measured before a price can be given."""
        wanted = dict.fromkeys((OVERHEAD, *shapes))
        return tuple(s for s in wanted if s not in self.entries and op_of(s.op).priced)

    def residue(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that it can never price."""
        return tuple(s for s in shapes if not op_of(s.op).priced and s not in self.entries)

    def lacking(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that it has neither a row nor neighbours for, each once."""
        return tuple(shape for shape in self.missing(shapes) if self.entry(shape) is None)

    def estimated(self, shapes: Iterable[LayerShape]) -> tuple[LayerShape, ...]:
        """The layers among these that it prices from a row of their kind alone, each once."""
        return tuple(s for s in self.lacking(shapes) if self._kinds.entry(s) is not None)

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
        read = {row.sensor for row in self.energies}
        if info.sensor and read - {info.sensor}:
            raise TableError(
                f"The lookup table holds energy read from {', '.join(sorted(read))}, and this "
                f"device reads {info.sensor}; build a table for this sensor, or choose that one."
            )

    def fill(
        self,
        platform: LayerTimer,
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
        if REFILL not in self.entries:
            missing = tuple(dict.fromkeys((missing[0], REFILL, *missing[1:])))  # any may need it
        entries, warnings = dict(self.entries), dict.fromkeys(self.warnings)
        if path is not None:
            self.save(path)
        for shape, measurement in platform.measure_layers(missing, effort, progress):
            if shape == CANARY and CANARY in self.entries:
                continue  # drift is told of the first and longest measurement
            entries[shape] = Entry.of(measurement)
            fresh = [text for text in measurement.warnings if text not in warnings]
            warnings.update(dict.fromkeys(fresh))
            if path is not None:
                for text in fresh:
                    append(path, _warning(text))
                append(path, row_of(shape, entries[shape]))
        filled = replace(self, entries=entries, warnings=tuple(warnings))
        if path is not None:
            filled.save(path)
        return filled

    def calibrated(
        self, networks: Sequence[tuple[float, Sequence[LayerShape]]], *, name: str
    ) -> "LookupTable":
        """This table fitted to measured networks.

        Args:
            networks: what was measured, and the layers, of each.
            name: the networks, for the record.

        Raises:
            DeviceError: a measurement is not above zero.
        """
        plain = replace(self, calibration=Calibration())
        pairs = [(measured, plain.price(layers)) for measured, layers in networks]
        return replace(self, calibration=fit(pairs, networks=name))

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
        comments, body = read_lines(path)
        return _parse(path, comments, body)

    def _provenance(self) -> Iterator[tuple[str, Any]]:
        """The commented lines at the head of the file."""
        yield "netadapt-table", FORMAT
        yield "netadapt", self.netadapt
        yield "measured_on", self.measured_on
        yield "resource", self.resource
        yield "unit", self.unit
        yield from self.info.to_json().items()
        yield "scale", self.calibration.scale
        yield "exponent", self.calibration.exponent
        yield "calibrated_on", self.calibration.networks
        yield "interpolated", self.interpolated
        if self.powers is not None:
            told = {name: round(p.watts, 4) for name, p in self.powers.classes.items()}
            yield "watts", told  # for readers: found anew from the lines below
        yield from (("energy", row.to_text()) for row in self.energies)
        for warning in self.warnings:
            yield "warning", " ".join(warning.split())


def _warning(text: str) -> str:
    """A line on it, for a table that is still being measured."""
    return f"# warning: {' '.join(text.split())}\n"


def _parse(path: Path, comments: Sequence[str], body: Sequence[str]) -> LookupTable:
    header: dict[str, str] = {}
    warnings, energies = [], []
    for line in comments:
        key, _, value = line.removeprefix("#").strip().partition(":")
        if key == "warning":
            warnings.append(value.strip())
        if key == "energy":
            energies.append(value)
        header[key] = value.strip()
    if header.get("netadapt-table") != str(FORMAT):
        raise TableError(
            f"{path} is no lookup table that this netadapt reads: its first line is not "
            f"'# netadapt-table: {FORMAT}'. Build one with 'netadapt table build'."
        )
    try:
        numbers = {name: int(header[name]) for name in ("threads", "block", "batch")}
        flags = {name: header[name] == "True" for name in ("saturates",) if name in header}
        cache_mb = float(header["cache_mb"])
        scale, exponent = float(header["scale"]), float(header["exponent"])
        if min(numbers.values()) < 1 or not 0 < cache_mb < 1e6:
            raise ValueError("threads, block, batch and cache_mb are above zero")
        if not (math.isfinite(scale + exponent) and scale > 0):
            raise ValueError("a calibration is finite, and its scale above zero")
        info = DeviceInfo.from_json({**header, **numbers, **flags, "cache_mb": cache_mb})
        entries = entries_in(path, body)
        return LookupTable(
            info=info,
            entries=entries,
            calibration=Calibration(scale, exponent, header["calibrated_on"]),
            interpolated=header.get("interpolated") == "True",
            resource=named("resource", header["resource"], RESOURCES).name,
            measured_on=header["measured_on"],
            warnings=tuple(dict.fromkeys(warnings)),
            netadapt=header["netadapt"],
            energies=tuple(map(NetworkEnergy.from_text, energies)),
        )
    except KeyError as error:
        raise TableError(f"The lookup table {path} lacks {error}; it was cut or edited.") from error
    except (TypeError, ValueError) as error:
        raise TableError(f"The lookup table {path} has a value out of place: {error}.") from error
