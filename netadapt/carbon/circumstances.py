"""What the record of a run cannot know, as its user states it."""

from dataclasses import dataclass

from netadapt.carbon.breakeven import parse_rate
from netadapt.carbon.footprint import Pue, given_pue
from netadapt.carbon.intensity import Intensity, parse_region
from netadapt.carbon.power import Power, parse_watts


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where a run ran, where its network is used, and how much.

    Attributes:
        region: where it ran.
        deploy_region: where the network is used; by default where it ran.
        pue: of the building it ran in; by default the region's published one, or 1.
        deploy_pue: of the building it is used in; the same default.
        power: the trainer's mean draw, for phases that no sensor read.
        per_day: inferences per day.
    """

    region: Intensity | None = None
    deploy_region: Intensity | None = None
    pue: Pue | None = None
    deploy_pue: Pue | None = None
    power: Power | None = None
    per_day: float | None = None


def read_circumstances(
    region: str | None = None,
    deploy_region: str | None = None,
    pue: float | None = None,
    deploy_pue: float | None = None,
    watts: str | None = None,
    rate: str | None = None,
) -> Circumstances:
    """Read what a user wrote.

    Raises:
        UnknownName: a region is not known.
        UsageError: another figure is not possible.
    """
    return Circumstances(
        None if region is None else parse_region(region),
        None if deploy_region is None else parse_region(deploy_region),
        None if pue is None else given_pue(pue),
        None if deploy_pue is None else given_pue(deploy_pue),
        None if watts is None else parse_watts(watts),
        None if rate is None else parse_rate(rate),
    )
