"""NetAdapt's proposals (Yang et al., ECCV 2018, section 3.3, algorithm 1)."""

from netadapt.network import shrinkable
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Situation


def propose(situation: Situation) -> list[Proposal]:
    """For each channel group alone, the most channels that meet every target.

    The prices count everything that changes with the group: the layers that produce its channels,
    those that pass them on, and the consumers whose inputs shrink.

    If no group alone can reach the targets, every group that still lowers the load is proposed at
    its cheapest, which does not reach: the step then goes as far as one group can.

    Returns:
        Proposals in order of the groups; empty if no group can lower the load any more.
    """
    loads, sizes = situation.loads, situation.sizes
    reached: list[Proposal] = []
    furthest: list[Proposal] = []
    for group in shrinkable(situation.network):
        best: Proposal | None = None
        for size in group.smaller(sizes[group.id], situation.multiple):
            proposal = Proposal(group.id, {group.id: size}, loads.changed({group.id: size}))
            if proposal.reaches:
                reached.append(proposal)
                break
            if proposal.load < (best.load if best else loads.present):
                best = proposal
        else:
            furthest += [best] if best else []
    return reached or furthest
