"""How carbon intensity runs through a day, by grid and year, with its source."""

from dataclasses import dataclass
from functools import cache

from netadapt.carbon.intensity import data_lines
from netadapt.errors import UnknownName

HOURS = 24


@dataclass(frozen=True, slots=True)
class Profile:
    """How a grid's carbon intensity runs through a day, averaged over a year.

    Attributes:
        zone: such as ``GB`` or ``US-CISO``.
        year: of the data.
        clock: the time zone that the hours are counted in.
        mean_g_per_kwh: of the year.
        factors: 24 hours, each as a share of its day's mean.
        source: who published the data.
        licence: of the data.
    """

    zone: str
    year: int
    clock: str
    mean_g_per_kwh: float
    factors: tuple[float, ...]
    source: str
    licence: str


@cache
def profiles() -> tuple[Profile, ...]:
    """All profiles of the project's data file, a zone's newest last."""
    return tuple(
        Profile(
            row["zone"], int(row["year"]), row["clock"], float(row["mean_g"]),
            tuple(float(row[f"h{hour:02}"]) for hour in range(HOURS)), row["source"],
            row["licence"],
        )
        for row in data_lines("diurnal.csv")
    )  # fmt: skip


def find_profile(zone: str) -> Profile:
    """The newest profile of a zone such as ``GB``, or that of a year: ``GB-2019``.

    Raises:
        UnknownName: there is none; the nearest are named.
    """
    asked = zone.strip().upper()
    known = {f"{profile.zone}-{profile.year}": profile for profile in profiles()}
    known |= {profile.zone: profile for profile in profiles()}
    if asked not in known:
        hint = "Hourly intensities of your own grid are accepted as a CSV file."
        zones = {profile.zone for profile in profiles()}
        raise UnknownName("zone with a daily profile", asked, zones, hint)
    return known[asked]
