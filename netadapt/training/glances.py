"""Looks, in the midst of a training, at how well the network does on some holdout images."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from netadapt.data.loading import seeds_apart
from netadapt.data.task import Batch, Task
from netadapt.errors import MetricError
from netadapt.runs.progress import Glance
from netadapt.training.averaging import Average
from netadapt.training.placement import moved
from netadapt.training.rehearsal import as_number

SHARE = 0.02
"""Holdout images that are scored on the way, for each image that is learned from. One of them goes
forward only, so that it takes less of the time."""

FEWEST = 128
"""Fewer images say nothing."""

LOOKS = 20
"""Looks at a training, or more where all holdout images are few beside what it learns from."""


@dataclass
class Glances:
    """Scores the network as it stands, as often as few images beside those of training allow.

    What is trained, and every random state, stays as it was. Always the same images are scored: all
    of the holdout, or a part of it in a training that learns from few.

    Attributes:
        model: in training, on the device.
        task: gives the images and the metric.
        average: what the training results in, if it averages weights.
        tell: called with what came of each look; None for no look at all.
        total: images that the training learns from altogether, by each of its processes.
        batch_size: images at a time.
        place: the device, and the type of floating inputs.
        bf16: whether to compute in bfloat16 where that is safe.
        scored: images that were scored so far.
        seconds: that it took so far.
    """

    model: nn.Module
    task: Task
    average: Average
    tell: Callable[[Glance], None] | None
    total: float
    batch_size: int
    place: tuple[torch.device, torch.dtype]
    bf16: bool = False
    scored: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)

    def look(self, step: int, seen: float) -> None:
        """Score it, if it is time to.

        Args:
            step: optimizer steps done.
            seen: images learned from in this session, by each of its processes.
        """
        if self.tell is None or self.scored + self._images > SHARE * seen:
            return
        began_s = time.perf_counter()
        self.scored += self._images
        with self.average.applied(), _aside(self.model, self.place[0]):
            try:
                accuracy = as_number(self.task.metric(self._outputs()), self.task)
            except MetricError:  # some are no number before much was learned
                accuracy = None
        self.seconds += time.perf_counter() - began_s
        if accuracy is not None:
            share = self.task.metric_is_share
            self.tell(Glance(step, accuracy, self._images, share, self.seconds))

    @property
    def _images(self) -> int:
        """How many are scored at a look."""
        whole = len(self.task.holdout)
        part = max(FEWEST, int(SHARE * self.total / LOOKS))
        size = min(self.batch_size, part)
        return whole if part >= whole else part // size * size

    def _outputs(self) -> Iterator[tuple[Any, Any]]:
        device, dtype = self.place
        for batch in self._batches():
            inputs, targets = moved(batch, device, dtype)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.bf16):
                outputs = self.model(inputs)
            yield outputs, targets

    def _batches(self) -> Iterator[Batch]:
        if self._images == len(self.task.holdout):
            return self.task.batches("holdout", batch_size=self.batch_size)
        size = min(self.batch_size, self._images)
        batches = self.task.batches("holdout", batch_size=size, shuffle=True)
        return itertools.islice(batches, self._images // size)


@contextmanager
def _aside(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, of which nothing stays: modes, buffers and random states are put back."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    gpus = [device.index or 0] if device.type == "cuda" else []
    # No inference mode: what a network keeps of a pass may be needed for a gradient later.
    with torch.no_grad(), seeds_apart(), torch.random.fork_rng(gpus):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
            for buffer, value in buffers:
                buffer.copy_(value)
