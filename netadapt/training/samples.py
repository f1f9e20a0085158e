"""What a network says of a few training images: gradients of its loss, and what its layers read."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netadapt.data.task import Batch, Task
from netadapt.network import Network
from netadapt.pruning.moments import Moment, watching
from netadapt.training.placement import arranged, moved, open_trainer


@dataclass(frozen=True, slots=True)
class Samples:
    """Training images to look at a network with; they are not augmented.

    Attributes:
        task: gives the images and the loss.
        batches: at most so many, of one epoch.
        batch_size: images per batch.
        seed: of the choice of images.
        trainer: where to compute, see :func:`netadapt.training.open_trainer`.
    """

    task: Task
    batches: int = 4
    batch_size: int = 128
    seed: int = 0
    trainer: str = "cpu"

    @property
    def images(self) -> int:
        """How many images that is."""
        whole = max(1, len(self.task.train) // self.batch_size)
        return min(self.batches, whole) * min(self.batch_size, len(self.task.train))


def gradients(model: nn.Module, samples: Samples) -> Iterator[dict[str, Tensor]]:
    """Gradients of the loss of each batch, by the name of the parameter, on the trainer.

    The network computes as at inference, and is left as it was; so is the ``grad`` of its
    parameters. Parameters that require no gradient, or that the loss does not depend on, are left
    out. Between one batch and the next the model is on the trainer.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        return
    with arranged(model, open_trainer(samples.trainer)) as (target, dtype):
        model.eval()
        for batch in _batches(samples):
            inputs, targets = moved(batch, target, dtype)
            with torch.enable_grad():
                loss = samples.task.loss(model(inputs), targets)
                found = torch.autograd.grad(loss, [*trained.values()], allow_unused=True)
            yield {n: grad for n, grad in zip(trained, found, strict=True) if grad is not None}


def has_gradients(model: nn.Module, task: Task) -> bool:
    """Whether a task's loss can be differentiated by the weights as the network is at inference.

    It cannot where it takes what the model gives in training mode alone.
    """
    try:
        found = next(gradients(model, Samples(task, batches=1, batch_size=2)), {})
    except Exception:  # of the user's own loss, which may raise anything
        return False
    return bool(found) and all(bool(gradient.isfinite().all()) for gradient in found.values())


def moments(model: nn.Module, network: Network, samples: Samples) -> dict[str, Moment]:
    """What layers read of the sample images, see :func:`netadapt.pruning.moments.watching`."""
    with (
        arranged(model, open_trainer(samples.trainer)) as (target, dtype),
        watching(model, network) as told,
        torch.no_grad(),
    ):
        model.eval()
        for batch in _batches(samples):
            model(moved(batch, target, dtype)[0])
        return told()


def _batches(samples: Samples) -> Iterator[Batch]:
    images = samples.task.batches(
        "train", batch_size=samples.batch_size, seed=samples.seed, shuffle=True
    )
    return itertools.islice(images, samples.batches)
