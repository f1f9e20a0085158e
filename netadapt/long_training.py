"""Training at length in a run: of the unpruned network, and of what a search has ended with."""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from torch import nn

from netadapt import training
from netadapt.assembly import Assembly
from netadapt.config import RunConfig
from netadapt.export.analog import training_on
from netadapt.models import save_weights
from netadapt.runs import Phase, Run
from netadapt.runs.progress import TrainingNews
from netadapt.search.fleet import Fleet, scored_as
from netadapt.units import format_metric


@dataclass(frozen=True, slots=True)
class _Past:
    """A network before it was trained further."""

    accuracy: float
    state: Mapping[str, Any]

    @classmethod
    def of(cls, model: nn.Module, accuracy: float) -> "_Past":
        """What it is now, copied."""
        return cls(accuracy, copy.deepcopy(model.state_dict()))


@dataclass(frozen=True, slots=True)
class LongTraining:
    """Trains networks of a run; each keeps its place, so that a run that is cut off goes on there.

    Attributes:
        config: all settings.
        subject: the unpruned model with its task.
        fleet: the devices.
        run: the run folder.
    """

    config: RunConfig
    subject: Assembly
    fleet: Fleet
    run: Run

    def __call__(
        self, model: nn.Module, epochs: float, *, seed: int, what: str, name: str
    ) -> Phase:
        """Train a model in place, with the run's recipe, and write its weights.

        A network that was pruned for a device is trained as it will compute there, and learns from
        the unpruned one if the recipe says so. Where the holdout images say that it was better
        before, it stays as it was.
        """
        place = training.Checkpoint(
            self.run.weights_path(name).with_suffix(".partial"),
            self.config.execution.checkpoint_every_s,
        )
        original, tuning = self.subject.module, self.config.tuning
        pruned = model is not original
        course = training.Course(
            tuning.long if pruned else tuning.recipe,
            epochs=epochs,
            seed=seed,
            trainer=self.config.execution.trainer,
            checkpoint=place,
        )
        taught = pruned and training.distils(course.recipe, original, self.subject.data)
        teacher = original if taught else None
        there = training_on(scored_as(self.fleet.devices), model, course.recipe, seed)
        news = TrainingNews(self.run.notify, what, course.recipe.batch_size)
        with self.fleet.watch.lap() as lap:
            past = _Past.of(model, self._holdout(model)) if pruned else None
            with there if pruned else nullcontext():
                result = training.fine_tune(
                    model,
                    self.subject.data,
                    course,
                    teacher=teacher,
                    progress=news.step,
                    glance=news.glance,
                )
            if past is not None:
                self._keep_better(model, past)
        save_weights(model, self.run.weights_path(name))
        place.discard()
        seen, holdout = result.images_seen, len(self.subject.data.holdout)
        scored = (seen if teacher else 0) + (2 * holdout if pruned else 0)
        return lap.phase("training", seen, scored=scored + result.scored)

    def _holdout(self, model: nn.Module) -> float:
        trainer = self.config.execution.trainer
        return training.accuracy(model, self.subject.data, "holdout", trainer=trainer)

    def _keep_better(self, model: nn.Module, past: _Past) -> None:
        """Undo a fine-tune that did harm, as one too short for its learning rate does."""
        accuracy = self._holdout(model)
        if accuracy >= past.accuracy:
            return
        model.load_state_dict(past.state)
        before, after = (
            format_metric(value, share=self.subject.data.metric_is_share)
            for value in (past.accuracy, accuracy)
        )
        self.run.warn(
            f"The long fine-tune ended at {after} on holdout images, from {before} before it, so "
            "that the weights before it are kept; a lower learning rate or more epochs may help."
        )
