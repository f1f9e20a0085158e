"""What is asked of a data set, beside its name."""

from dataclasses import dataclass, field
from pathlib import Path

from netadapt.data.views import Preset


@dataclass(frozen=True, slots=True)
class Reading:
    """Which part of a data set is read, and how.

    Attributes:
        limit: images to use of those to learn from, the holdout included, and as many of those to
            test on: a share if not above 1, otherwise the most; each class keeps its proportion.
            None for all.
        preset: what the weights expect that the model begins with; None for the usual.
        workers: processes that read images from disk and examples of a user's own data set. None
            takes what suits; it decides nothing of the result.
    """

    limit: float | int | None = None
    preset: Preset | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The arguments of :func:`netadapt.data.load` beside the name."""

    input_size: int | None = None
    holdout: float | int | None = None
    seed: int = 0
    root: Path = Path("data")
    reading: Reading = field(default_factory=Reading)
