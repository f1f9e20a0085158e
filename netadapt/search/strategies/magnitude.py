"""Global magnitude pruning: one threshold for the units of all groups."""

from collections import Counter

from netadapt.network import shrinkable
from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.reaching import along
from netadapt.search.strategies.situation import Situation


def propose(situation: Situation) -> list[Proposal]:
    """Drop the least important units of the whole network until every target is met.

    Scores of different groups are of different scale, and are divided by the mean of their group
    (as Torch-Pruning's global pruning does; Fang et al., "DepGraph", CVPR 2023) unless the
    importance is comparable as it is. Costs decide how much is dropped, and not where. At most one
    proposal, and nothing is screened.
    """
    units = sorted(
        unit for group in shrinkable(situation.network) for unit in _units(situation, group.id)
    )

    def kept(far: float) -> dict[str, int]:
        dropped = Counter(group for _, _, group in units[: int(far * len(units))])
        return {group: size - dropped[group] for group, size in situation.sizes.items()}

    proposal = along(situation, "magnitude", kept)
    return [proposal] if proposal else []


def _units(situation: Situation, group: str) -> list[tuple[float, float, str]]:
    """Score, rank within the group (0 to 1, so that equals go in turn) and group of each unit."""
    scores = sorted(situation.scores(group))
    mean = sum(scores) / len(scores)
    scale = 1.0 if situation.comparable or mean <= 0 else mean
    return [(score / scale, rank / len(scores), group) for rank, score in enumerate(scores)]
