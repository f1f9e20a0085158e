"""What the same run would emit elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from netadapt.carbon.footprint import (
    Energy,
    Kind,
    Pue,
    carbon_g,
    footprint,
    given_pue,
    pue_at,
)
from netadapt.carbon.intensity import Intensity, countries, parse_region
from netadapt.carbon.phrases import hedge
from netadapt.carbon.power import parse_watts
from netadapt.carbon.ranges import Range, format_range
from netadapt.carbon.use import RunUse


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The run in one place.

    Attributes:
        place: where.
        pue: of a building there.
        carbon_g: grams of CO2 equivalent; None where the energy of the run is not known.
        relative: to the least of all places compared: 1 for it.
        kind: how the energy is known.
    """

    place: Intensity
    pue: Pue
    carbon_g: Range | None
    relative: float | None
    kind: Kind | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "intensity": self.place.as_dict(),
            "pue": self.pue.value,
            "carbon_g": None if self.carbon_g is None else self.carbon_g.as_dict(),
            "relative": self.relative,
            "kind": self.kind,
        }


def compare_places(
    energy: Energy | None, places: Iterable[Intensity], pue: Pue | None = None
) -> list[Elsewhere]:
    """The places from the least carbon to the most.

    The order needs no energy: it is that of intensity times PUE. ``relative`` is None throughout
    where the best place has no carbon at all.

    Args:
        energy: of the run.
        places: to compare; one named twice counts once.
        pue: the same everywhere; by default each place's own.
    """
    lines = [(place, pue or pue_at(place)) for place in dict.fromkeys(places)]
    lines.sort(key=lambda line: (_weight(*line), line[0].code))
    least = _weight(*lines[0]) if lines else 0.0
    return [
        Elsewhere(
            place,
            overhead,
            None if energy is None else carbon_g(energy, overhead, place),
            _weight(place, overhead) / least if least else None,
            None if energy is None else energy.kind,
        )
        for place, overhead in lines
    ]


def places_for(
    use: RunUse, regions: Sequence[str], pue: float | None = None, watts: str | None = None
) -> list[Elsewhere]:
    """The places that a user names, or all countries, compared for a run.

    Args:
        use: the run.
        regions: as in :func:`~netadapt.carbon.intensity.parse_region`; none for all countries.
        pue: the same everywhere.
        watts: mean draw of the trainer, as in :func:`~netadapt.carbon.power.parse_watts`.

    Raises:
        UnknownName: a region is not known.
        UsageError: another figure is not possible.
    """
    power = None if watts is None else parse_watts(watts)
    places = [parse_region(region) for region in regions] or countries()
    overhead = None if pue is None else given_pue(pue)
    return compare_places(footprint(use, power).total, places, overhead)


def table_rows(lines: Sequence[Elsewhere]) -> list[tuple[str, ...]]:
    """The comparison for people, its heading first."""
    rows: list[tuple[str, ...]] = [
        ("region", "g/kWh", "year", "PUE", "emissions", "against the least", "basis")
    ]
    for line in lines:
        grams = "not known"
        if line.carbon_g is not None:
            grams = format_range(line.carbon_g, "g CO2e") + hedge(line.kind)
        times = "-" if line.relative is None else f"{line.relative:.3g} x"
        place = line.place
        name = place.code if place.year is None else f"{place.name} ({place.code})"
        rows.append((
            name, f"{place.g_per_kwh:g}", str(place.year or "-"), f"{line.pue.value:g}", grams,
            times, place.basis,
        ))  # fmt: skip
    return rows


def _weight(place: Intensity, pue: Pue) -> float:
    return place.g_per_kwh * pue.value
