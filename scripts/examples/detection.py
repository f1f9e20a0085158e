"""Detection: find the centre and the size of a square, with a centre-point heat map.

    cd scripts/examples
    netadapt adapt detection:model --task detection:task --budget 70% --epochs 4

A user's own module with two heads ("Objects as Points", Zhou et al., 2019, on toy data): it returns
a heat map of centres [N, 1, H/4, W/4] and the side of the square there [N, 1, H/4, W/4].
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netadapt.data import ArraySplit, Pixels, Task

SIZE = 32
CELL = 4  # pixels of the image per pixel of the heat map


class CentrePoint(nn.Module):
    """A small backbone with a residual sum and two heads."""

    def __init__(self) -> None:
        super().__init__()

        def block(cin: int, cout: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU())

        self.stem = block(3, 32, 2)
        self.down = block(32, 64, 2)
        self.inner = block(64, 64, 1)
        self.neck = block(64, 64, 1)
        self.centre = nn.Conv2d(64, 1, 1)
        self.side = nn.Conv2d(64, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Centres as logits, and sides in pixels."""
        x = self.down(self.stem(x))
        x = self.neck(x + self.inner(x))
        return self.centre(x), self.side(x)


def model() -> nn.Module:
    """The detector."""
    return CentrePoint()


def loss(outputs: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    """Cross entropy over the cells for the centre, and L1 for the side at the true centre.

    Args:
        outputs: heat map and sides, [N, 1, H/4, W/4] each.
        targets: true cell and side in pixels, [N, 2].
    """
    heat, sides = (output.flatten(1) for output in outputs)
    cells = targets[:, 0].long()
    found = sides.gather(1, cells[:, None])[:, 0]
    return F.cross_entropy(heat, cells) + 0.1 * F.l1_loss(found, targets[:, 1])


def hit_rate(pairs: Iterable[tuple[Any, Tensor]]) -> float:
    """Share of squares found in the right cell, with a side that is off by 2 pixels at most."""
    hits = total = 0
    for outputs, targets in pairs:
        heat, sides = (output.flatten(1).cpu() for output in outputs)
        cells = heat.argmax(1)
        off = (sides.gather(1, cells[:, None])[:, 0] - targets[:, 1].cpu()).abs()
        hits += int(((cells == targets[:, 0].cpu().long()) & (off <= 2)).sum())
        total += len(targets)
    return hits / total


def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """One bright square in noise: bytes [N, 3, H, W]; its cell and side [N, 2]."""
    random = torch.Generator().manual_seed(seed)
    images = 90 * torch.rand(count, 3, SIZE, SIZE, generator=random)
    halves = torch.randint(2, 5, (count,), generator=random)
    cells = torch.randint(1, SIZE // CELL - 1, (count, 2), generator=random)
    for image, half, (row, column) in zip(images, halves.tolist(), cells.tolist(), strict=True):
        y, x = CELL * row + CELL // 2, CELL * column + CELL // 2
        image[:, y - half : y + half, x - half : x + half] += 120
    cell = cells[:, 0] * (SIZE // CELL) + cells[:, 1]
    return images.to(torch.uint8), torch.stack([cell, 2 * halves], 1).float()


def task(seed: int = 0) -> Task:
    """Three disjoint sets of drawings."""
    pixels = Pixels(mean=(0.25,) * 3, std=(0.2,) * 3, pad=0, flip=False)

    def split(count: int, salt: int) -> ArraySplit:
        return ArraySplit(*draw(count, 1000 * seed + salt), pixels)

    return Task(
        name="squares",
        train=split(512, 1),
        holdout=split(128, 2),
        test=split(128, 3),
        num_classes=1,
        input_shape=(3, SIZE, SIZE),
        loss=loss,
        metric=hit_rate,
        metric_name="hit rate",
        seed=seed,
    )
