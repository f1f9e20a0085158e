"""How well a model does: metric and loss, of the same forward pass."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.data.task import Batch, SplitName, Task, cross_entropy
from netadapt.training.placement import arranged, moved, open_trainer
from netadapt.training.rehearsal import as_number


@dataclass(frozen=True, slots=True)
class Score:
    """What a model scored.

    Attributes:
        accuracy: the task's metric.
        images: how many it is of.
        loss: the task's loss per image; None where it is not known.
        losses: the mean loss of each block of images, in their order; empty where it is not known.
    """

    accuracy: float
    images: int
    loss: float | None
    losses: tuple[float, ...]


def accuracy(
    model: nn.Module,
    task: Task,
    split: SplitName = "holdout",
    *,
    batch_size: int = 256,
    trainer: str = "cpu",
    bf16: bool = False,
) -> float:
    """The task's metric over a whole split; the model stays as it was.

    Args:
        model: run in evaluation mode.
        task: gives the images and the metric.
        split: ``holdout`` for choices, ``test`` once at the end.
        batch_size: images at a time.
        trainer: where to train, see :func:`open_trainer`.
        bf16: whether to compute in bfloat16 where that is safe.
    """
    batches = task.batches(split, batch_size=batch_size)
    return as_number(task.metric(_run(model, batches, trainer=trainer, bf16=bf16)), task)


def score(
    model: nn.Module, task: Task, batches: Iterable[Batch], *, block: int, trainer: str = "cpu"
) -> Score:
    """Metric and loss of some images, each of which goes forward once; the model stays as it was.

    The loss is the task's, of the outputs in evaluation mode: it is not known where it takes only
    what the model gives in training mode, or where a loss of a user's own is no finite number for
    one of the blocks. Cross entropy that is no number stays so.

    Args:
        model: run in evaluation mode.
        task: gives metric and loss.
        batches: the images.
        block: images in a block.
        trainer: where to train, see :func:`open_trainer`.
    """
    tally = _Tally(task, block)
    metric = as_number(task.metric(tally.watched(_run(model, batches, trainer=trainer))), task)
    losses = tally.losses()
    if losses is None:
        return Score(metric, sum(tally.sizes), None, ())
    weighted = math.fsum(n * loss for n, loss in zip(tally.sizes, losses, strict=True))
    return Score(metric, sum(tally.sizes), weighted / max(1, sum(tally.sizes)), losses)


def _run(
    model: nn.Module, batches: Iterable[Batch], *, trainer: str, bf16: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Outputs and targets, batch by batch."""
    with arranged(model, open_trainer(trainer)) as (target, dtype), torch.inference_mode():
        model.eval()
        for batch in batches:
            inputs, targets = moved(batch, target, dtype)
            with torch.autocast(target.type, torch.bfloat16, enabled=bf16):
                outputs = model(inputs)
            yield outputs, targets


class _Tally:
    """Adds up the losses of the blocks of what passes."""

    def __init__(self, task: Task, block: int) -> None:
        self._task, self._block = task, block
        self._losses: list[Tensor] | None = []
        self.sizes: list[int] = []

    def watched(self, pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """The pairs, as they come."""
        for outputs, targets in pairs:
            count = _count(targets)
            for start in range(0, count, self._block):
                stop = min(start + self._block, count)
                self.sizes.append(stop - start)
                self._add(
                    _sliced(outputs, start, stop, count), _sliced(targets, start, stop, count)
                )
            yield outputs, targets

    def _add(self, outputs: Any, targets: Any) -> None:
        if self._losses is None:
            return
        try:
            self._losses.append(torch.as_tensor(self._task.loss(outputs, targets)).detach().float())
        except Exception:  # a loss is written for the outputs of training mode, and may need them
            self._losses = None

    def losses(self) -> tuple[float, ...] | None:
        """The mean loss of each block; None where it is not known. Waits for a GPU once."""
        if not self._losses:
            return None
        values = tuple(torch.stack(self._losses).tolist())
        own = self._task.loss is not cross_entropy
        return None if own and not all(map(math.isfinite, values)) else values


def _count(targets: Any) -> int:
    """Examples in a batch of targets."""
    if isinstance(targets, dict):
        return _count(next(iter(targets.values())))
    return len(targets)


def _sliced(value: Any, start: int, stop: int, count: int) -> Any:
    """Some examples of a batch, wherever in it they are."""
    if isinstance(value, Tensor):
        return value[start:stop] if value.ndim and len(value) == count else value
    if isinstance(value, dict):
        return {key: _sliced(item, start, stop, count) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == count and not any(isinstance(item, Tensor) for item in value):
            return value[start:stop]
        return type(value)(_sliced(item, start, stop, count) for item in value)
    return value
