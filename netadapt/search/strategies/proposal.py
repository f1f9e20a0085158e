"""What a strategy returns."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Proposal:
    """One network to try.

    Attributes:
        name: what it shrinks: the id of a channel group, or the name of the strategy.
        changes: the new size of each group that shrinks, in units.
        load: predicted cost over target, the largest over all bounds.
    """

    name: str
    changes: Mapping[str, int]
    load: float

    @property
    def reaches(self) -> bool:
        """Whether it is within every target."""
        return self.load <= 1
