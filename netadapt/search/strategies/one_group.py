"""NetAdapt's proposals (Yang et al., ECCV 2018, section 3.3, algorithm 1)."""

from netadapt.network import Network, Sizes, shrinkable
from netadapt.search.pricing import Loads
from netadapt.search.strategies.proposal import Proposal


def propose(network: Network, sizes: Sizes, loads: Loads, multiple: int) -> list[Proposal]:
    """For each channel group alone, the most channels that meet every target.

    The prices count everything that changes with the group: the layers that produce its channels,
    those that pass them on, and the consumers whose inputs shrink.

    If no group alone can reach the targets, every group that still lowers the load is proposed at
    its cheapest, which does not reach: the step then goes as far as one group can.

    Args:
        network: the network.
        sizes: present size of each group, in units.
        loads: predicted cost over target.
        multiple: widths become multiples of this many channels.

    Returns:
        Proposals in order of the groups; empty if no group can lower the load any more.
    """
    reached: list[Proposal] = []
    furthest: list[Proposal] = []
    for group in shrinkable(network):
        best: Proposal | None = None
        for size in group.smaller(sizes[group.id], multiple):
            proposal = Proposal(group.id, {group.id: size}, loads.changed({group.id: size}))
            if proposal.reaches:
                reached.append(proposal)
                break
            if proposal.load < (best.load if best else loads.present):
                best = proposal
        else:
            furthest += [best] if best else []
    return reached or furthest
