"""Strategies: which networks to try next, decided by arithmetic alone.

A strategy is a plain function from a situation to proposals; adding one means writing the function
and naming it in :data:`STRATEGIES`.
"""

from collections.abc import Callable

from netadapt.search.strategies import energy_ordered, one_group, uniform
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Scores, Screen, Situation

Strategy = Callable[[Situation], list[Proposal]]
"""Situation -> proposals; none if nothing can lower the load any more.

A proposal whose load is at most 1 reaches every target of the iteration.
"""

STRATEGIES: dict[str, Strategy] = {
    "one_group": one_group.propose,
    "uniform": uniform.propose,
    "energy_ordered": energy_ordered.propose,
}

__all__ = ["STRATEGIES", "Proposal", "Scores", "Screen", "Situation", "Strategy"]
