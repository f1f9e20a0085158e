"""Strategies: which networks to try next, decided by arithmetic alone.

A strategy is a plain function from a network, its present sizes and a load to proposals; adding one
means writing the function and naming it in :data:`STRATEGIES`.
"""

from collections.abc import Callable

from netadapt.network import Network, Sizes
from netadapt.search.pricing import Loads
from netadapt.search.strategies import one_group, uniform
from netadapt.search.strategies.proposal import Proposal

Strategy = Callable[[Network, Sizes, Loads, int], list[Proposal]]
"""``(network, complete sizes, loads, multiple) -> proposals``, none if nothing can lower the load.

A proposal whose load is at most 1 reaches every target of the iteration.
"""

STRATEGIES: dict[str, Strategy] = {"one_group": one_group.propose, "uniform": uniform.propose}

__all__ = ["STRATEGIES", "Proposal", "Strategy"]
