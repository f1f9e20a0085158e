"""Energy of a run by phase, each with how it is known, and the carbon it comes to.

    g CO2e = kWh x PUE x g/kWh

A phase's energy is *measured* by a sensor, or *estimated* from the trainer's power and the phase's
time, or it is not known; and then neither is the run's.
"""

from dataclasses import dataclass
from typing import Literal

from netadapt.carbon.intensity import Intensity
from netadapt.carbon.power import Power, typical_power
from netadapt.carbon.ranges import Range, total
from netadapt.carbon.use import Phase, RunUse
from netadapt.errors import UsageError

J_PER_KWH = 3.6e6
_MOST_PUE = 5.0

Kind = Literal["measured", "estimated", "partly estimated"]


@dataclass(frozen=True, slots=True)
class Energy:
    """An energy and how it is known.

    Attributes:
        joules: with its range; a sensor's own error is not known and not in it.
        kind: measured, estimated, or a sum of both.
        source: the sensors, or what it is estimated from.
    """

    joules: Range
    kind: Kind
    source: str

    @property
    def kwh(self) -> Range:
        """In kilowatt-hours."""
        return self.joules.over(Range.exact(J_PER_KWH))


@dataclass(frozen=True, slots=True)
class PhaseEnergy:
    """A phase with its energy, None where it is neither measured nor can be estimated."""

    phase: Phase
    energy: Energy | None


@dataclass(frozen=True, slots=True)
class Footprint:
    """Energy of a run.

    Attributes:
        phases: each with its energy.
        total: of the run; None if that of a phase is not known.
        known: the sum of what is known, a lower bound of the run's; None if nothing is.
    """

    phases: tuple[PhaseEnergy, ...]
    total: Energy | None
    known: Energy | None


@dataclass(frozen=True, slots=True)
class Pue:
    """Power usage effectiveness: what a building draws over what its computers draw.

    Attributes:
        value: at least 1.
        why: where it comes from.
    """

    value: float
    why: str


NO_BUILDING = Pue(1.0, "the computer alone; no cooling or power distribution of a building")


def given_pue(value: float) -> Pue:
    """The user's figure.

    Raises:
        UsageError: it is below 1, or no building's.
    """
    if not 1 <= value <= _MOST_PUE:
        raise UsageError(
            f"A PUE of {value:g} is not possible: it lies between 1 (the computer alone) and "
            f"{_MOST_PUE:g}; the average of server rooms was 1.58 in 2023 (Uptime Institute)."
        )
    return Pue(value, "given by the user")


def pue_at(place: Intensity | None) -> Pue:
    """The published figure of a cloud's region, else that of a computer outside a data centre."""
    if place is None or place.pue is None:
        return NO_BUILDING
    return Pue(place.pue, f"{place.code}, by Cloud Carbon Footprint")


def footprint(use: RunUse, power: Power | None = None) -> Footprint:
    """What a run drew, phase by phase.

    Args:
        use: the run.
        power: the user's figure for the trainer, for the phases that no sensor read; without it, a
            published one where there is one.
    """
    if power is None and use.trainer is not None:
        power = typical_power(use.trainer)
    phases = tuple(PhaseEnergy(phase, _energy(phase, power)) for phase in use.phases)
    known = _sum([line.energy for line in phases if line.energy is not None])
    complete = all(line.energy is not None for line in phases)
    return Footprint(phases, known if complete else None, known)


def carbon_g(energy: Energy, pue: Pue, place: Intensity) -> Range:
    """Grams of CO2 equivalent; the range is that of the energy alone."""
    return energy.kwh.times(pue.value * place.g_per_kwh)


def _energy(phase: Phase, power: Power | None) -> Energy | None:
    if phase.energy_j is not None:
        return Energy(Range.exact(phase.energy_j), "measured", phase.sensor or "an unnamed sensor")
    if power is None:
        return None
    return Energy(power.watts.times(phase.seconds), "estimated", f"time and {power.source}")


def _sum(energies: list[Energy]) -> Energy | None:
    if not energies:
        return None
    kinds = {energy.kind for energy in energies}
    sources = "; ".join(dict.fromkeys(energy.source for energy in energies))
    return Energy(
        total([energy.joules for energy in energies]),
        kinds.pop() if len(kinds) == 1 else "partly estimated",
        sources,
    )
