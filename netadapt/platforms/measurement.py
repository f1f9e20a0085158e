"""What a device answered: raw samples with their statistics, and what the device is."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from netadapt.errors import DeviceError
from netadapt.platforms.bench.rounds import half_width, median, student

Clock = Literal["cpu", "wall", "model", "count"]


def quantile(samples: Sequence[float], q: float) -> float:
    """The ``q`` quantile (0..1) by linear interpolation between order statistics."""
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Repeated readings of what one thing costs on one device.

    Attributes:
        samples: every reading, in the base unit of the resource, in the order taken.
        clock: ``cpu`` is the calling thread's CPU time, which contention does not inflate;
            ``wall`` is elapsed time; ``model`` is computed, not measured; ``count`` is counted.
        warnings: what disturbed the measurement, each with its remedy.
        unit: ``s``, ``J``, or what is counted.
        paired: whether the sample of that number, of each network that was measured with it, was
            taken right before or after.
        uncertainty: half of the 95 % interval of the headline, relative to it; None where nothing
            tells.
        invocations: how many of the samples each process took, where there were several.

    Raises:
        DeviceError: a sample is no finite number.
    """

    samples: tuple[float, ...]
    clock: Clock = "cpu"
    warnings: tuple[str, ...] = ()
    unit: str = "s"
    paired: bool = False
    uncertainty: float | None = None
    invocations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError("a measurement needs at least one sample")
        if self.invocations and (
            sum(self.invocations) != len(self.samples) or min(self.invocations) < 1
        ):
            raise ValueError("the samples of all invocations are those of the measurement")
        if not all(map(math.isfinite, self.samples)):
            raise DeviceError(
                "A reading of the device is NaN or infinite, which no network costs; measure again."
            )

    @property
    def value(self) -> float:
        """The headline: what the thing is said to cost.

        Of times the 10th percentile, robust to contention and slow regimes, which only ever add;
        of all else the median.
        """
        return self.p10 if self.unit == "s" else self.median

    @property
    def p10(self) -> float:
        """10th percentile."""
        return quantile(self.samples, 0.10)

    @property
    def median(self) -> float:
        """Median."""
        return quantile(self.samples, 0.50)

    @property
    def p90(self) -> float:
        """90th percentile."""
        return quantile(self.samples, 0.90)

    @property
    def spread(self) -> float:
        """Interquartile range over the median, without a unit."""
        iqr = quantile(self.samples, 0.75) - quantile(self.samples, 0.25)
        return iqr / self.median if self.median > 0 else 0.0

    @property
    def noise(self) -> float:
        """How far the two halves of the runs differ, relative: what a repetition would."""
        half = len(self.samples) // 2
        if not half:
            return 0.0
        first, second = (
            replace(self, samples=s).value for s in (self.samples[:half], self.samples[half:])
        )
        return abs(first / second - 1) if second > 0 else 0.0

    def scaled(self, factor: float) -> "Measurement":
        """Every sample times ``factor``: a correction for drift."""
        return replace(self, samples=tuple(s * factor for s in self.samples))

    def summary(self) -> dict[str, Any]:
        """Statistics as plain JSON values, in :attr:`unit`."""
        return {
            "unit": self.unit,
            "value": self.value,
            "p10": self.p10,
            "median": self.median,
            "p90": self.p90,
            "spread": self.spread,
            "uncertainty": self.uncertainty,
            "runs": len(self.samples),
            "clock": self.clock,
            "warnings": list(self.warnings),
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; :meth:`from_json` reads it back."""
        return {
            "samples": list(self.samples),
            "clock": self.clock,
            "warnings": list(self.warnings),
            "unit": self.unit,
            **({"paired": True} if self.paired else {}),
            **({} if self.uncertainty is None else {"uncertainty": self.uncertainty}),
            **({"invocations": list(self.invocations)} if self.invocations else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measurement":
        """Read what :meth:`to_json` wrote."""
        return cls(
            tuple(data["samples"]),
            data["clock"],
            tuple(data["warnings"]),
            data["unit"],
            data.get("paired", False),
            data.get("uncertainty"),
            tuple(data.get("invocations", ())),
        )

    def parts(self) -> "list[Measurement]":
        """What each process took; itself, where there was one."""
        ends = list(itertools.accumulate(self.invocations)) or [len(self.samples)]
        return [
            replace(self, samples=self.samples[begin:end], invocations=())
            for begin, end in zip([0, *ends], ends, strict=False)
        ]


@dataclass(frozen=True, slots=True)
class Ratio:
    """What one network costs over what another does.

    Attributes:
        value: of paired runs the median of their ratios, else the ratio of the headlines; of
            several processes the mean of what each finds.
        uncertainty: half of its 95 % interval, relative to it; None where nothing tells. Within a
            process see :func:`netadapt.platforms.bench.rounds.half_width`; of several it is
            Student's, from how far they differ, or what they know together if that is more.
    """

    value: float
    uncertainty: float | None

    @classmethod
    def of(cls, one: Measurement, other: Measurement) -> "Ratio":
        """``one`` over ``other``, which were measured together."""
        if len(one.invocations) > 1 and len(one.invocations) == len(other.invocations):
            return cls._together([cls.of(*p) for p in zip(one.parts(), other.parts(), strict=True)])
        if not (one.paired and other.paired and len(one.samples) == len(other.samples)):
            return cls(one.value / other.value, None)
        ratios = [a / b for a, b in zip(one.samples, other.samples, strict=True)]
        value, half = median(ratios), half_width(ratios)
        return cls(value, half / value if math.isfinite(half) else None)

    @classmethod
    def _together(cls, found: "Sequence[Ratio]") -> "Ratio":
        """What several processes found of the same two networks."""
        number, value = len(found), statistics.fmean(ratio.value for ratio in found)
        between = statistics.stdev(ratio.value for ratio in found) / math.sqrt(number)
        told = [r.value * r.uncertainty for r in found if r.uncertainty is not None]
        within = math.hypot(*told) / number if len(told) == number else 0.0
        half = max(student(number - 1) * between, within)
        return cls(value, half / value if half else None)


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device and every setting that changes what it measures.

    Two tables may be mixed, and a table may steer a run, only if these are equal.

    Attributes:
        platform: the URI that opens it, such as ``ort:cpu``.
        device: processor or accelerator model, such as ``Intel Xeon Platinum 8480``.
        machine: instruction set architecture, such as ``x86_64`` or ``aarch64``.
        runtime: inference runtime and version, such as ``onnxruntime 1.32.0``.
        threads: intra-op threads; 1 is timed by CPU time, more by wall clock.
        level: graph optimization level, such as ``all``.
        block: channels per block of the runtime's layout (8 or 16 for NCHWc), 1 if unblocked.
        layout: ``NCHWc`` or ``NCHW``, as found in the optimized model; ``NHWC`` for int8.
        precision: ``float32`` or ``int8``.
        saturates: of int8, whether sums of products are cut off at 16 bits, see
            :func:`netadapt.platforms.bench.kernels.find_saturation`; false of all others.
        batch: images per run.
        cache_mb: megabytes (10^6 bytes) of the cache that belongs to one core alone; 1 if unknown.
        sensor: what tells energy there, such as ``rapl:package-0``; empty if nothing is asked. It
            changes no time, so that tables of latency may be mixed whatever it is.
    """

    platform: str
    device: str
    machine: str
    runtime: str
    threads: int = 1
    level: str = "all"
    block: int = 1
    layout: str = "NCHW"
    precision: str = "float32"
    saturates: bool = False
    batch: int = 1
    cache_mb: float = 1.0
    sensor: str = field(default="", compare=False)

    @property
    def multiple(self) -> int:
        """Widths are best multiples of it: the block, or where there is none, 8 (vector lanes)."""
        return self.block if self.block > 1 else 8

    @property
    def weight_bits(self) -> int:
        """Bits of 8-bit networks' weights with which every sum is exact there."""
        return 7 if self.saturates else 8

    def differences(self, other: "DeviceInfo") -> list[str]:
        """Each field that differs, as ``field: here vs. there``; empty if they may be mixed."""
        return [
            f"{f.name}: {getattr(self, f.name)} vs. {getattr(other, f.name)}"
            for f in fields(self)
            if f.compare and getattr(self, f.name) != getattr(other, f.name)
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON values; what is asked of integers or energy only with these."""
        found = asdict(self)
        if not self.sensor:
            del found["sensor"]
        if self.precision != "int8":
            del found["saturates"]
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DeviceInfo":
        """Read what :meth:`to_json` wrote."""
        known = {"sensor": "", **data}
        if data["precision"] != "int8":
            known["saturates"] = False
        return cls(**{f.name: known[f.name] for f in fields(cls)})
