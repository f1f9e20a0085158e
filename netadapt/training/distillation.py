"""Distillation: a network learns from what another says of the same images, beside their labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netadapt.config import Recipe
from netadapt.data.task import Loss, Task, cross_entropy, logits
from netadapt.errors import TrainingError, UsageError
from netadapt.training.placement import arranged, moved

Lesson = Callable[[Any, Any, Any], Tensor]
"""``(inputs, outputs, targets)`` of one batch -> what its step minimizes."""


def loss_of(task: Task, recipe: Recipe) -> Loss:
    """The task's loss, with the label smoothing of the recipe.

    Raises:
        UsageError: the task's loss is not one that labels can be smoothed for.
    """
    if not recipe.label_smoothing:
        return task.loss
    if task.loss is not cross_entropy:
        raise UsageError(
            f"Task {task.name!r} has a loss of its own, so label smoothing cannot apply; set it "
            "to zero."
        )
    return partial(cross_entropy, label_smoothing=recipe.label_smoothing)


def obstacle(model: nn.Module, task: Task) -> str:
    """Why no network can learn from this one's outputs, as a clause; empty if one can.

    It can where the loss is cross entropy and the outputs, in evaluation mode, are one tensor of
    logits [N, classes].
    """
    if task.loss is not cross_entropy:
        return f"task {task.name!r} has a loss of its own"
    with arranged(model, torch.device("cpu")) as (device, dtype), torch.inference_mode():
        model.eval()
        inputs, _ = moved(next(iter(task.batches("holdout", batch_size=2))), device, dtype)
        outputs = model(inputs)
    if _are_logits(outputs):
        return ""
    return f"the outputs for task {task.name!r} are {_shown(outputs)}, and not logits [N, classes]"


def distils(recipe: Recipe, model: nn.Module, task: Task) -> bool:
    """Whether fine-tunes by a recipe have the unpruned network for a teacher.

    Args:
        recipe: of which ``distill`` may leave it to the task.
        model: the unpruned network; it stays as it was.
        task: what it was trained for.

    Raises:
        UsageError: the recipe asks for what the task's loss or outputs do not allow.
    """
    loss_of(task, recipe)
    if recipe.distill is False:
        return False
    reason = obstacle(model, task)
    if reason and recipe.distill:
        raise UsageError(
            f"Distillation cannot apply, because {reason}; switch it off, or leave it to the task."
        )
    return not reason


def divergence(outputs: Tensor, told: Tensor, temperature: float) -> Tensor:
    """How far softened predictions are from a teacher's: T^2 KL(teacher || student), in nats.

    Both are softmax(logits / T), and the mean is over examples. Times T^2, its gradient is about as
    large at every temperature (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2).

    Args:
        outputs: the student's logits [N, classes].
        told: the teacher's [N, classes].
        temperature: T; above 1 the lesser classes count for more.
    """
    kind = torch.promote_types(outputs.dtype, torch.float32)
    student, teacher = (
        F.log_softmax(values.to(kind) / temperature, 1) for values in (outputs, told)
    )
    distance = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return temperature**2 * distance


@contextmanager
def lessons(
    task: Task, recipe: Recipe, teacher: nn.Module | None, device: torch.device
) -> Iterator[Lesson]:
    """Give what a training minimizes; the teacher is on the device meanwhile, in evaluation mode.

    Raises:
        UsageError: the settings contradict the task.
    """
    loss = loss_of(task, recipe)
    if teacher is None:
        yield lambda inputs, outputs, targets: loss(outputs, targets)
        return
    if task.loss is not cross_entropy:
        raise UsageError(
            f"Task {task.name!r} has a loss of its own, so a teacher cannot apply; train without."
        )
    with arranged(teacher, device) as (_, dtype):
        yield _Taught(loss, recipe, teacher.eval(), device, dtype)


@dataclass
class _Taught:
    """The loss of the labels and that of the teacher's outputs, in the recipe's proportion."""

    loss: Loss
    recipe: Recipe
    teacher: nn.Module
    device: torch.device
    dtype: torch.dtype
    _judged: bool = field(default=False, init=False)

    def __call__(self, inputs: Any, outputs: Any, targets: Any) -> Tensor:
        with torch.inference_mode():
            given = self.teacher(moved((inputs, ()), self.device, self.dtype)[0])
        student = logits(outputs)
        if not self._judged:
            _check_fit(student, given)
            self._judged = True
        told = given.clone()  # the gradient may remember it, which it may not of an inference
        taught = divergence(student, told, self.recipe.temperature)
        weight = self.recipe.distill_weight
        return (1 - weight) * self.loss(outputs, targets) + weight * taught


def _check_fit(student: Any, given: Any) -> None:
    """Refuse a teacher that answers another question, or none, at the first batch."""
    if not _are_logits(given) or not _are_logits(student) or given.shape != student.shape:
        raise UsageError(
            f"The teacher does not fit: it gives {_shown(given)} where the model gives "
            f"{_shown(student)}; both must give logits [N, classes] of the same classes."
        )
    if not bool(torch.isfinite(given).all()):
        raise TrainingError(
            "The teacher's outputs for the first batch are no finite numbers, so that nothing can "
            "be learned from them; look at its weights, or train without it."
        )


def _are_logits(outputs: Any) -> bool:
    return isinstance(outputs, Tensor) and outputs.is_floating_point() and outputs.ndim == 2


def _shown(outputs: Any) -> str:
    """What came out of a model, in few words."""
    if isinstance(outputs, Tensor):
        kind = str(outputs.dtype).removeprefix("torch.")
        return f"a tensor {list(outputs.shape)} of {kind}"
    return f"a {type(outputs).__name__}"
