"""How much carbon a kilowatt-hour carries, by country and cloud region, with its source.

The values are annual averages of a grid. They hide much: two regions of one cloud in one country
can differ tenfold. There is no fallback: what is not known is an error that names its neighbours,
and never the world's average.
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from netadapt.errors import UnknownName, UsageError

# No grid emits more: coal alone is at 820 g/kWh (IPCC 2014, lifecycle median), oil shale near 1200.
_MOST_G_PER_KWH = 2000.0
_GIVEN = re.compile(
    r"([-+]?[0-9.]+(?:e[-+]?[0-9]+)?|nan|inf)\s*(kg|g)\s*(?:co2e?)?\s*/\s*kwh", re.I
)
_PROVIDERS = ("aws", "azure", "gcp")
_CLOUD_HINT = {
    "gcp": "",
    "aws": "Only its US regions are listed; elsewhere name the country, such as DEU.",
    "azure": "Only its US regions are listed; elsewhere name the country, such as DEU.",
}


@dataclass(frozen=True, slots=True)
class Intensity:
    """Carbon intensity of a place's electricity.

    Attributes:
        code: how it is asked for, such as ``SWE`` or ``gcp:europe-north1``.
        name: for people.
        g_per_kwh: grams of CO2 equivalent per kilowatt-hour.
        year: of the data; None where the user gave the value.
        basis: what is counted, such as ``lifecycle CO2e, production mix, national average``.
        source: who published it.
        licence: of the value.
        pue: the provider's power usage effectiveness, where the place is a cloud region.
    """

    code: str
    name: str
    g_per_kwh: float
    year: int | None
    basis: str
    source: str
    licence: str
    pue: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The value with its provenance, as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        when = f"{self.year}, " if self.year else ""
        return f"{self.name}: {self.g_per_kwh:g} g CO2e/kWh ({when}{self.basis}; {self.source})"


def parse_region(text: str) -> Intensity:
    """Read a country (``SWE``, ``SE``, ``Sweden``), cloud region or value (``250g/kWh``).

    Raises:
        UnknownName: there is no such region; the nearest ones are named.
        UsageError: a value has no unit or is not possible.
    """
    asked = " ".join(text.split())
    given = _GIVEN.fullmatch(asked)
    if given is not None:
        return _given(asked, float(given[1]), given[2].lower())
    if re.fullmatch(r"[-+]?[0-9.]+", asked) or not asked:
        raise UsageError(
            f"Region {text!r} is neither a place nor a value with a unit; write SWE, "
            "gcp:europe-north1 or 250g/kWh."
        )
    provider, colon, region = asked.lower().partition(":")
    return _cloud(provider, region) if colon else _country(asked)


@cache
def known_intensities() -> tuple[Intensity, ...]:
    """All places of the project's data file: countries first, then cloud regions."""
    return tuple(intensity for intensity, _ in _rows())


def countries() -> tuple[Intensity, ...]:
    """The countries among the known places."""
    return tuple(place for place in known_intensities() if ":" not in place.code)


def data_lines(name: str) -> Iterator[dict[str, str]]:
    """Rows of a CSV file of this package, past its lines of attribution.

    Args:
        name: of the file, such as ``intensity.csv``.
    """
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return iter(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def _rows() -> Iterator[tuple[Intensity, str]]:
    for row in data_lines("intensity.csv"):
        pue = float(row["pue"]) if row["pue"] else None
        yield (
            Intensity(
                row["code"], row["name"], float(row["g_co2e_per_kwh"]), int(row["year"]),
                row["basis"], row["source"], row["licence"], pue,
            ),
            row["iso2"],
        )  # fmt: skip


def _given(text: str, value: float, unit: str) -> Intensity:
    grams = value * 1000 if unit == "kg" else value
    if not (math.isfinite(grams) and 0 <= grams <= _MOST_G_PER_KWH):
        raise UsageError(
            f"A carbon intensity of {text!r} is not possible; grids lie between 0 and "
            f"{_MOST_G_PER_KWH:g} g/kWh."
        )
    name = f"{grams:g} g/kWh"
    return Intensity(f"{grams:g}g/kWh", name, grams, None, "as given", "given by the user", "")


def _cloud(provider: str, region: str) -> Intensity:
    if provider not in _PROVIDERS:
        raise UnknownName("cloud", provider, _PROVIDERS)
    known = {
        place.code.partition(":")[2]: place
        for place in known_intensities()
        if place.code.startswith(f"{provider}:")
    }
    if region not in known:
        raise UnknownName(f"{provider} region", region, known, _CLOUD_HINT[provider])
    return known[region]


def _country(asked: str) -> Intensity:
    codes = {place.code: place for place in countries()}
    names = {place.name: place for place in countries()}
    short = {iso2: place for place, iso2 in _rows() if iso2}
    known = codes | names | short
    for name, place in known.items():
        if name.lower() == asked.lower():
            return place
    hint = "A value such as 250g/kWh is accepted too."
    if len(asked) <= 3:
        raise UnknownName("region", asked.upper(), codes, hint)
    raise UnknownName("region", asked.title(), names, hint)
