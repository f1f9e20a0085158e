"""A race: candidates are scored on more and more images until it is clear who is among the best.

All see the same images in the same random order, so that what is hard about an image weighs on all
of them alike, and the difference of two is far steadier than either score. After each look, who is
clearly no better than as many others as may go on is out, and is scored no further.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 10
"""Images in a block: losses are kept as the mean of each, which is all that the test needs."""

_BATCHES = range(130, 261, 10)
_FIRST = 500


@dataclass(frozen=True, slots=True)
class Race:
    """How a race is run.

    Attributes:
        looks: images that each candidate in it has seen by each look; the last is all of them.
        error: chance that at some look one of the truly best, by the mean loss over all images of
            the last look, is out although it is better by more than ``slack``.
        slack: differences up to this share of the lowest mean loss do not matter: of two that are
            so close, either may go on (the indifference zone of Bechhofer, Annals of Mathematical
            Statistics 25, 1954).
    """

    looks: tuple[int, ...]
    error: float = 0.05
    slack: float = 0.03

    def survivors(self, losses: Mapping[int, Sequence[float]], field: int, keep: int) -> list[int]:
        """Who goes on after a look.

        From the worst to the best, a candidate is out if ``keep`` or more of those still in are no
        worse than it, but for the slack, by a paired, one-sided t-test. The errors of all tests
        that could put out one of the ``keep`` best, at any look, add up to ``error`` (Bonferroni).
        Images are drawn without replacement from those of the last look, so the variance of a mean
        difference is ``s² / n`` times the part that is still unseen (Cochran, Sampling Techniques,
        1977, section 2.6).

        Args:
            losses: of each candidate in the race, the mean of each block of images seen so far; the
                same blocks for all. Nobody is out as long as they are not known of all.
            field: how many candidates there were at the start.
            keep: how many may go on in the end.

        Returns:
            The candidates that are not out, as they came; never fewer than ``keep``, unless fewer
            were in the race.
        """
        names = list(losses)
        seen = min(map(len, losses.values()), default=0)
        if len(names) <= keep or seen < 2 or any(len(of) > seen for of in losses.values()):
            return names
        # A block is ten images, but the last of a batch: who counts blocks errs by less than one.
        unseen = max(0.0, 1 - seen * BLOCK / self.looks[-1])
        bar = _quantile(self.error / tests_of(field, keep) / max(1, len(self.looks) - 1), seen - 1)
        values = np.array(
            [losses[name] for name in names], dtype=np.float64
        )  # [candidates, blocks]
        means = values.mean(axis=1)
        slack = self.slack * abs(means.min())
        left = np.full(len(names), True)
        for place in np.argsort(-means, kind="stable"):
            left[place] = False
            behind = values[place] - values[left]
            spread = np.sqrt(behind.var(axis=1, ddof=1) / seen * unseen)
            no_worse = behind.mean(axis=1) + slack > bar * spread
            left[place] = no_worse.sum() < keep
        return [name for name, stays in zip(names, left, strict=True) if stays]


def tests_of(field: int, keep: int) -> int:
    """Pairs of one of the ``keep`` best and one that is truly worse: those tests that may err.

    The best has ``field - 1`` that are worse, the next one less, and so on.
    """
    return sum(field - rank for rank in range(1, keep + 1))


def _quantile(tail: float, freedom: int) -> float:
    """What Student's t exceeds with so small a chance."""
    from scipy.special import stdtrit

    return -float(stdtrit(freedom, tail))


def batch_size(images: int) -> int:
    """Images at a time in a race over so many: a multiple of the block that wastes the fewest.

    A split in random order leaves out a last batch that is not full.
    """
    if images <= _BATCHES[-1]:
        return max(1, images)
    return min(_BATCHES, key=lambda size: (images % size, -size))


def looks(images: int, first: int = _FIRST) -> tuple[int, ...]:
    """How many images have been seen at each look: about ``first``, then twice as many each time.

    Args:
        images: in the holdout.
        first: at the first look; rounded up to whole batches.
    """
    size = batch_size(images)
    batches = max(1, images // size)
    begin = math.ceil(first / size)
    doubled = itertools.takewhile(lambda n: n < batches, (begin << i for i in itertools.count()))
    return (*(n * size for n in doubled), batches * size)
