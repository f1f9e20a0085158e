"""What a strategy returns."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proposal:
    """One network to try.

    Attributes:
        name: what it shrinks: the id of a channel group, or the name of the strategy.
        changes: the new size of each group that shrinks, in units.
        predicted: the cost predicted for the whole network, in the unit of the cost.
        reaches: whether that is within the target.
    """

    name: str
    changes: Mapping[str, int]
    predicted: float
    reaches: bool
