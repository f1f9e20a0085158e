"""Drawing images by class: a holdout out of those to learn from, or a part of them all."""

import heapq
import math

import torch
from torch import Tensor

from netadapt.errors import DataError

HOLDOUT_LIMIT = 10_000
"""Most images of a holdout that is not given as a number: its accuracy is then known to half of a
percentage point, and each candidate is scored on it."""


def divided(
    labels: Tensor, holdout: float | int | None, usual: float, *, limit: float | int | None,
    seed: int, what: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Indices of the images to learn from, and of those to choose by; ascending.

    Args:
        labels: class indices [N] of them all.
        holdout: how many to choose by, as for :func:`stratified`; None for a usual share.
        usual: that share; 10,000 images are taken at most.
        limit: see :func:`limited`.
        seed: of the draws.
        what: whose images they are, for the message.

    Raises:
        DataError: too few images are left of a class.
    """
    used = limited(labels, limit, seed=seed, what=what)
    if holdout is None:
        holdout = usual if usual * len(used) <= HOLDOUT_LIMIT else HOLDOUT_LIMIT
    train, chosen = stratified(labels[used], holdout, seed=seed)
    return used[train], used[chosen]


def stratified(labels: Tensor, part: float | int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Divide examples at random so that each class is divided in the same proportion.

    The first part keeps at least one example of each class: it is learned from.

    Args:
        labels: class indices [N].
        part: size of the second part: a share of all if below 1, otherwise a number of examples.
        seed: of the draw.

    Returns:
        Ascending indices of the first and of the second part.

    Raises:
        DataError: the second part would be empty, or the first one lack a class.
    """
    total = len(labels)
    count = max(1, round(part * total)) if part < 1 else int(part) if part < math.inf else 0
    sizes = torch.bincount(labels)
    sizes = sizes[sizes > 0]
    if not 0 < count <= total - len(sizes) or part <= 0:
        raise DataError(
            f"A holdout of {part} out of {total} training images in {len(sizes)} class(es) "
            "leaves nothing to choose by or, of some class, nothing to learn from; give a share "
            "between 0 and 1, or fewer images, or use more images in all."
        )
    return _drawn(labels, count, seed=seed)


def limited(labels: Tensor, limit: float | int | None, *, seed: int, what: str) -> Tensor:
    """Draw a part of the images at random, of each class in the same proportion, at least one.

    Args:
        labels: class indices [N].
        limit: a share of all if not above 1, otherwise the most images; None for all.
        seed: of the draw.
        what: whose images they are, for the message.

    Returns:
        Their indices, ascending.

    Raises:
        DataError: they are fewer than the classes.
    """
    total, classes = len(labels), len(torch.unique(labels))
    if limit is None or limit == 1 or limit >= total:
        return torch.arange(total)
    count = round(limit * total) if limit <= 1 else int(limit) if limit < total else 0
    if count < classes:
        raise DataError(
            f"A limit of {limit:g} leaves {count} of the {total} images of {what}, which are of "
            f"{classes} classes; raise it, so that there is an image of each."
        )
    return _drawn(labels, total - count, seed=seed)[0]


def _drawn(labels: Tensor, count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """All but ``count`` examples, and these, which leave one of each class; ascending indices."""
    total = len(labels)
    by_class = torch.argsort(labels, stable=True)
    sizes = [size for size in torch.bincount(labels).tolist() if size]
    random = torch.Generator().manual_seed(seed)
    # Largest remainders: the counts per class add up to the count asked for.
    quotas = [size * count / total for size in sizes]
    counts = [min(int(quota), size - 1) for quota, size in zip(quotas, sizes, strict=True)]
    ahead = [(counts[k] - quotas[k], k) for k in range(len(sizes))]
    heapq.heapify(ahead)
    for _ in range(count - sum(counts)):
        while counts[ahead[0][1]] == sizes[ahead[0][1]] - 1:
            heapq.heappop(ahead)
        least, k = ahead[0]
        counts[k] += 1
        heapq.heapreplace(ahead, (least + 1, k))
    second = torch.cat(
        [
            members[torch.randperm(len(members), generator=random)[:taken]]
            for members, taken in zip(torch.split(by_class, sizes), counts, strict=True)
        ]
    )
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[second] = True
    return torch.nonzero(~chosen).flatten(), torch.nonzero(chosen).flatten()
