"""One batch of each split through all that a run will ask of a task and a model, before it begins.

What is wrong with a user's model, images, loss or metric is told within seconds, and not when hours
have been spent on what comes before it.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from netadapt.config import Recipe
from netadapt.data.loading import seeds_apart
from netadapt.data.splits import DatasetSplit
from netadapt.data.task import Batch, SplitName, Task
from netadapt.errors import DataError, MetricError, NetAdaptError
from netadapt.plugins import blamed, own_code
from netadapt.training.accumulation import divided
from netadapt.training.distillation import loss_of
from netadapt.training.placement import arranged, moved, open_trainer, seeded

IMAGES = 8
"""As many show what is wrong, and no more are computed than a laptop does in a moment."""


def rehearse(model: nn.Module, task: Task, recipe: Recipe, *, trainer: str = "cpu") -> None:
    """Try a batch of each split: forward, the loss and its gradient, and the metric.

    The model and the global random state stay as they were.

    Args:
        model: the unpruned model.
        task: images, loss and metric.
        recipe: how it is going to be trained.
        trainer: see :func:`netadapt.training.placement.open_trainer`.

    Raises:
        DataError: something of the task, or the model on it, is not what it should be.
        UsageError: the user's own code failed, and it says where; or the recipe contradicts the
            task, or accumulates gradients of batches that cannot be divided.
    """
    names: tuple[SplitName, ...] = get_args(SplitName)
    batches = {name: _first(task, name, recipe) for name in names}
    for name in names:
        _read_last(task, name)
    device = open_trainer(trainer)
    with _told(f"The model for task {task.name!r}, in being copied,"):
        model = copy.deepcopy(model)
    with arranged(model, device) as (target, dtype), seeded(0, target):
        for name, batch in batches.items():
            with _told(f"A batch of the {name} split of task {task.name!r}, on its way,"):
                batches[name] = moved(batch, target, dtype)
        if recipe.accumulate > 1:
            list(divided(batches["train"], recipe.accumulate))
        _learn(model, replace(task, loss=loss_of(task, recipe)), batches["train"])
        for name in ("holdout", "test"):
            _score(model, task, name, batches[name])


@contextmanager
def _told(what: str) -> Iterator[None]:
    """One sentence of whatever fails within, with the user's line if it is in code of theirs."""
    try:
        with own_code(what, DataError):
            yield
    except NetAdaptError:
        raise
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or blamed(error):
            raise
        said = str(error).strip().split("\n")[0].rstrip(".")
        raise DataError(f"{what} failed: {type(error).__name__}: {said}.") from error


def _first(task: Task, name: SplitName, recipe: Recipe) -> Batch:
    """The first images of a split, as they are learned from or scored on."""
    learn, what = name == "train", f"The {name} split of task {task.name!r}"
    batch: Any = None
    with _told(f"{what}, asked for a batch,"):
        if not len(task.split(name)):
            raise DataError(f"{what} is empty; give it examples.")
        size = min(IMAGES, len(task.split(name)))
        batches = iter(
            task.batches(name, batch_size=size, shuffle=learn, augment=learn and recipe.augment)
        )
        batch = next(batches, None)
    if batch is None:
        raise DataError(f"{what} gave no batch of {size} examples, of {len(task.split(name))}.")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        kind = type(batch).__name__
        raise DataError(f"{what} gave a {kind} as a batch; it must give (inputs, targets).")
    inputs = batch[0]
    if isinstance(inputs, Tensor) and inputs.is_floating_point() and not _finite(inputs):
        raise DataError(f"{what} has inputs that are NaN or infinite; repair or remove them.")
    return batch[0], batch[1]


def _read_last(task: Task, name: SplitName) -> None:
    """Read the last example of a user's data set, which may say that it has more than it has."""
    split, what = task.split(name), f"The {name} split of task {task.name!r}"
    if not isinstance(split, DatasetSplit):
        return
    with _told(f"{what}, asked for its last example,"), seeds_apart():
        try:
            split.dataset[len(split) - 1]
        except IndexError as error:
            raise DataError(
                f"{what} says that it has {len(split)} examples, and has none at {len(split) - 1} "
                f"(IndexError: {error}); its __len__ and __getitem__ must agree."
            ) from error


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _learn(model: nn.Module, task: Task, batch: Batch) -> None:
    """The loss of a batch in training mode, and its gradient."""
    inputs, targets = batch
    model.train()
    with _told(f"The model, given a training batch of task {task.name!r},"):
        outputs = model(inputs)
    what = f"The loss of task {task.name!r}"
    with _told(what):
        loss: Any = task.loss(outputs, targets)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        given = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise DataError(f"{what} gave {given}; it must give a tensor of one number.")
    if not _finite(loss):
        raise DataError(
            f"{what} is {float(loss.detach())} on the first training batch, before any training; "
            "the loss, the targets or the weights that the model begins with are at fault."
        )
    if not loss.requires_grad:
        raise DataError(
            f"{what} has no gradient: compute it from the outputs of the model with torch alone, "
            "and leave parameters to be trained (requires_grad)."
        )
    with _told(f"The gradient of {what[0].lower()}{what[1:]}"):
        loss.backward()  # type: ignore[no-untyped-call]
    if not all(_finite(p.grad) for p in model.parameters() if p.grad is not None):
        raise DataError(f"{what} has gradients that are NaN or infinite on the first batch.")


def _score(model: nn.Module, task: Task, name: SplitName, batch: Batch) -> None:
    """The metric of a batch; some are no number on so few, and are judged on the whole split."""
    inputs, targets = batch
    model.eval()
    what = f"The metric of task {task.name!r}"
    with torch.inference_mode():
        with _told(f"The model, given a {name} batch of task {task.name!r},"):
            outputs = model(inputs)
        with _told(what):
            value: Any = task.metric(iter([(outputs, targets)]))
    with suppress(TypeError, ValueError, RuntimeError):
        if not math.isfinite(float(value)):
            return
    read = as_number(value, task)
    if task.metric_is_share and not -1e-6 <= read <= 1 + 1e-6:
        raise MetricError(
            f"{what} is {read:g}, and is said to be a share of 1; give a number from 0 to 1, or "
            "make the task with metric_is_share=False."
        )


def as_number(value: Any, task: Task) -> float:
    """What a metric gave, as a number.

    Raises:
        MetricError: it is none, or not finite.
    """
    what = f"The metric ({task.metric_name}) of task {task.name!r}"
    try:
        read = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise MetricError(f"{what} gave {value!r:.80}; it must give one number.") from None
    if not math.isfinite(read):
        raise MetricError(f"{what} is {read}; it must be a finite number.")
    return read
