"""Random widths within the targets: the control that every search has to beat."""

from random import Random

from netadapt.search.strategies.proposal import Proposal
from netadapt.search.strategies.reaching import along
from netadapt.search.strategies.situation import Situation

DRAWS = 8
"""Networks drawn in each iteration."""

SPREAD = 4.0
"""A group shrinks at most this many times as fast as the average, and at least a 4th as fast."""


def propose(situation: Situation) -> list[Proposal]:
    """Draw how fast each group shrinks, and shrink all until every target is met, several times.

    The loop screens the draws and fine-tunes the best few, which is the search of EagleEye (Li et
    al., ECCV 2020) and does well beside criteria that are far more clever ("Revisiting random
    channel pruning", Li et al., CVPR 2022). The draws depend on the seed of the run and on the
    iteration alone.
    """
    draws = Random(f"{situation.seed} {situation.iteration}")
    found: dict[tuple[tuple[str, int], ...], Proposal] = {}
    for _ in range(DRAWS):
        speeds = {group: SPREAD ** draws.uniform(-1, 1) for group in situation.sizes}

        def kept(far: float, speeds: dict[str, float] = speeds) -> dict[str, int]:
            return {g: int(n * (1 - far) ** speeds[g]) for g, n in situation.sizes.items()}

        proposal = along(situation, "random", kept)
        if proposal:
            found.setdefault(tuple(sorted(proposal.changes.items())), proposal)
    return list(found.values())
