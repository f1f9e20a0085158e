"""Regression: the angle of a bar, as its double angle's sine and cosine, with MobileNetV1.

    cd scripts/examples
    netadapt adapt mobilenet_v1 -a width=0.5 --task regression:task --budget 70% --lr 0.01

The metric is a negated error in degrees: higher is better, and it is no share of anything.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netadapt.data import ArraySplit, Pixels, Task

SIZE = 32


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error of (cos 2a, sin 2a), [N, 2]: a bar looks the same after half a turn."""
    return F.mse_loss(outputs, targets)


def minus_degrees(pairs: Iterable[tuple[Any, Tensor]]) -> float:
    """Mean error of the angle in degrees, negated."""
    errors = []
    for outputs, targets in pairs:
        found = torch.atan2(outputs[:, 1], outputs[:, 0])
        true = torch.atan2(targets[:, 1], targets[:, 0])
        turned = torch.remainder(found - true + torch.pi, 2 * torch.pi) - torch.pi
        errors.append(turned.abs().cpu() / 2)
    return -float(torch.rad2deg(torch.cat(errors)).mean())


def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A bar through the middle, in noise: bytes [N, 3, H, W] and (cos 2a, sin 2a) [N, 2]."""
    random = torch.Generator().manual_seed(seed)
    angles = torch.pi * torch.rand(count, 1, 1, generator=random)
    line = torch.arange(SIZE) - (SIZE - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    bars = (columns * angles.sin() - rows * angles.cos()).abs() < 2
    noise = 120 * torch.rand(count, 3, SIZE, SIZE, generator=random)
    images = (noise + 120 * bars[:, None]).to(torch.uint8)
    double = 2 * angles.flatten()
    return images, torch.stack([double.cos(), double.sin()], 1)


def task(seed: int = 0) -> Task:
    """Three disjoint sets of drawings."""
    pixels = Pixels(mean=(0.3,) * 3, std=(0.2,) * 3, pad=0, flip=False)

    def split(count: int, salt: int) -> ArraySplit:
        return ArraySplit(*draw(count, 1000 * seed + salt), pixels)

    return Task(
        name="bars",
        train=split(512, 1),
        holdout=split(128, 2),
        test=split(128, 3),
        num_classes=2,
        input_shape=(3, SIZE, SIZE),
        loss=loss,
        metric=minus_degrees,
        metric_name="angle error in degrees, negated",
        metric_is_share=False,
        seed=seed,
    )
