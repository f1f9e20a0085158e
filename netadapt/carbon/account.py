"""All figures of a run in one value: energy, carbon, and when it has paid for itself."""

from dataclasses import asdict, dataclass
from typing import Any

from netadapt.carbon.breakeven import (
    PaidBack,
    Site,
    carbon_paid_back,
    energy_paid_back,
    saved_per_inference,
)
from netadapt.carbon.circumstances import Circumstances
from netadapt.carbon.footprint import (
    Energy,
    Footprint,
    PhaseEnergy,
    carbon_g,
    footprint,
    pue_at,
)
from netadapt.carbon.ranges import Range
from netadapt.carbon.use import RunUse

LEFT_OUT = (
    "carbon embodied in the hardware",
    "marginal emissions (intensities are annual averages of the region)",
    "the energy of the measured device while the run measured on it, if it is another computer",
)


@dataclass(frozen=True, slots=True)
class Account:
    """What a run cost and what it saves.

    Attributes:
        use: the run.
        footprint: its energy by phase.
        adapted: where it ran.
        deployed: where the network is used.
        carbon_g: of the run; None where its energy or its region is not known.
        saved_j: by one inference, which may be below zero; None where it was not measured.
        in_energy: when it has paid for itself in joules alone.
        in_carbon: when it has in carbon.
        per_day: inferences per day; None where no rate was given.
    """

    use: RunUse
    footprint: Footprint
    adapted: Site
    deployed: Site
    carbon_g: Range | None
    saved_j: Range | None
    in_energy: PaidBack
    in_carbon: PaidBack
    per_day: float | None = None

    @property
    def left_out(self) -> tuple[str, ...]:
        """What was not counted."""
        after = self.use.after_run
        if not after:
            return LEFT_OUT
        return (*LEFT_OUT, f"the search of {after}, which this run went on from")

    def as_dict(self) -> dict[str, Any]:
        """All figures as JSON values; None is not known, and an infinite bound is None."""
        inferences = {"before": self.use.before, "after": self.use.after}
        return {
            "schema": 1,
            "run": self.use.name,
            "finished": self.use.finished,
            "seconds": self.use.seconds,
            "phases": [_phase(line) for line in self.footprint.phases],
            "energy": _energy(self.footprint.total),
            "energy_at_least": _energy(self.footprint.known),
            "adapted": _site(self.adapted),
            "deployed": _site(self.deployed),
            "carbon_g": _range(self.carbon_g),
            "inference": {
                name: {
                    "energy_j": _range(one.energy_j), "latency_s": _range(one.latency_s),
                    "basis": one.basis, "source": one.source, "windows": one.windows,
                }
                for name, one in inferences.items() if one is not None
            },
            "saved_j": _range(self.saved_j),
            "break_even_energy": self.in_energy.as_dict() | self._days(self.in_energy),
            "break_even_carbon": self.in_carbon.as_dict() | self._days(self.in_carbon),
            "inferences_per_day": self.per_day,
            "cross_check": None if self.use.cross_check is None else self.use.cross_check.as_dict(),
            "left_out": list(self.left_out),
            "provenance": asdict(self.use.provenance),
        }  # fmt: skip

    def _days(self, paid: PaidBack) -> dict[str, Any]:
        return {"days": _range(paid.days(self.per_day)) if self.per_day else None}


def account(use: RunUse, circumstances: Circumstances | None = None) -> Account:
    """Reckon up a run."""
    said = circumstances or Circumstances()
    deploy_region = said.deploy_region or said.region
    adapted = Site(said.region, said.pue or pue_at(said.region))
    deployed = Site(deploy_region, said.deploy_pue or pue_at(deploy_region))
    energy = footprint(use, said.power)
    saved_j = saved_per_inference(use.before, use.after)
    emitted = (
        carbon_g(energy.total, adapted.pue, adapted.place)
        if energy.total is not None and adapted.place is not None
        else None
    )
    return Account(
        use, energy, adapted, deployed, emitted, saved_j,
        energy_paid_back(energy.total, saved_j),
        carbon_paid_back(energy.total, saved_j, adapted, deployed),
        said.per_day,
    )  # fmt: skip


def _range(quantity: Range | None) -> dict[str, float | None] | None:
    return None if quantity is None else quantity.as_dict()


def _energy(energy: Energy | None) -> dict[str, Any] | None:
    if energy is None:
        return None
    return {
        "kwh": energy.kwh.as_dict(), "joules": energy.joules.as_dict(), "kind": energy.kind,
        "source": energy.source,
    }  # fmt: skip


def _phase(line: PhaseEnergy) -> dict[str, Any]:
    return {
        "phase": line.phase.name, "seconds": line.phase.seconds, "images": line.phase.images,
        "energy": _energy(line.energy),
    }  # fmt: skip


def _site(site: Site) -> dict[str, Any]:
    place = None if site.place is None else site.place.as_dict()
    return {"intensity": place, "pue": site.pue.value, "pue_why": site.pue.why}
