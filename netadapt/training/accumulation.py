"""Gradients of a batch that does not fit at once: taken part by part, and added up."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from netadapt.data.task import Batch
from netadapt.errors import UsageError


def backward(loss_of: Callable[[Any, Any], Tensor], batch: Batch, parts: int = 1) -> Tensor:
    """Add the gradients of a batch's mean loss to those of the parameters.

    Those of so many parts, each weighed by its share of the images, are those of the whole, but for
    rounding, and for what looks at all images together, as batch normalization does.

    Args:
        loss_of: mean loss of ``(inputs, targets)``.
        batch: of tensors whose first dimension counts images, if there are several parts.
        parts: as many as there may be without one of a single image.

    Returns:
        The mean loss, detached.

    Raises:
        UsageError: the batch cannot be divided.
    """
    if parts == 1:
        loss = loss_of(*batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    losses = []
    for share, (inputs, targets) in divided(batch, parts):
        part = share * loss_of(inputs, targets)
        part.backward()  # type: ignore[no-untyped-call]
        losses.append(part.detach())
    return sum(losses[1:], start=losses[0])


def divided(batch: Batch, parts: int) -> Iterator[tuple[float, Batch]]:
    """The parts of a batch, nearly equal, with the share of the images that each is.

    Raises:
        UsageError: something of it is no tensor with a place for each image.
    """
    images = len(batch[0])
    parts = max(1, min(parts, images // 2))  # batch normalization cannot learn from one image
    edges = [images * number // parts for number in range(parts + 1)]
    for start, stop in itertools.pairwise(edges):
        inputs, targets = (_some(side, start, stop, images) for side in batch)
        yield (stop - start) / images, (inputs, targets)


def _some(value: Any, start: int, stop: int, images: int) -> Any:
    """The images from ``start`` up to ``stop`` of tensors, and of tuples and tables of them."""
    if isinstance(value, Tensor) and value.ndim and len(value) == images:
        return value[start:stop]
    if isinstance(value, dict):
        return {key: _some(item, start, stop, images) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_some(item, start, stop, images) for item in value)
    raise UsageError(
        f"A batch of {images} images cannot be divided to accumulate gradients: it holds a "
        f"{type(value).__name__} that is no tensor of {images} rows; take smaller batches instead."
    )
