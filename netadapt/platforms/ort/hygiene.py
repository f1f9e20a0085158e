"""What was not as it should be when something was measured, each with its remedy."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from netadapt.platforms.measurement import Measurement

_FEW_RUNS = 20
_WIDE_SPREAD = 0.10
_HOT_C = 80.0


def disturbances(found: Mapping[str, Any], threads: int) -> tuple[str, ...]:
    """What about the device was not as it should be, each with its remedy.

    Args:
        found: what the device said of itself.
        threads: intra-op threads that were asked for.
    """
    warnings = []
    if (found.get("load") or 0) > 0.7 * found["processors"]:
        warnings.append(
            f"The load was {found['load']:.1f} on {found['processors']} processors; stop other "
            "programs and measure again."
        )
    governor = found.get("governor")
    if governor and governor != "performance":
        warnings.append(
            f"The frequency governor is {governor}, which slows short runs down; set it with "
            "'sudo cpupower frequency-set -g performance'."
        )
    if (found.get("temperature_c") or 0) > _HOT_C:
        warnings.append(
            f"The processor is at {found['temperature_c']:.0f} °C and may be throttled; let "
            "it cool or add a fan."
        )
    if threads > found["processors"]:
        warnings.append(
            f"{threads} threads on {found['processors']} processors spin for "
            "each other; give at most one thread to each."
        )
    return tuple(warnings)


def drift_remark(drift: float) -> tuple[str, ...]:
    """What the canary tells against a whole measurement, from its relative variation."""
    if drift <= _WIDE_SPREAD:
        return ()
    return (
        f"The same small model varied by {drift:.0%} in the course of the measurement; measure "
        "again when the machine is quiet, or with more passes.",
    )


def with_remarks(measurement: Measurement) -> Measurement:
    """The measurement, with what its own samples tell against it."""
    remarks = list(measurement.warnings)
    if len(measurement.samples) < _FEW_RUNS:
        remarks.append(
            f"Only {len(measurement.samples)} runs were taken; {_FEW_RUNS} or more are steadier: "
            "add passes."
        )
    if measurement.spread > _WIDE_SPREAD:
        remarks.append(
            f"The middle half of the runs spreads over {measurement.spread:.0%} of the median; "
            "stop other programs, or add passes or a minimum time."
        )
    return replace(measurement, warnings=tuple(remarks))
