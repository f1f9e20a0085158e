"""What a URI of ONNX Runtime may ask for."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netadapt.errors import UsageError

LEVELS = ("basic", "extended", "all")
PRECISIONS = ("float32", "int8")
SENSORS = ("rapl", "nvml", "hwmon", "powermetrics", "zeus", "auto")


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of ONNX Runtime that change what is measured.

    Attributes:
        provider: execution provider by its short name, such as ``cpu`` or ``cuda``.
        threads: intra-op threads; 1 is timed by CPU time, more by wall clock.
        level: graph optimization level, one of :data:`LEVELS`.
        batch: images per run.
        precision: one of :data:`PRECISIONS`; ``int8`` is static quantization in the QDQ form, see
            :mod:`netadapt.platforms.ort.quantization`.
        energy: sensor of energy, one of :data:`SENSORS`; empty to measure time alone.
    """

    provider: str = "cpu"
    threads: int = 1
    level: str = "all"
    batch: int = 1
    precision: str = "float32"
    energy: str = ""

    def __post_init__(self) -> None:
        if not (1 <= self.threads <= 1024 and 1 <= self.batch <= 65536):
            raise UsageError(
                "Of a platform, threads are from 1 to 1024, and batches from 1 to 65536 images."
            )
        for value, known in ((self.level, LEVELS), (self.precision, PRECISIONS)):
            if value not in known:
                raise UsageError(f"{value!r} is none of {', '.join(known)}.")
        if self.energy and self.energy not in SENSORS:
            raise UsageError(
                f"There is no energy sensor {self.energy!r}; choose {', '.join(SENSORS)}."
            )


def read_options(provider: str, options: Mapping[str, str]) -> Options:
    """Options of a URI.

    Raises:
        UsageError: a value is not what it should be.
    """
    values: dict[str, Any] = dict(options)
    for name in ("threads", "batch"):
        if name in values:
            try:
                values[name] = int(values[name])
            except ValueError:
                raise UsageError(f"{name}={values[name]} of a platform is no number.") from None
    if values.get("threads") == 0:
        values["threads"] = os.cpu_count() or 1
    return Options(provider=provider, **values)
