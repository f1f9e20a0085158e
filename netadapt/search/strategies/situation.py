"""What a strategy decides from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netadapt.network import Network
from netadapt.search.pricing import Loads
from netadapt.search.strategies.proposal import Proposal

Scores = Callable[[str], Sequence[float]]
"""Group id -> importance of each of its present units; greater means keep."""

Screen = Callable[[Sequence[Proposal]], list[float]]
"""Proposals -> their scores without training; greater is better, ``-inf`` for one that failed."""


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a search stands, and what it may ask.

    Attributes:
        network: the unpruned network.
        loads: predicted cost over target, from the present sizes on.
        multiple: widths become multiples of this many channels.
        scores: of the units of a group, by the weights as they stand and the importance of the
            settings. Worked out when asked for.
        screen: tries proposals without training them. Each counts as a trial and is kept in the
            journal, so that one asked for twice, or before a run was cut off, is tried once.
        seed: of the run.
        iteration: for which proposals are wanted, from 1.
        comparable: whether scores of different groups are of one unit, as changes of a loss are.
    """

    network: Network
    loads: Loads
    multiple: int
    scores: Scores
    screen: Screen
    seed: int = 0
    iteration: int = 1
    comparable: bool = False

    @property
    def sizes(self) -> dict[str, int]:
        """Present size of every group, in units."""
        return self.loads.sizes


def alike(network: Network) -> Scores:
    """Scores where nothing is known of the weights: every unit counts the same."""
    return lambda group: [1.0] * network.groups[group].size
