"""Rungs: how the candidates of an iteration are thinned out while they are trained.

All proposals are screened without training; the best few of them are fine-tuned for a part of the
steps, the best of these for more, and those of the last rung to the end. A training goes on where
the rung before left it, so that who reaches the end was trained as if there had been one rung
(successive halving, Jamieson and Talwalkar, AISTATS 2016, within each iteration of NetAdapt).
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netadapt.errors import UsageError
from netadapt.units import parse_share


@dataclass(frozen=True, slots=True)
class Rung:
    """One round of training.

    Attributes:
        keep: how many candidates are in it: the best of those before.
        share: part of the short fine-tune's steps that they have done after it, all rounds before
            included.
    """

    keep: int
    share: float = 1.0

    def __str__(self) -> str:
        return f"{self.keep}:{100 * self.share:g}%"

    def steps(self, total: int) -> int:
        """Optimizer steps done after it, of so many in all; at least one."""
        return max(1, round(self.share * total))


RUNGS = (Rung(4, 0.1), Rung(2))
"""By default: about a third in training of what three full fine-tunes cost less, and one more
candidate than these that training may speak for. After a tenth of the steps batch normalization has
settled and the order of candidates is mostly that of the end; two then go on, because where the
first two are close a tenth does not tell them apart."""

RUNGS_OF: Mapping[str, tuple[Rung, ...]] = {"several": (Rung(4, 0.1), Rung(1))}
"""By default, of strategies whose proposals are so much alike that whichever leads after a tenth of
the steps ends about as well: on CIFAR-10 two finalists cost half as much again for nothing."""


def usual_rungs(strategy: str) -> tuple[Rung, ...]:
    """The rungs of a strategy where none are asked for."""
    return RUNGS_OF.get(strategy, RUNGS)


def parse_rung(text: str) -> Rung:
    """Read ``4:10%``: four candidates, up to a tenth of the steps.

    Raises:
        UsageError: it is not of that form.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*:\s*(\S+)\s*", text)
    if match is None:
        raise UsageError(
            f"{text!r} is no rung; write candidates and the share of the steps, such as 4:10%."
        )
    return Rung(int(match[1]), parse_share(match[2], "the share of a rung"))


def faults_of(rungs: Sequence[Rung]) -> Iterator[str]:
    """What is wrong with an order of rungs, as the rest of a sentence."""
    for rung in rungs:
        if rung.keep < 1 or not 0 < rung.share <= 1:
            yield f"has {rung}; a rung needs a candidate or more, and a share above 0% up to 100%."
            return
    for before, after in itertools.pairwise(rungs):
        if after.keep > before.keep or after.share <= before.share:
            yield (
                f"has {after} after {before}; each rung must have no more candidates than the one "
                "before, and a larger share of the steps."
            )
            return
    if rungs and rungs[-1].share != 1:
        yield f"ends with {rungs[-1]}; the last rung must have 100% of the steps."


def applicable(rungs: Sequence[Rung], proposals: int) -> dict[int, Rung]:
    """The rungs that so many proposals take, by their number from 1.

    None has more candidates than there are, and one that thins nothing out for the next is left
    out. Without rungs, every proposal is fine-tuned to the end, as the paper does.
    """
    numbered = dict(enumerate(rungs or (Rung(proposals),), start=1))
    fitting = {n: Rung(min(rung.keep, proposals), rung.share) for n, rung in numbered.items()}
    return {
        n: rung
        for n, rung in fitting.items()
        if n + 1 not in fitting or fitting[n + 1].keep < rung.keep
    }


def trials_of(rungs: Mapping[int, Rung], proposals: int) -> int:
    """How many trials so many proposals take, those of screening included."""
    keeps = [rung.keep for rung in rungs.values()]
    return sum(keeps) + (proposals if keeps[0] < proposals else 0)
