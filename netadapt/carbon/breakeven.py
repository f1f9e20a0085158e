"""After how many inferences an adaptation has paid for itself.

    N* = E_adapt x PUE_a x CI_a / ((e_before - e_after) x PUE_d x CI_d)

with E the energy of the run, e of one inference, and the building's overhead and the grid's carbon
intensity where the network was adapted (a) and where it is deployed (d). Carbon embodied in the
hardware is left out on both sides.
"""

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from netadapt.carbon.footprint import Energy, Kind, Pue
from netadapt.carbon.intensity import Intensity
from netadapt.carbon.ranges import Range
from netadapt.carbon.use import Inference
from netadapt.errors import UsageError

_PER_DAY = {"s": 86400.0, "min": 1440.0, "h": 24.0, "day": 1.0}
_ALIASES = {"sec": "s", "second": "s", "m": "min", "minute": "min", "hour": "h", "d": "day"}
_THOUSANDS = {"": 1.0, "k": 1e3, "M": 1e6}
_RATE = re.compile(r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?|nan|inf)\s*([kM]?)\s*/\s*([A-Za-z]+)")

Verdict = Literal["after", "never", "not known"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where electricity is used.

    Attributes:
        place: its grid; None where it was not said.
        pue: of the building.
    """

    place: Intensity | None
    pue: Pue


@dataclass(frozen=True, slots=True)
class PaidBack:
    """When a run has saved what it cost.

    Attributes:
        verdict: ``after`` a number of inferences, ``never``, or ``not known``.
        inferences: the number, where there is one; an infinite bound says that within the spread of
            the measurements nothing may be saved at all.
        why: the reason of a verdict without a number.
        kind: how the energy of the run is known, where there is a number.
    """

    verdict: Verdict
    inferences: Range | None = None
    why: str = ""
    kind: Kind | None = None

    def days(self, per_day: float) -> Range | None:
        """The time it takes at a rate of inferences per day; None without a number."""
        return None if self.inferences is None else self.inferences.over(Range.exact(per_day))

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        number = None if self.inferences is None else self.inferences.as_dict()
        return {
            "verdict": self.verdict, "inferences": number, "kind": self.kind, "why": self.why,
        }  # fmt: skip


def parse_rate(text: str) -> float:
    """Inferences per day, of ``20/s``, ``5k/h`` or ``1M/day``.

    Raises:
        UsageError: it is not a rate, or not above zero.
    """
    match = _RATE.fullmatch(text.strip()) if len(text) < 100 else None  # its spaces may be many
    unit = _ALIASES.get(match[3], match[3]) if match else ""
    if match is None or unit not in _PER_DAY:
        raise UsageError(f"{text!r} is not a rate of inferences; write 20/s, 500/h or 1M/day.")
    try:
        rate = float(match[1]) * _THOUSANDS[match[2]] * _PER_DAY[unit]
    except ValueError:
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise UsageError(f"A rate of {text!r} never pays anything back; give one above zero.")
    return rate


def saved_per_inference(before: Inference | None, after: Inference | None) -> Range | None:
    """Joules that one inference of the adapted network saves, which may be below zero.

    None unless both were measured, or both modelled: the two kinds are not subtracted.
    """
    if before is None or after is None or before.energy_j is None or after.energy_j is None:
        return None
    if before.basis != after.basis:
        return None
    return before.energy_j.minus(after.energy_j)


def energy_paid_back(run: Energy | None, saved_j: Range | None) -> PaidBack:
    """In joules alone, without buildings and grids."""
    return _paid_back(run, saved_j, 1.0)


def carbon_paid_back(
    run: Energy | None, saved_j: Range | None, adapted: Site, deployed: Site
) -> PaidBack:
    """In carbon, each side with its own building and grid."""
    if adapted.place is None or deployed.place is None:
        return PaidBack("not known", why="no region was named")
    cost = adapted.pue.value * adapted.place.g_per_kwh
    gain = deployed.pue.value * deployed.place.g_per_kwh
    if gain == 0:
        return PaidBack("never", why=f"electricity carries no carbon in {deployed.place.name}")
    return _paid_back(run, saved_j, cost / gain)


def _paid_back(run: Energy | None, saved_j: Range | None, weight: float) -> PaidBack:
    if saved_j is None:
        return PaidBack("not known", why="the joules of one inference were not measured")
    if saved_j.value <= 0:
        why = "an inference of the adapted network takes no less energy than one of the original"
        return PaidBack("never", why=why)
    if run is None:
        return PaidBack("not known", why="the energy of the run was not measured")
    return PaidBack("after", run.joules.times(weight).over(saved_j), kind=run.kind)
