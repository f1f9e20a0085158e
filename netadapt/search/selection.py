"""Which of the candidates is kept."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proposal that was tried, beside the network that it came from.

    Attributes:
        accuracy: of the candidate on the holdout images.
        load: its predicted cost over target, the largest over all bounds.
        before: accuracy of the network that it came from.
        load_before: load of that network.
        loss: of the candidate, per holdout image; None where it is not known.
    """

    accuracy: float
    load: float
    before: float
    load_before: float
    loss: float | None = None


Selection = Callable[[Candidate], float]
"""A candidate's score; the highest wins, the cheapest among equals."""


def highest_accuracy(candidate: Candidate) -> float:
    """Holdout accuracy: the rule of the paper (algorithm 1, "pick highest accuracy")."""
    return candidate.accuracy


def lowest_loss(candidate: Candidate) -> float:
    """The task's loss per holdout image, negated; accuracy where no loss is known.

    A loss moves with every image, an accuracy only with those that change sides, so that fewer
    images tell candidates apart.
    """
    return candidate.accuracy if candidate.loss is None else -candidate.loss


def least_loss_per_saving(candidate: Candidate) -> float:
    """Accuracy lost per fraction of the cost saved, negated.

    The rule of the official code. Where nothing is lost the larger saving wins, which the official
    ratio gets the wrong way round.
    """
    saved = 1 - candidate.load / candidate.load_before
    lost = candidate.before - candidate.accuracy
    if lost <= 0:
        return saved - lost
    return -lost / saved if saved > 0 else float("-inf")


def gain_per_saving(candidate: Candidate) -> float:
    """Change of accuracy over the fraction of the cost saved: what MobileNetV3's search maximizes.

    Searching for MobileNetV3 (Howard et al., 2019, section 4.2, "max dAcc / |dlatency|"), to the
    letter: where accuracy is lost it ranks as :func:`least_loss_per_saving` does, and where it is
    gained the smaller saving wins.
    """
    saved = 1 - candidate.load / candidate.load_before
    return (candidate.accuracy - candidate.before) / saved if saved > 0 else float("-inf")


SELECTIONS: dict[str, Selection] = {
    "accuracy": highest_accuracy,
    "loss": lowest_loss,
    "ratio": least_loss_per_saving,
    "mobilenet_v3": gain_per_saving,
}
