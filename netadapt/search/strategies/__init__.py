"""Strategies: which networks to try next, decided by arithmetic alone.

A strategy is a plain function from a situation to proposals; adding one means writing the function
and naming it in :data:`STRATEGIES`.
"""

from collections.abc import Callable

from netadapt.search.strategies import (
    energy_ordered,
    knapsack,
    magnitude,
    one_group,
    random,
    several,
    uniform,
)
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Scores, Screen, Situation

Strategy = Callable[[Situation], list[Proposal]]
"""Situation -> proposals; none if nothing can lower the load any more.

A proposal whose load is at most 1 reaches every target of the iteration.
"""

STRATEGIES: dict[str, Strategy] = {
    "one_group": one_group.propose,
    "several": several.propose,
    "knapsack": knapsack.propose,
    "magnitude": magnitude.propose,
    "energy_ordered": energy_ordered.propose,
    "uniform": uniform.propose,
    "random": random.propose,
}

ROUNDS: dict[str, int] = dict.fromkeys(("several", "knapsack", "magnitude", "uniform", "random"), 4)
"""In how many iterations strategies that change many groups get to the budget, unless told.

Each is given the same share of what is left to it, so that 50 % takes four steps of 16 %.
"""

COMPARING = frozenset({"knapsack"})
"""Strategies made for an importance that compares units of different groups."""

__all__ = [
    "COMPARING",
    "ROUNDS",
    "STRATEGIES",
    "Proposal",
    "Scores",
    "Screen",
    "Situation",
    "Strategy",
]
