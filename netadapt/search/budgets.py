"""Budgets against what a network costs: one number says how far it still is from all of them.

A budget bounds a resource. The *load* of a network is the largest of cost over limit, over all
bounds: above 1 it has to shrink, and the bound with that load is the one that binds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netadapt.errors import AlreadyMet, UsageError
from netadapt.units import RESOURCES, Budget, format_quantity


@dataclass(frozen=True, slots=True)
class Meter:
    """Something that is measured in the course of a run, and may be bounded.

    Attributes:
        resource: a name in :data:`netadapt.units.RESOURCES`.
        device: name of the device it is measured on; empty where it does not matter.
        alone: whether the run has one device only, which then needs no name.
    """

    resource: str
    device: str = ""
    alone: bool = True

    @property
    def key(self) -> str:
        """Names it in steps, such as ``latency`` or ``phone:latency``."""
        return self.resource if self.alone or not self.device else f"{self.device}:{self.resource}"


@dataclass(frozen=True, slots=True)
class Bound:
    """A budget in base units.

    Attributes:
        meter: what is bounded.
        limit: what is allowed.
        original: what the unpruned network costs.
    """

    meter: Meter
    limit: float
    original: float

    @property
    def key(self) -> str:
        """Names it in steps."""
        return self.meter.key

    @property
    def unit(self) -> str:
        """The base unit."""
        return RESOURCES[self.meter.resource].unit

    @property
    def measured(self) -> bool:
        """Whether a device has to tell it; false for what is counted."""
        return not RESOURCES[self.meter.resource].counted


def meters(budgets: Iterable[Budget], devices: Sequence[str]) -> dict[Meter, Budget]:
    """What has to be measured, each with its budget; a budget without a device holds on all.

    A budget for a device replaces, on that device, the one that holds on all.

    Args:
        budgets: what was asked for.
        devices: names of the devices of the run.

    Raises:
        UsageError: a budget names a device that there is not.
    """
    chosen: dict[Meter, Budget] = {}
    for budget in sorted(budgets, key=lambda b: bool(b.device)):
        if budget.device and budget.device not in devices:
            raise UsageError(
                f"The budget {budget} is for the device {budget.device!r}, and the run has "
                f"{', '.join(devices)}; name one of these."
            )
        if not RESOURCES[budget.resource].by_device:
            chosen[Meter(budget.resource)] = budget
            continue
        for device in [budget.device] if budget.device else devices:
            chosen[Meter(budget.resource, device, len(devices) == 1)] = budget
    return chosen


def bounds(asked: Mapping[Meter, Budget], originals: Mapping[str, float]) -> tuple[Bound, ...]:
    """The budgets in base units.

    Args:
        asked: what is bounded, and how.
        originals: what the unpruned network costs, by key.

    Raises:
        AlreadyMet: the unpruned network is within all of them.
    """
    found = tuple(
        Bound(meter, budget.limit(originals[meter.key]), originals[meter.key])
        for meter, budget in asked.items()
    )
    if load(originals, found) <= 1:
        said = "; ".join(
            f"{b.key} is {format_quantity(b.original, b.unit)}, and "
            f"{format_quantity(b.limit, b.unit)} is allowed"
            for b in found
        )
        raise AlreadyMet(
            f"The original is within its budget already ({said}): there is nothing to do. Give a "
            "smaller one."
        )
    return found


def load(costs: Mapping[str, float], bounds: Iterable[Bound]) -> float:
    """Cost over limit, the largest over all bounds: within every budget if it is at most 1."""
    return max(costs[bound.key] / bound.limit for bound in bounds)


def binding(costs: Mapping[str, float], bounds: Iterable[Bound]) -> Bound:
    """The bound with the largest load."""
    return max(bounds, key=lambda bound: costs[bound.key] / bound.limit)
