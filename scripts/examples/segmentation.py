"""Segmentation: find discs and squares, pixel by pixel, with a small U-Net.

    cd scripts/examples
    netadapt adapt segmentation:model --task segmentation:task --budget 70% --epochs 10

The model returns a dictionary of outputs, as torchvision's segmentation models do, so the loss and
the metric take its entry ``out``.
"""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netadapt.data import ArraySplit, Pixels, Task

SIZE = 64
CLASSES = ("background", "disc", "square")


class SmallUNet(nn.Module):
    """Two steps down, a transposed convolution up, and a concatenation across."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()

        def block(cin: int, cout: int, stride: int) -> nn.Sequential:
            conv = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU())

        self.stem = block(3, 32, 2)
        self.down = block(32, 64, 2)
        self.inner = block(64, 64, 1)
        self.up = nn.ConvTranspose2d(64, 32, 2, 2)
        self.merge = block(64, 48, 1)
        self.head = nn.Conv2d(48, num_classes, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits [N, classes, H, W] of images [N, 3, H, W], as the entry ``out``."""
        shallow = self.stem(x)
        deep = self.down(shallow)
        deep = self.up(deep + self.inner(deep))
        logits = self.head(self.merge(torch.cat([shallow, deep], 1)))
        return {"out": F.interpolate(logits, scale_factor=2.0, mode="bilinear")}


def model(num_classes: int) -> nn.Module:
    """The network."""
    return SmallUNet(num_classes)


def loss(outputs: Any, targets: Tensor) -> Tensor:
    """Cross entropy over pixels; logits [N, classes, H, W], targets [N, H, W]."""
    return F.cross_entropy(outputs["out"], targets)


def mean_iou(pairs: Iterable[tuple[Any, Tensor]]) -> float:
    """Intersection over union, averaged over classes."""
    counts = torch.zeros(len(CLASSES), len(CLASSES))
    for outputs, targets in pairs:
        found = outputs["out"].argmax(1).flatten().cpu()
        index = targets.flatten().cpu() * len(CLASSES) + found
        counts += torch.bincount(index, minlength=len(CLASSES) ** 2).view_as(counts)
    union = counts.sum(0) + counts.sum(1) - counts.diag()
    return float((counts.diag() / union.clamp_min(1)).mean())


def draw(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noisy images with a disc and a square each: bytes [N, 3, H, W], classes [N, H, W]."""
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    places = torch.randint(12, SIZE - 12, (count, 2, 2), generator=random)
    labels = torch.zeros(count, SIZE, SIZE, dtype=torch.long)
    for label, ((y, x), (v, u)) in zip(labels, places.tolist(), strict=True):
        label[(rows - y) ** 2 + (columns - x) ** 2 < 81] = 1
        label[((rows - v).abs() < 9) & ((columns - u).abs() < 9)] = 2
    colours = torch.tensor([[60.0, 60, 60], [190, 80, 80], [80, 80, 190]])
    images = colours[labels].permute(0, 3, 1, 2)
    noise = 40 * torch.rand(images.shape, generator=random)
    return (images + noise).to(torch.uint8), labels


def task(seed: int = 0) -> Task:
    """Three disjoint sets of drawings."""
    pixels = Pixels(mean=(0.4,) * 3, std=(0.25,) * 3, pad=0, flip=False)  # moves would need masks

    def split(count: int, salt: int) -> ArraySplit:
        return ArraySplit(*draw(count, 1000 * seed + salt), pixels)

    return Task(
        name="discs and squares",
        train=split(512, 1),
        holdout=split(32, 2),
        test=split(32, 3),
        num_classes=len(CLASSES),
        input_shape=(3, SIZE, SIZE),
        class_names=CLASSES,
        loss=loss,
        metric=mean_iou,
        metric_name="mean IoU",
        seed=seed,
    )
