"""Strategies: which networks to try next, decided by arithmetic alone.

A strategy is a plain function from a network, its present sizes, a cost and a target to proposals;
adding one means writing the function and naming it in :data:`STRATEGIES`.
"""

from collections.abc import Callable

from netadapt.network import Cost, Network, Sizes
from netadapt.search.strategies import one_group, uniform
from netadapt.search.strategies.proposal import Proposal

Strategy = Callable[[Network, Sizes, Cost, float, int], list[Proposal]]
"""``(network, sizes, cost, target, multiple) -> proposals``; the target has the cost's unit."""

STRATEGIES: dict[str, Strategy] = {"one_group": one_group.propose, "uniform": uniform.propose}

__all__ = ["STRATEGIES", "Proposal", "Strategy"]
