"""How much each iteration has to save.

The paper (Yang et al., ECCV 2018, section 4.1) starts with a reduction of the original cost and
multiplies it by a decay per iteration. The sum of such a series is finite: with the official
defaults (2.5 %, 0.96) it stops at 37.5 % of the original, and a lower budget is never reached. Ours
has a floor, so that every budget is reached after finitely many iterations.
"""

from dataclasses import dataclass

from netadapt.errors import UsageError


def even_target(*, achieved: float, limit: float, left: int) -> float:
    """The cost to get down to, if each of ``left`` iterations takes off the same share.

    Args:
        achieved: measured cost now.
        limit: where the last of them is to arrive.
        left: iterations left, this one included.
    """
    share: float = (limit / achieved) ** (1 / left)
    return achieved * share


@dataclass(frozen=True, slots=True)
class Schedule:
    """Resource reduction per iteration, as fractions of the original cost.

    Attributes:
        initial: reduction of the first iteration; ``None`` chooses 5 %, less where a third of the
            channel groups cannot each reach that comfortably (see
            :func:`netadapt.search.pricing.comfortable_reduction`). Strategies that change many
            groups take larger steps then, see :data:`netadapt.search.strategies.ROUNDS`.
        decay: factor per iteration, in (0, 1].
        floor: least reduction per iteration, as a fraction of the first.
    """

    initial: float | None = None
    decay: float = 0.96
    floor: float = 0.25

    def __post_init__(self) -> None:
        if self.initial is not None and not 0 < self.initial <= 1:
            raise UsageError(f"initial is {self.initial:g}; it must be above 0 and at most 1.")
        if not 0 < self.decay <= 1:
            raise UsageError(f"decay is {self.decay:g}; it must be above 0 and at most 1.")
        if not 0 < self.floor <= 1:
            raise UsageError(f"floor is {self.floor:g}; it must be above 0 and at most 1.")

    def target(self, *, iteration: int, achieved: float, original: float, reach: float) -> float:
        """The cost that iteration ``iteration`` (from 1) has to get down to.

        Args:
            iteration: number of the iteration, from 1.
            achieved: measured cost now; reductions count from here, not from the last target.
            original: measured cost of the unpruned network.
            reach: the comfortable reduction, in the same unit; read only if ``initial`` is None.
        """
        first = (0.05 if self.initial is None else self.initial) * original
        reduction = max(first * self.decay ** (iteration - 1), first * self.floor)
        if self.initial is None:
            reduction = max(min(reduction, reach), 0.005 * original)
        return achieved - reduction
