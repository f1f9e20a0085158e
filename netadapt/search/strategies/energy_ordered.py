"""The costliest layer first (after Yang et al., "Designing energy-efficient convolutional neural
networks using energy-aware pruning", CVPR 2017).

The paper prunes layer by layer in order of energy, and removes the weights whose going changes the
layer's output least. Ours is the structured form of it: whole channels go; which of them is for the
importance ``output_error`` to say, and what stays is refitted by ``--repair``.
"""  # noqa: D205

from netadapt.search.strategies import one_group
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Situation


def propose(situation: Situation) -> list[Proposal]:
    """Shrink the costliest layer, as it stands, that can reach every target by one of its sides.

    The cost is that of the budget which is missed the furthest: energy where energy is asked for.
    Of a layer's outputs and inputs, those go first of which the larger share is left; the costliest
    layer would otherwise narrow to a few outputs between wide neighbours. If no group alone can
    reach the targets, the costliest layer shrinks as far as it can. At most one proposal.
    """
    proposals = {proposal.name: proposal for proposal in one_group.propose(situation)}
    return [proposals[group] for group in in_order(situation) if group in proposals][:1]


def in_order(situation: Situation) -> list[str]:
    """Groups that may shrink: those of the costliest layer first, then by how much is left."""
    network, costs, sizes = situation.network, situation.loads.layers, situation.sizes

    def left(group: str) -> float:
        return sizes[group] / network.groups[group].size

    found: dict[str, None] = {}
    for layer in sorted(network.costed, key=lambda layer: -costs[layer.name]):
        sides = (*layer.cout.groups, *layer.cin.groups)
        free = [group for group in sides if not network.groups[group].fixed]
        found |= dict.fromkeys(sorted(free, key=left, reverse=True))
    return list(found)
