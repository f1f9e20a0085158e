"""A user's own model and task, as small as an end-to-end test can be."""

import torch
from torch import Tensor, nn

from netadapt.data import ArraySplit, Pixels, Task


class SmallNet(nn.Module):
    """Four convolutions, one residual sum; images of [N, 3, H, W]."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = self._block(3, 32, 1)
        self.down = self._block(32, 64, 2)
        self.inner = self._block(64, 64, 1)
        self.last = self._block(64, 96, 2)
        self.head = nn.Linear(96, num_classes)

    @staticmethod
    def _block(cin: int, cout: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        x = self.last(x + self.inner(x))
        return self.head(x.mean((2, 3)))


def small_net(num_classes: int) -> nn.Module:
    return SmallNet(num_classes)


def stripes(seed: int = 0) -> Task:
    """Horizontal or vertical stripes of 16x16 pixels, with noise: two classes."""

    def split(count: int, salt: int) -> ArraySplit:
        generator = torch.Generator().manual_seed(salt)
        labels = torch.arange(count) % 2
        line = (torch.arange(16) % 4 < 2).float() * 180
        images = torch.stack([line.expand(16, 16) if y else line[:, None].expand(16, 16)
                              for y in labels.tolist()])  # fmt: skip
        noise = torch.rand(count, 3, 16, 16, generator=generator) * 70
        pixels = Pixels(mean=(0.5,) * 3, std=(0.3,) * 3, pad=0, flip=False)
        return ArraySplit((images[:, None] + noise).to(torch.uint8), labels, pixels)

    return Task("stripes", split(128, 1), split(32, 2), split(32, 3), 2, (3, 16, 16), seed=seed)


def noise(train: int, held_out: int, classes: int = 2) -> Task:
    """Images of 6x6 pixels that say nothing of their classes, for what only has to be the same."""

    def split(count: int, seed: int) -> ArraySplit:
        images = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
        pixels = Pixels((0.5,) * 3, (0.25,) * 3, pad=1)
        return ArraySplit(images, torch.arange(count) % classes, pixels)

    splits = split(train, 0), split(held_out, 1), split(held_out, 2)
    return Task("noise", *splits, classes, (3, 6, 6))


def waves_net(num_classes: int) -> nn.Module:
    """A network of one dimension, for three channels of 64 samples."""
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.AdaptiveAvgPool1d(4), nn.Flatten(),
        nn.Linear(32, num_classes),
    )  # fmt: skip


class TwoInputs(nn.Module):
    """A grey image and one of two channels, joined."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(1, 8, 1), nn.Conv2d(2, 4, 1), nn.Conv2d(12, 2, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.c(torch.cat([self.a(a), self.b(b)], 1))


def two_inputs_net() -> nn.Module:
    return TwoInputs()
