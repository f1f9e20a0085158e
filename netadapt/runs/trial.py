"""What is tried: a candidate network, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netadapt.config import Recipe

Keep = Mapping[str, tuple[int, ...]]
"""Units that stay of each group that shrank, as indices of the unpruned network."""


@dataclass(frozen=True, slots=True)
class Job:
    """What all trials of a run have in common.

    Attributes:
        model: the architecture, as :meth:`netadapt.models.ModelSpec.to_json` writes it.
        data: name of the data set, see :func:`netadapt.data.load`.
        input_size: height and width of the images in pixels; None for the data set's own.
        importance: what ranks the units of a group, by name.
        repair: whether layers make up for the channels that they no longer read.
        short: how a candidate is fine-tuned.
        steps: for how many optimizer steps, over all rungs.
        screen_batches: training batches that re-estimate batch normalization at screening.
        seed: of the splits, and what seeds of trials are derived from.
        trainer: where to train, such as ``cpu`` or ``cuda:1``.
        device: what fine-tuned candidates are scored as computing on, as
            :meth:`netadapt.platforms.measurement.DeviceInfo.to_json` writes it.
        teacher: path of the unpruned network's weights, if candidates learn from its outputs too;
            empty if from labels alone.
        limit: part of the images to use; None for all.
        seen_by: weights that the run began with, whose preset says how images are prepared.
        data_workers: processes that read images; None for as many as suit.
        threads: that compute a trial on a CPU, wherever that is, because their number decides the
            last bits; 0 for as many as the process has.
        images: fingerprint of the images, so that a worker refuses others of the same name; empty
            where it is not known.
    """

    model: Mapping[str, Any]
    data: str
    input_size: int | None
    importance: str
    repair: bool
    short: Recipe
    steps: int
    screen_batches: int
    seed: int
    trainer: str
    device: Mapping[str, Any]
    teacher: str = ""
    limit: float | int | None = None
    seen_by: str | None = None
    data_workers: int | None = None
    threads: int = 0
    images: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """All that is needed to build, train and score one candidate, in any process.

    Attributes:
        job: what it shares with the others.
        iteration: number of the iteration, from 1.
        index: its place among the proposals of the iteration.
        rung: 0 for screening without training; above it, how often candidates were thinned out.
        name: what shrinks: a group, or the name of the strategy.
        changes: the new size of each group that shrinks, in units.
        keep: what the network that it starts from keeps of the unpruned one.
        weights: path of that network's weights.
        out: path to write the candidate's weights to; empty to write none.
        until: optimizer steps of the short fine-tune that are done after this rung, those of the
            rungs before included.
        place: path where the fine-tune keeps its place from rung to rung; empty if one does it all.
        part: ``(start, stop)`` of the holdout images to score, in the order in which races see
            them, see :mod:`netadapt.search.race`; None for all of them.
    """

    job: Job
    iteration: int
    index: int
    rung: int
    name: str
    changes: Mapping[str, int]
    keep: Keep
    weights: str
    out: str = ""
    until: int = 0
    place: str = ""
    part: tuple[int, int] | None = None

    @property
    def last(self) -> bool:
        """Whether the short fine-tune is complete after it."""
        return self.rung > 0 and self.until == self.job.steps


@dataclass(frozen=True, slots=True)
class Phase:
    """Time, and energy where a sensor told it, that went into one kind of work.

    Attributes:
        name: ``training``, ``screening``, ``tuning``, ``scoring``, ``measuring`` or ``exporting``.
        seconds: elapsed; of candidates that are tried side by side, each one's share of it.
        images: how many were trained on: a forward and a backward pass each.
        scored: how many only went forward, to be scored, to re-estimate statistics, or through a
            teacher.
        energy_j: drawn by the machine that trains; None where no sensor told it.
        sensor: what was read, such as ``rapl:package-0``; empty without energy.
    """

    name: str
    seconds: float
    images: int = 0
    scored: int = 0
    energy_j: float | None = None
    sensor: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    Attributes:
        index: as in the trial.
        rung: as in the trial.
        accuracy: the task's metric on the holdout images; 0 if it failed. Of a race, the mean over
            the parts that were scored, which is the metric itself if that is a mean over images.
        keep: what the candidate keeps of the unpruned network.
        phases: where the time went.
        failed: why it cannot win, as a sentence; empty if it can.
        loss: the task's loss per image on the same images; None where it is not known.
        images: holdout images that both are of; 0 where all of them were scored at once.
        losses: of a race, the mean loss of each block of those images, in their order: what it
            compares candidates by.
    """

    index: int
    rung: int
    accuracy: float
    keep: Keep
    phases: tuple[Phase, ...] = field(default=())
    failed: str = ""
    loss: float | None = None
    images: int = 0
    losses: tuple[float, ...] = ()
