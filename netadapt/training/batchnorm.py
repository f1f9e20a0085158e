"""Batch normalization after pruning: statistics that describe the layers as they are now."""

import itertools

import torch
from torch import nn

from netadapt.data.task import Task
from netadapt.training.placement import arranged, moved, open_trainer

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def recalibrate_bn(
    model: nn.Module,
    task: Task,
    *,
    batches: int = 16,
    batch_size: int = 128,
    seed: int = 0,
    trainer: str = "cpu",
) -> int:
    """Re-estimate the statistics of batch normalizations on training images, in place.

    Pruning changes the inputs of the layers that follow, so that the running statistics no longer
    describe them. Each becomes the plain average, over the batches, of the batch's mean and
    unbiased variance, with the weights as they are ("PreciseBN", Wu and Johnson 2021,
    arXiv:2105.07576, section 3; fvcore.nn.precise_bn averages the same way). Images are not
    augmented, as they will not be at inference. Normalizations that did not run keep theirs.

    Args:
        model: changed in place; device, layout and mode stay.
        task: gives the training images.
        batches: at most so many batches; no more than one epoch is used.
        batch_size: images per batch.
        seed: of the choice of images.
        trainer: where to train, see :func:`open_trainer`.
    """
    seen = 0
    norms = [m for m in model.modules() if isinstance(m, BATCH_NORMS) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    with arranged(model, open_trainer(trainer)) as (target, dtype), torch.no_grad():
        model.eval()
        for norm in norms:
            norm.train()
            norm.momentum = None  # a cumulative average
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.zero_()  # the first batch then overwrites all
        try:
            images = task.batches("train", batch_size=batch_size, seed=seed, shuffle=True)
            for batch in itertools.islice(images, batches if norms else 0):
                inputs, targets = moved(batch, target, dtype)
                model(inputs)
                seen += len(targets)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
    return seen
