"""Uniform width scaling: the baseline that any search has to beat."""

from netadapt.network import Cost, Network, Sizes, cost_of, shrinkable
from netadapt.search.strategies.proposal import Proposal


def propose(
    network: Network, sizes: Sizes, cost: Cost, target: float, multiple: int
) -> list[Proposal]:
    """Scale every group by one factor: the largest that meets the target.

    The widths of MobileNet's width multiplier (Howard et al., 2017, section 3.3), rounded down to
    full blocks. Arguments and result as in :func:`.one_group.propose`; at most
    one proposal.
    """
    present = network.complete(sizes)
    now = cost_of(cost, network.at(present))
    furthest: Proposal | None = None
    seen: dict[str, int] = {}
    for percent in range(99, 0, -1):
        changes: dict[str, int] = {}
        for group in shrinkable(network):
            wanted = present[group.id] * percent / 100
            choices = [size for size in group.choices(multiple) if size < present[group.id]]
            if choices:
                changes[group.id] = next((c for c in choices if c <= wanted), choices[-1])
        if not changes or changes == seen:
            continue
        seen = changes
        price = cost_of(cost, network.at({**present, **changes}))
        if price <= target:
            return [Proposal("uniform", changes, price, True)]
        if price < now and (furthest is None or price < furthest.predicted):
            furthest = Proposal("uniform", changes, price, False)
    return [furthest] if furthest else []
