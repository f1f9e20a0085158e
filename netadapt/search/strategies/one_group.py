"""NetAdapt's proposals (Yang et al., ECCV 2018, section 3.3, algorithm 1)."""

from netadapt.network import ChannelGroup, Cost, Network, Sizes, shrinkable
from netadapt.search.pricing import Pricing
from netadapt.search.strategies.proposal import Proposal


def propose(
    network: Network, sizes: Sizes, cost: Cost, target: float, multiple: int
) -> list[Proposal]:
    """For each channel group alone, the most channels that meet the target.

    The prices count everything that changes with the group: the layers that produce its channels,
    those that pass them on, and the consumers whose inputs shrink.

    If no group alone can reach the target, every group that still lowers the cost is proposed at
    its cheapest, with ``reaches`` false: the step then goes as far as one group can.

    Args:
        network: the network.
        sizes: present size of each group, in units.
        cost: prices the layers.
        target: what the network may cost, in the unit of the cost.
        multiple: widths become multiples of this many channels.

    Returns:
        Proposals in order of the groups; empty if no group can lower the cost any more.
    """
    pricing = Pricing(network, sizes, cost)
    reached: list[Proposal] = []
    furthest: list[Proposal] = []
    for group in shrinkable(network):
        best: Proposal | None = None
        for size in smaller(group, pricing.sizes[group.id], multiple):
            price = pricing.with_group(group.id, size)
            proposal = Proposal(group.id, {group.id: size}, price, price <= target)
            if proposal.reaches:
                reached.append(proposal)
                break
            if price < pricing.total and (best is None or price < best.predicted):
                best = proposal
        else:
            furthest += [best] if best else []
    return reached or furthest


def smaller(group: ChannelGroup, size: int, multiple: int) -> list[int]:
    """The sizes below ``size`` that a group may take, descending."""
    return [choice for choice in group.choices(multiple) if choice < size]


def comfortable_reduction(network: Network, sizes: Sizes, cost: Cost, multiple: int) -> float:
    """A cost reduction that a third of the groups can each reach, with half of what they have.

    A network of many small groups offers little per group. Asked for more than one group can
    give, NetAdapt would empty whole groups; asked for this much it keeps a choice.

    Returns:
        The reduction in the unit of the cost; zero if nothing can shrink.
    """
    pricing = Pricing(network, sizes, cost)
    savings = [
        pricing.total - min(pricing.with_group(group.id, size) for size in choices)
        for group in shrinkable(network)
        if (choices := smaller(group, pricing.sizes[group.id], multiple))
    ]
    useful = sorted((saving for saving in savings if saving > 0), reverse=True)
    return 0.5 * useful[(len(useful) - 1) // 3] if useful else 0.0
