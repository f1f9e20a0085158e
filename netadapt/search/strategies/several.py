"""Several groups at once: what each loses is screened, and what is best for all is solved."""

import math
from collections.abc import Mapping
from itertools import pairwise

from netadapt.network import nearest_choice, shrinkable
from netadapt.search.strategies import uniform
from netadapt.search.strategies.allocation import allocate
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.situation import Situation

TRUSTS = (1.5, 2.0, 4.0)
"""How much further than the uniform network a group may go, as powers of what it keeps there."""

EVENLY = 1e-4
"""Weight of the squared share that a group loses; decides where screening tells none apart."""

HOPELESS = 1e6
"""The drop of a candidate that failed."""

Drops = Mapping[int, float]
"""Size of a group -> how far the score falls."""


def propose(situation: Situation) -> list[Proposal]:
    """For several trusts, the sizes of all groups that are predicted to lose least.

    The uniform network that meets the targets keeps a share of each group. Each group alone is
    screened at that share and at its square, without training. Between these, and beyond them, its
    score is taken to fall in straight lines; falls of several groups are taken to add up. The
    sizes that then lose least within the targets are found by dynamic programming, see
    :mod:`netadapt.search.strategies.allocation`, once for each of a few bounds on how far a group
    may go, for the prediction is worth less the further it goes. The uniform network is proposed
    too, so that the search does not fall behind it unseen.

    Sensitivities per layer go back to Li et al., "Pruning filters for efficient ConvNets" (ICLR
    2017); NetAdaptV2 (Yang et al., CVPR 2021) names one group per iteration as what makes NetAdapt
    slow.

    Screens at most two proposals per group, and proposes at most four.
    """
    even = uniform.propose(situation)
    if not even or not even[0].reaches:
        return even  # goes as far as the groups can
    drops = _screened(situation, even[0])
    found: dict[tuple[tuple[str, int], ...], Proposal] = {}
    for trust in TRUSTS:
        values = {group: _values(situation, group, drops[group], trust) for group in drops}
        sizes = allocate(situation.loads, values) or {}
        changes = {group: n for group, n in sizes.items() if n < situation.sizes[group]}
        if changes:
            proposal = Proposal("several", changes, situation.loads.changed(changes))
            found.setdefault(tuple(sorted(changes.items())), proposal)
    found.setdefault(tuple(sorted(even[0].changes.items())), even[0])
    return list(found.values())


def _screened(situation: Situation, even: Proposal) -> dict[str, dict[int, float]]:
    """How far the score falls at two sizes of each group, below the best of all that were screened.

    The best stands for the network as it is, whose own score is not comparable: it may have been
    trained, and these were not.
    """
    probes = []
    for group in shrinkable(situation.network):
        present = situation.sizes[group.id]
        share = even.changes.get(group.id, present) / present
        wanted = (present * share, present * share**2)
        for size in dict.fromkeys(
            nearest_choice(group, size, situation.multiple, present) for size in wanted
        ):
            if size < present:
                load = situation.loads.changed({group.id: size})
                probes.append(Proposal(group.id, {group.id: size}, load))
    scores = situation.screen(probes)
    best = max(scores, default=0.0)
    drops: dict[str, dict[int, float]] = {}
    for probe, score in zip(probes, scores, strict=True):
        drop = best - score if score > -math.inf else HOPELESS
        known = drops.setdefault(probe.name, {situation.sizes[probe.name]: 0.0})
        known.update(dict.fromkeys(probe.changes.values(), drop))
    return drops


def _values(situation: Situation, group: str, drops: Drops, trust: float) -> dict[int, float]:
    """What each size is worth that the group may take; less the more is predicted to be lost."""
    present = situation.sizes[group]
    share = sorted(drops, reverse=True)[1] / present
    smaller = situation.network.groups[group].smaller(present, situation.multiple)
    least = min(present * share**trust, max(smaller))
    return {
        size: -predicted(drops, size) - EVENLY * (1 - size / present) ** 2
        for size in (present, *smaller)
        if size >= least
    }


def predicted(drops: Drops, size: int) -> float:
    """How far the score falls at a size: straight lines through what is known, never falling back.

    Args:
        drops: what is known, at the present size too; a smaller size counts as no better than a
            larger one.
        size: below all that is known, the last line goes on, or the line from the present size
            where that is steeper.
    """
    known: list[tuple[int, float]] = []
    for at in sorted(drops, reverse=True):
        known.append((at, max(drops[at], known[-1][1] if known else -math.inf)))
    for (above, less), (below, more) in pairwise(known):
        if size >= below:
            return less + (more - less) * (above - size) / (above - below)
    (first, start), (before, less), (last, more) = known[0], known[-2], known[-1]
    slope = max((more - less) / (before - last), (more - start) / (first - last))
    return more + slope * (last - size)
