"""Training, in a plain loop.

Inputs are laid out channels-last, which makes a step up to four times faster on a CPU. On the CPU,
the same seed and number of threads give the same weights, bit for bit.
"""

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.config import Recipe
from netadapt.data.batches import skipped
from netadapt.data.task import Batch, Task
from netadapt.errors import TrainingError, UsageError
from netadapt.runs.progress import Glance
from netadapt.training.accumulation import backward
from netadapt.training.averaging import Average
from netadapt.training.batchnorm import BATCH_NORMS
from netadapt.training.checkpoint import Checkpoint, Place, fingerprint, restore_state, state_of
from netadapt.training.distillation import Lesson, lessons
from netadapt.training.glances import Glances
from netadapt.training.placement import arranged, moved, open_trainer, seeded
from netadapt.training.team import SOLO, Apart, Net, Team, connected

Progress = Callable[[int, int, float], None]
"""Called as ``(steps done, steps in all, last loss)``."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training did.

    Attributes:
        losses: of each step.
        images_seen: images in all steps together.
        seconds: elapsed time.
        resumed_at: how many of the images were seen before, where it went on from a checkpoint.
        scored: holdout images that it was looked at with.
    """

    losses: tuple[float, ...]
    images_seen: int
    seconds: float
    resumed_at: int = 0
    scored: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """One training: how, for how long, from which seed, and where.

    Attributes:
        recipe: how to train.
        steps: number of steps; or give epochs.
        epochs: passes over the training split; or give steps.
        seed: of the order of images, augmentation and dropout.
        trainer: see :func:`open_trainer`.
        until: stop after so many steps of these, with the place kept in the checkpoint; None for
            all of them.
        checkpoint: where its place is kept; the same course goes on from there, and ends with the
            same bits on a CPU. Of several processes the first alone keeps and reads it.
        team: the processes that train together; any number of them goes on from a checkpoint.
    """

    recipe: Recipe
    steps: int | None = None
    epochs: float | None = None
    seed: int = 0
    trainer: str = "cpu"
    until: int | None = None
    checkpoint: Checkpoint | None = None
    team: Team = SOLO


def fine_tune(
    model: nn.Module,
    task: Task,
    course: Course,
    *,
    teacher: nn.Module | None = None,
    progress: Progress | None = None,
    glance: Callable[[Glance], None] | None = None,
) -> TrainResult:
    """Train the model on the task's training split, in place.

    Parameters that require no gradient stay as they are, and so do the statistics of a batch
    normalization whose parameters are all of that kind. Afterwards the model is on the device, in
    the layout and in the mode that it was found in, and so is the teacher; the global random state
    is left as it was. A course that is done to its end leaves the average of the weights, where its
    recipe averages them.

    Args:
        model: changed in place.
        task: gives the images and the loss.
        course: how, for how long, and where.
        teacher: another network, whose outputs for the same images the model learns from too, as
            the recipe weighs them; it is not changed. Each image goes through it once.
        progress: called after each step on the CPU, and now and then on a GPU.
        glance: called now and then with what the network scores on holdout images. They are few
            beside those of training, and decide nothing: the result has the same bits without.

    Raises:
        TrainingError: the loss or a weight is no finite number.
        UsageError: nothing can be trained, the settings contradict each other, or the teacher
            does not fit.
        DeviceError: the device is not available.
        RunError: the checkpoint is damaged, or of another training.
    """
    course = replace(course, recipe=course.recipe.suited(task.pixels))
    recipe, team = course.recipe, course.team
    if teacher is model:
        raise UsageError("A model cannot be its own teacher; give another, or none.")
    total = _step_count(task, course)
    team.agree(f"{total} steps, {len(task.train)} images, seed {course.seed}, {recipe}")
    stop = min(total, course.until or total)
    started = time.perf_counter()
    pending: list[Tensor] = []
    optimizer = _optimizer(model, recipe)
    with (
        arranged(model, open_trainer(course.trainer)) as (target, dtype),
        lessons(task, recipe, teacher, target) as lesson,
        seeded(course.seed, target),
        connected(model, team, target) as (net, apart),
    ):
        _train_mode(model)
        average = Average(model, recipe.ema)
        learner = _Learner(net, apart, lesson, optimizer, average, course, total, (target, dtype))
        told = _told(task, course, total, model, teacher)
        keeper = _Keeper(course.checkpoint, told, model, optimizer, average, target)
        place, losses = keeper.resumed(team)
        before, resumed_at = place.seconds, place.seen
        looks = Glances(
            model, task, average, glance, (stop - place.step) * recipe.batch_size / team.rank.size,
            recipe.batch_size, (target, dtype), recipe.bf16,
        )  # fmt: skip
        # Reading a loss waits for the GPU, so there they are read some at a time.
        patience = 1 if target.type == "cpu" else 20
        rest = itertools.islice(_endless(task, course, place), max(0, stop - place.step))
        for epoch, number, images, batch in rest:
            pending.append(learner.step(place.step, images, batch))
            seconds = before + time.perf_counter() - started - looks.seconds
            place = Place(place.step + 1, epoch, number + 1, place.seen + images, seconds)
            if len(pending) >= patience or place.step == stop:
                losses += team.mean(torch.stack(pending).float()).tolist()
                pending.clear()
                _check_finite(losses, recipe, total, patience)
                keeper.keep(place, losses, paused=place.step == stop < total)
                if place.step < stop:
                    looks.look(place.step, (place.seen - resumed_at) / team.rank.size)
                if progress is not None:
                    progress(place.step, total, losses[-1])
        if place.step == total:
            average.apply()
        if not all(bool(torch.isfinite(p).all()) for p in learner.parameters):
            raise _diverged(recipe, total - 1, total, "a weight is not a finite number")
    return TrainResult(tuple(losses), place.seen, place.seconds, resumed_at, looks.scored)


@dataclass(frozen=True, slots=True)
class _Learner:
    """Takes the steps of a training, so many in all."""

    net: Net
    apart: Apart
    lesson: Lesson
    optimizer: torch.optim.Optimizer
    average: Average
    course: Course
    total: int
    place: tuple[torch.device, torch.dtype]

    @property
    def parameters(self) -> list[Tensor]:
        """What is trained."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def step(self, number: int, images: int, batch: Batch) -> Tensor:
        """Learn from this process's share of so many images; what its loss counts for the team."""
        recipe, team, (device, dtype) = self.course.recipe, self.course.team, self.place
        batch = moved(batch, device, dtype)
        scale = team.scale(len(batch[0]), images)

        def loss_on(inputs: Any, targets: Any) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bf16):
                return scale * self.lesson(inputs, self.net(inputs), targets)

        for group in self.optimizer.param_groups:
            group["lr"] = recipe.lr_at(number, self.total)
        self.optimizer.zero_grad(set_to_none=True)
        team.reseed(self.course.seed, number, device)
        loss = backward(loss_on, batch, team.parts(recipe.accumulate, images), self.apart)
        if recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, recipe.clip_norm)
        self.optimizer.step()
        self.average.update(number)
        return loss


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Writes and reads the checkpoint of a training, if it has one."""

    checkpoint: Checkpoint | None
    course: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: Average
    device: torch.device

    def resumed(self, team: Team) -> tuple[Place, list[float]]:
        """Where to begin, with all that is trained as it was there, as the first process knows."""
        kept = self.checkpoint
        written = team.told(lambda: kept.read(self.course) if kept else None)
        if written is None:
            return Place(), []
        place, losses, state = written
        restore_state(state, self.model, self.optimizer, self.device)
        self.average.restore(state)
        return place, losses

    def keep(self, place: Place, losses: list[float], *, paused: bool) -> None:
        """Write the present state, if it is time to."""
        if self.checkpoint and (paused or self.checkpoint.due):
            state = state_of(self.model, self.optimizer, self.device) | self.average.state()
            self.checkpoint.write(self.course, place, losses, state)


def _told(
    task: Task, course: Course, total: int, model: nn.Module, teacher: nn.Module | None
) -> str:
    """All that decides the course of a training; where it runs does not."""
    if course.checkpoint is None:
        return ""
    told = {
        "recipe": asdict(course.recipe), "steps": total, "seed": course.seed,
        "data": task.train.fingerprint(), "start": fingerprint(model),
        "teacher": fingerprint(teacher) if teacher else "",
    }  # fmt: skip
    return json.dumps(told, sort_keys=True)


def _step_count(task: Task, course: Course) -> int:
    recipe, steps = course.recipe, course.steps
    if (steps is None) == (course.epochs is None):
        raise UsageError("Training needs a number of steps or of epochs, and not both.")
    if steps is None:
        assert course.epochs is not None
        steps = max(1, round(course.epochs * max(1, len(task.train) // recipe.batch_size)))
    if steps < 1 or recipe.batch_size < 1 or recipe.peak_lr <= 0:
        raise UsageError(
            f"Training cannot run {steps} steps of {recipe.batch_size} images at learning rate "
            f"{recipe.peak_lr:g}; all three must be above zero."
        )
    course.team.check(min(recipe.batch_size, len(task.train)))
    return steps


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise UsageError(
            "The model has no parameter that requires a gradient, so there is nothing to train; "
            "call model.requires_grad_(True)."
        )
    return torch.optim.SGD(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=recipe.peak_lr,
        momentum=recipe.momentum,
        nesterov=recipe.momentum > 0,
        fused=True,  # on a CPU a third of the time of the default
    )


def _train_mode(model: nn.Module) -> None:
    """Training mode, but for batch normalizations that are frozen."""
    model.train()
    for module in model.modules():
        own = [*module.parameters(recurse=False)] if isinstance(module, BATCH_NORMS) else []
        if own and not any(p.requires_grad for p in own):
            module.eval()


def _endless(task: Task, course: Course, place: Place) -> Iterator[tuple[int, int, int, Batch]]:
    """Epoch, number within it, images of the whole batch, and this process's share of it."""
    first, recipe = place.batch, course.recipe
    whole = min(recipe.batch_size, len(task.train))
    for epoch in itertools.count(place.epoch):
        batches = task.batches(
            "train",
            batch_size=recipe.batch_size,
            seed=course.seed,
            epoch=epoch,
            shuffle=True,
            augment=recipe.augment,
        )
        shares = course.team.shares(skipped(batches, first), whole)
        for number, (images, batch) in enumerate(shares, first):
            yield epoch, number, images, batch
        first = 0


def _check_finite(losses: list[float], recipe: Recipe, steps: int, last: int) -> None:
    for step in range(max(0, len(losses) - last), len(losses)):
        if not math.isfinite(losses[step]):
            raise _diverged(recipe, step, steps, f"the loss is {losses[step]}")


def _diverged(recipe: Recipe, step: int, steps: int, what: str) -> TrainingError:
    lr = recipe.lr_at(step, steps)
    remedies = [f"a learning rate such as {recipe.peak_lr / 10:g}"]
    remedies += ["clipped gradients"] if recipe.clip_norm is None else []
    remedies += ["float32 instead of bfloat16"] if recipe.bf16 else []
    return TrainingError(
        f"Training diverged at step {step + 1} of {steps}: {what} (learning rate {lr:.3g}, "
        f"batches of {recipe.batch_size}); try {', or '.join(remedies)}."
    )
