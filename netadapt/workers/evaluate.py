"""Build, train and score one candidate, wherever that happens.

A trial says all that is needed by names and paths, so that any process on any machine that sees
the files can try it; nothing of the run's lock, links or journal is touched.
"""

import math
import platform
import statistics
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from netadapt import data, training
from netadapt.errors import DataError, MetricError, TrainingError
from netadapt.export.analog import score_on, training_on
from netadapt.export.deployment import calibration_images, scored_model
from netadapt.models import ModelSpec, restore, save_weights
from netadapt.models.presets import preset_of
from netadapt.network import Network
from netadapt.platforms.measurement import DeviceInfo
from netadapt.pruning.importance import top
from netadapt.pruning.repair import repair
from netadapt.pruning.surgery import shrink
from netadapt.runs import Job, Keep, Outcome, Progress, Stopwatch, Trial
from netadapt.runs.progress import TrainingNews, throttled
from netadapt.search.race import BLOCK
from netadapt.tracing import trace
from netadapt.training.samples import Samples
from netadapt.workers.memory import Memory
from netadapt.workers.parts import Parts
from netadapt.workers.scoring import Scoring

Kept = dict[str, tuple[int, ...]]
"""Units that stay of each group that shrank."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Images trained on, and images that only went forward, to make candidates ready."""

    trained: int = 0
    forward: int = 0

    def __add__(self, other: "_Work") -> "_Work":
        return _Work(self.trained + other.trained, self.forward + other.forward)


def evaluate(trial: Trial) -> Outcome:
    """Try one candidate in a process that has nothing of the run in memory."""
    return Evaluator.of(trial.job)(trial)


@dataclass
class Evaluator:
    """Tries candidates one after the other, and holds what they start from.

    Attributes:
        task: images, loss and metric.
        original: the unpruned architecture; its weights do not matter.
        network: what was traced from it.
        watch: times the trials.
        notify: told how far a trial is.
    """

    task: data.Task
    original: nn.Module
    network: Network
    watch: Stopwatch = field(default_factory=Stopwatch)
    notify: Callable[[Progress], None] = lambda news: None
    _base: tuple[str, Scoring] | None = field(default=None, init=False, repr=False)
    _teacher: tuple[str, nn.Module] | None = field(default=None, init=False, repr=False)
    _looked: _Work = field(default_factory=_Work, init=False, repr=False)
    _memory: Memory = field(default_factory=Memory, init=False, repr=False)

    @classmethod
    def of(cls, job: Job) -> "Evaluator":
        """Load the data and build the architecture that the trials of a run share.

        Raises:
            DataError: the images are not those of the run.
        """
        reading = data.Reading(
            job.limit, preset_of(job.model["name"], job.seen_by), job.data_workers
        )
        task = data.load(job.data, input_size=job.input_size, seed=job.seed, reading=reading)
        if job.images and task.describe()["fingerprint"] != job.images:
            raise DataError(
                f"The images of {job.data} on {platform.node()} are not those of the run; give "
                "every worker the same."
            )
        original = ModelSpec.from_json(job.model).build()
        return cls(task, original, trace(original, task.input_shape))

    def __call__(self, trial: Trial) -> Outcome:
        """Build, train and score a candidate.

        A training that diverges, or a network whose metric is no number, is an outcome that cannot
        win, and no error.
        """
        try:
            return self._tried(trial)
        except (TrainingError, MetricError) as error:
            return Outcome(trial.index, trial.rung, 0.0, {}, failed=f"{trial.name}: {error}")

    def _tried(self, trial: Trial) -> Outcome:
        self.notify(Progress(f"trying {trial.name}", 0, 1))
        with self.watch.lap() as lap:
            model, keep, work = self._prepared(trial)
            score = self._score(model, trial)
        work, self._looked = work + self._looked, _Work()
        phase = "tuning" if trial.rung else "screening"
        spent = lap.phase(phase, work.trained, work.forward + score.images)
        if not math.isfinite(score.accuracy) or not math.isfinite(score.loss or 0.0):
            raise TrainingError("what it computes of the holdout images is no finite number.")
        images, losses = (score.images, score.losses) if trial.part else (0, ())
        return Outcome(
            trial.index, trial.rung, score.accuracy, keep, (spent,),
            loss=score.loss, images=images, losses=losses,
        )  # fmt: skip

    def _prepared(self, trial: Trial) -> tuple[nn.Module, Kept, "_Work"]:
        """The network of a trial, ready to be scored, what it keeps, and what that took.

        What the parts of a race share is done for the first of them.
        """
        model, keep = self.candidate(trial)
        if trial.part and self._memory.recall(trial, model):
            return model, keep, _Work()
        work = self._tuned(model, trial) if trial.rung else self._recalibrated(model, trial)
        if trial.part:
            self._memory.keep(trial, model)
        if trial.out:
            save_weights(model, Path(trial.out))
        return model, keep, work

    def _recalibrated(self, model: nn.Module, trial: Trial) -> "_Work":
        job = trial.job
        scored = training.recalibrate_bn(
            model, self.task, batches=job.screen_batches, seed=job.seed, trainer=job.trainer
        )
        return _Work(forward=scored)

    def _tuned(self, model: nn.Module, trial: Trial) -> "_Work":
        """Fine-tune up to the end of the rung, from where the rung before ended."""
        job = trial.job
        seed = derived_seed(job.seed, trial.iteration, trial.name)
        # Another version of ours may have proposed another network there before it was cut off.
        place = Path(trial.place)
        checkpoint = training.Checkpoint(place, math.inf, yields=True) if trial.place else None
        course = training.Course(
            job.short, job.steps, seed=seed, trainer=job.trainer, until=trial.until,
            checkpoint=checkpoint,
        )  # fmt: skip
        news = TrainingNews(
            throttled(self.notify), f"fine-tune of {trial.name}", job.short.batch_size
        )
        with training_on(DeviceInfo.from_json(job.device), model, job.short, seed):
            teacher = self._taught_by(job.teacher) if job.teacher else None
            result = training.fine_tune(
                model, self.task, course, teacher=teacher, progress=news.step
            )
        trained = result.images_seen - result.resumed_at
        return _Work(trained, forward=trained if teacher else 0)

    def _taught_by(self, weights: str) -> nn.Module:
        """The unpruned network with the weights that it was trained to."""
        if self._teacher is None or self._teacher[0] != weights:
            teacher = shrink(self.original, self.network, {})
            restore(teacher, Path(weights))
            self._teacher = (weights, teacher)
        return self._teacher[1]

    def _score(self, model: nn.Module, trial: Trial) -> training.Score:
        """Once its fine-tune is complete, as the device will compute; before that as it is."""
        job, info = trial.job, DeviceInfo.from_json(trial.job.device)
        scores: list[training.Score] = []

        def metric(scored: nn.Module) -> float:
            images = self._holdout(trial)
            part = training.score(scored, self.task, images, block=BLOCK, trainer=job.trainer)
            scores.append(part)
            return part.accuracy

        if not trial.last:
            metric(model)
            return scores[0]
        if info.precision == "int8":
            model = scored_model(model, self.task.input_shape, info, self._images)
        mean = score_on(info, model, metric).mean
        losses = [score.loss for score in scores if score.loss is not None]
        loss = statistics.fmean(losses) if len(losses) == len(scores) else None
        # Over chips, of which each is scored on all images.
        return training.Score(mean, sum(score.images for score in scores), loss, ())

    def _holdout(self, trial: Trial) -> Iterable[data.Batch]:
        if trial.part is None:
            return self.task.batches("holdout", batch_size=256)
        # Other images come first in each iteration, so that no few of them decide all of a run.
        seed = derived_seed(trial.job.seed, "race", trial.iteration, trial.rung)
        return self._parts.batches(trial.part, seed)

    @cached_property
    def _parts(self) -> Parts:
        return Parts(self.task)

    @cached_property
    def _images(self) -> Any:
        return calibration_images(self.task)

    def candidate(self, trial: Trial) -> tuple[nn.Module, Kept]:
        """The network of a trial before training, and the units of the unpruned one it keeps."""
        base = self.base(trial.job, trial.weights, trial.keep)
        scores = base.scores(trial.job.importance)
        chosen = {group: top(scores[group], size) for group, size in trial.changes.items()}
        keep = dict(trial.keep)
        for group, units in chosen.items():
            present = keep.get(group, tuple(range(self.network.groups[group].size)))
            keep[group] = tuple(present[unit] for unit in units)
        model = shrink(base.model, base.network, chosen)
        if trial.job.repair:
            repair(model, base.model, base.network, chosen, base.moments)
        return model, keep

    def scores(self, job: Job, weights: str, keep: Keep) -> Callable[[str], list[float]]:
        """What gives the importance of each unit of a group, of a network that trials start from.

        Nothing is loaded before it is called.
        """

        def of(group: str) -> list[float]:
            scores = self.base(job, weights, keep).scores(job.importance)
            values: list[float] = scores[group].tolist()
            return values

        return of

    def base(self, job: Job, weights: str, keep: Keep) -> Scoring:
        """The network that trials start from, and what is known of its units."""
        if self._base is None or self._base[0] != weights:
            model = shrink(self.original, self.network, keep)
            restore(model, Path(weights))
            images = Samples(
                self.task, batches=job.screen_batches, seed=job.seed, trainer=job.trainer
            )
            scoring = Scoring(model, self.network.narrow(keep), images, self._count)
            self._base = (weights, scoring)
        return self._base[1]

    def _count(self, trained: int, scored: int) -> None:
        """Images that went through the base; counted with the trial that asked for it or next."""
        self._looked += _Work(trained, scored)


def derived_seed(*parts: object) -> int:
    """A seed that depends on all parts, the same in every process."""
    return zlib.crc32(repr(parts).encode())
