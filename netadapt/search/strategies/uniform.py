"""Uniform width scaling: the baseline that any search has to beat."""

from netadapt.network import nearest_choice, shrinkable
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Situation


def propose(situation: Situation) -> list[Proposal]:
    """Scale every group by one factor: the largest that meets every target.

    The widths of MobileNet's width multiplier (Howard et al., 2017, section 3.3), rounded down to
    full multiples. At most one proposal.
    """
    loads, sizes = situation.loads, situation.sizes
    furthest: Proposal | None = None
    seen: dict[str, int] = {}
    for percent in range(99, 0, -1):
        changes: dict[str, int] = {}
        for group in shrinkable(situation.network):
            present = sizes[group.id]
            size = nearest_choice(group, present * percent / 100, situation.multiple, present)
            if size < present:
                changes[group.id] = size
        if not changes or changes == seen:
            continue
        seen = changes
        proposal = Proposal("uniform", changes, loads.changed(changes))
        if proposal.reaches:
            return [proposal]
        if proposal.load < (furthest.load if furthest else loads.present):
            furthest = proposal
    return [furthest] if furthest else []
