"""What a device answered: raw samples with their statistics, and what the device is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Clock = Literal["cpu", "wall", "model"]


def quantile(samples: Sequence[float], q: float) -> float:
    """The ``q`` quantile (0..1) by linear interpolation between order statistics."""
    ordered = sorted(samples)
    position = q * (len(ordered) - 1)
    low = math.floor(position)
    high = math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Repeated timings of one thing on one device.

    Attributes:
        samples_s: every run, in seconds, in the order taken.
        clock: ``cpu`` is the calling thread's CPU time, which contention does not inflate;
            ``wall`` is elapsed time; ``model`` is computed, not measured.
        warnings: what disturbed the measurement, each with its remedy.
    """

    samples_s: tuple[float, ...]
    clock: Clock = "cpu"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.samples_s:
            raise ValueError("a measurement needs at least one sample")

    @property
    def p10_s(self) -> float:
        """10th percentile in seconds: the headline, robust to contention and slow regimes."""
        return quantile(self.samples_s, 0.10)

    @property
    def median_s(self) -> float:
        """Median in seconds."""
        return quantile(self.samples_s, 0.50)

    @property
    def p90_s(self) -> float:
        """90th percentile in seconds."""
        return quantile(self.samples_s, 0.90)

    @property
    def spread(self) -> float:
        """Interquartile range over the median, without a unit."""
        iqr_s = quantile(self.samples_s, 0.75) - quantile(self.samples_s, 0.25)
        return iqr_s / self.median_s if self.median_s > 0 else 0.0

    @property
    def noise(self) -> float:
        """How far the two halves of the runs differ by p10, relative: what a repetition would."""
        half = len(self.samples_s) // 2
        if not half:
            return 0.0
        first_s, second_s = (
            quantile(s, 0.10) for s in (self.samples_s[:half], self.samples_s[half:])
        )
        return abs(first_s / second_s - 1) if second_s > 0 else 0.0

    def scaled(self, factor: float) -> "Measurement":
        """Every sample times ``factor``: a correction for drift."""
        return replace(self, samples_s=tuple(s * factor for s in self.samples_s))

    def summary(self) -> dict[str, Any]:
        """Statistics as plain JSON values; seconds, and counts."""
        return {
            "p10_s": self.p10_s,
            "median_s": self.median_s,
            "p90_s": self.p90_s,
            "spread": self.spread,
            "runs": len(self.samples_s),
            "clock": self.clock,
            "warnings": list(self.warnings),
        }

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values; :meth:`from_json` reads it back."""
        return {
            "samples_s": list(self.samples_s),
            "clock": self.clock,
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Measurement":
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(data["samples_s"]), data["clock"], tuple(data["warnings"]))


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
        batch: images per run.
        cache_mb: megabytes (10^6 bytes) of the cache that belongs to one core alone; 1 if unknown.
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
    batch: int = 1
    cache_mb: float = 1.0

    @property
    def multiple(self) -> int:
        """Widths are best multiples of it: the block, or where there is none, 8 (vector lanes)."""
        return self.block if self.block > 1 else 8

    def differences(self, other: "DeviceInfo") -> list[str]:
        """Each field that differs, as ``field: here vs. there``; empty if they may be mixed."""
        return [
            f"{f.name}: {getattr(self, f.name)} vs. {getattr(other, f.name)}"
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        ]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DeviceInfo":
        """Read what :meth:`to_json` wrote."""
        return cls(**{f.name: data[f.name] for f in fields(cls)})
