"""Importance per unit of cost: the widths that keep most of it within the targets."""

from itertools import accumulate

from netadapt.network import shrinkable
from netadapt.search.strategies.allocation import allocate
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.reaching import along
from netadapt.search.strategies.situation import Situation


def propose(situation: Situation) -> list[Proposal]:
    """The sizes whose most important units sum to the most, all groups decided together.

    As HALP has it (Shen et al., "Structural pruning via latency-saliency knapsack", NeurIPS 2022):
    a unit is worth its importance, and costs what the table says. It is made for an importance
    that is comparable across groups, as a Taylor expansion of the loss is; of any other, each
    unit counts by its share of its group. At most one proposal, and nothing is screened.
    """
    values = {}
    for group in shrinkable(situation.network):
        present = situation.sizes[group.id]
        allowed = (present, *group.smaller(present, situation.multiple))
        kept = list(accumulate(sorted(situation.scores(group.id), reverse=True), initial=0.0))
        whole = 1.0 if situation.comparable or kept[-1] <= 0 else kept[-1]
        values[group.id] = {size: kept[size] / whole for size in allowed}
    sizes = allocate(situation.loads, values)
    if sizes is None:
        furthest = along(situation, "knapsack", lambda _: situation.sizes)
        return [furthest] if furthest else []
    changes = {group: n for group, n in sizes.items() if n < situation.sizes[group]}
    return [Proposal("knapsack", changes, situation.loads.changed(changes))] if changes else []
