"""Strategies: which networks to try next, decided by arithmetic alone.

A strategy is a plain function from a network, its present sizes, a cost and a target to proposals;
adding one means writing the function and naming it in :data:`STRATEGIES`.
"""

from collections.abc import Callable

from netadapt.costs import Cost
from netadapt.network import Network, Sizes
from netadapt.strategies import netadapt, uniform
from netadapt.strategies.proposal import Proposal

Strategy = Callable[[Network, Sizes, Cost, float, int], list[Proposal]]
"""``(network, sizes, cost, target, block) -> proposals``; ``target`` is in the unit of the cost."""

STRATEGIES: dict[str, Strategy] = {"netadapt": netadapt.propose, "uniform": uniform.propose}

__all__ = ["STRATEGIES", "Proposal", "Strategy"]
