"""Gradients of a batch that does not fit at once: taken part by part, and added up."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from netadapt.data.task import Batch
from netadapt.errors import UsageError


def backward(
    loss_of: Callable[[Any, Any], Tensor],
    batch: Batch,
    parts: int = 1,
    apart: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Tensor:
    """Add the gradients of a batch's mean loss to those of the parameters.

    Those of so many parts, each weighed by its share of the images, are those of the whole, but for
    rounding, and for what looks at all images together, as batch normalization does.

    Args:
        loss_of: mean loss of ``(inputs, targets)``.
        batch: of tensors whose first dimension counts images, if there are several parts.
        parts: as many as there may be without one of a single image.
        apart: what all parts but the last are taken within.

    Returns:
        The mean loss, detached.

    Raises:
        UsageError: the batch cannot be divided.
    """
    if parts == 1:
        loss = loss_of(*batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()
    losses: list[Tensor] = []
    pieces = list(divided(batch, parts))
    for share, (inputs, targets) in pieces:
        with apart() if len(losses) < len(pieces) - 1 else nullcontext():
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
        yield (stop - start) / images, part_of(batch, slice(start, stop))


def part_of(batch: Batch, rows: slice) -> Batch:
    """Some images of a batch.

    Raises:
        UsageError: something of it is no tensor with a place for each image.
    """
    inputs, targets = (_some(side, rows, len(batch[0])) for side in batch)
    return inputs, targets


def _some(value: Any, rows: slice, images: int) -> Any:
    """Some rows of tensors, and of tuples and tables of them."""
    if isinstance(value, Tensor) and value.ndim and len(value) == images:
        return value[rows]
    if isinstance(value, dict):
        return {key: _some(item, rows, images) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_some(item, rows, images) for item in value)
    raise UsageError(
        f"A batch of {images} images cannot be divided: it holds a {type(value).__name__} that is "
        f"no tensor of {images} rows; take it whole, in smaller batches and by one process."
    )
