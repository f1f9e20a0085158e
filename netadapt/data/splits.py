"""Splits in memory, of image files, and of any indexed data set; normalization and augmentation."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from netadapt.data.images import decode
from netadapt.data.task import Batch

# The statistics that torchvision's published weights were trained with (RGB, of values in 0..1).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DECODERS = 8
"""Threads that decode image files; PIL leaves the interpreter free while it decodes."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How stored pixels become the inputs of a model.

    Attributes:
        mean, std: per channel, of values in 0..1; bytes are divided by 255 first.
        pad: pixels of black around an image, out of which augmentation cuts a random place.
        flip: whether augmentation mirrors half of the images.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    pad: int = 4
    flip: bool = True

    def normalized(self, images: Tensor) -> Tensor:
        """Inputs for a model, float32 [N, C, H, W], of stored images of the same shape."""
        scale = 255.0 if images.dtype == torch.uint8 else 1.0
        mean = torch.tensor(self.mean).view(-1, 1, 1) * scale
        std = torch.tensor(self.std).view(-1, 1, 1) * scale
        return images.to(torch.float32).sub_(mean).div_(std)

    def augmented(self, images: Tensor, random: torch.Generator) -> Tensor:
        """The stored images [N, C, H, W], moved by up to ``pad`` pixels each, maybe mirrored."""
        count, _, height, width = images.shape
        if self.pad:
            padded = F.pad(images, [self.pad] * 4)
            corners = torch.randint(2 * self.pad + 1, (count, 2), generator=random).tolist()
            images = torch.stack(
                [
                    image[:, top : top + height, left : left + width]
                    for image, (top, left) in zip(padded, corners, strict=True)
                ]
            )
        if self.flip:
            mirrored = torch.rand(count, generator=random) < 0.5
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        return images


def generator(seed: int, epoch: int) -> torch.Generator:
    """Random numbers of one epoch; any other seed or epoch gives others."""
    digest = hashlib.sha256(f"{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))


def order(count: int, batch_size: int, *, random: torch.Generator | None) -> list[Tensor]:
    """Indices of each batch, shuffled if there is a generator; see ``Split.batches``."""
    if random is None:
        return list(torch.split(torch.arange(count), batch_size))
    batches = list(torch.split(torch.randperm(count, generator=random), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < batch_size else batches


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images in memory.

    Attributes:
        images: [N, C, H, W], bytes, or floats in 0..1.
        targets: [N, ...], such as class indices.
        pixels: how images become inputs.
    """

    images: Tensor = field(repr=False)
    targets: Tensor = field(repr=False)
    pixels: Pixels = Pixels()

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """See ``Split.batches``."""
        random = generator(seed, epoch)
        for index in order(len(self), batch_size, random=random if shuffle else None):
            images = self.images[index]
            if augment:
                images = self.pixels.augmented(images, random)
            yield self.pixels.normalized(images), self.targets[index]

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.images.shape}{self.images.dtype}{self.pixels}".encode())
        for tensor in (self.images, self.targets):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Hash of every pixel and target, and of how they are normalized."""
        return self._fingerprint


def decode_all(paths: Sequence[Path], size: int) -> Tensor:
    """Decode image files by several threads into bytes [N, 3, size, size].

    Raises:
        DataError: one of them cannot be read.
    """
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    rows = images.numpy()

    def fill(number: int) -> None:  # where the image belongs, so that none is held twice
        rows[number] = decode(paths[number], size).transpose(2, 0, 1)

    with ThreadPoolExecutor(DECODERS) as pool:
        for _ in pool.map(fill, range(len(paths))):
            pass
    return images


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images that are decoded when their batch is due, for sets that memory cannot hold.

    Attributes:
        paths: the image files.
        targets: class indices [N].
        size: height and width of the inputs, in pixels.
        pixels: how images become inputs.
    """

    paths: tuple[Path, ...] = field(repr=False)
    targets: Tensor = field(repr=False)
    size: int
    pixels: Pixels = Pixels()

    def __len__(self) -> int:
        return len(self.paths)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """See ``Split.batches``; the next batch is decoded while this one is used.

        Raises:
            DataError: an image cannot be read.
        """
        random = generator(seed, epoch)
        indices = order(len(self), batch_size, random=random if shuffle else None)

        def decoded(index: Tensor) -> Tensor:
            return decode_all([self.paths[i] for i in index.tolist()], self.size)

        with ThreadPoolExecutor(1) as ahead:
            pending = ahead.submit(decoded, indices[0])
            for number, index in enumerate(indices):
                images = pending.result()
                if number + 1 < len(indices):
                    pending = ahead.submit(decoded, indices[number + 1])
                if augment:
                    images = self.pixels.augmented(images, random)
                yield self.pixels.normalized(images), self.targets[index]

    def fingerprint(self) -> str:
        """Hash of every file's class folder, name and size in bytes, without reading them."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:  # each training that keeps its place asks for it
        digest = hashlib.sha256(f"{self.size}{self.pixels}".encode())
        for path, target in zip(self.paths, self.targets.tolist(), strict=True):
            digest.update(f"{target}/{path.name}/{path.stat().st_size}\n".encode())
        return digest.hexdigest()


class Indexed(Protocol):
    """A sequence of ``(input, target)`` pairs, such as a map-style ``torch.utils.data.Dataset``."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]:
        """One example."""
        ...


@dataclass(frozen=True, eq=False)
class DatasetSplit:
    """Any indexed data set, for a user's own task.

    Attributes:
        dataset: gives ``(input, target)`` by index; inputs as the model takes them.
        collate: makes a batch of a list of examples; the default stacks tensors.
        augment: changes a batch ``(inputs, targets)`` in training, with the given random numbers.
        version: name it anew when the examples change; part of the fingerprint.
    """

    dataset: Indexed
    collate: Callable[[list[Any]], Batch] = torch.utils.data.default_collate
    augment: Callable[[Any, Any, torch.Generator], Batch] | None = None
    version: str = ""

    def __len__(self) -> int:
        return len(self.dataset)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = False,
        augment: bool = False,
    ) -> Iterator[Batch]:
        """See ``Split.batches``."""
        random = generator(seed, epoch)
        for index in order(len(self), batch_size, random=random if shuffle else None):
            inputs, targets = self.collate([self.dataset[i] for i in index.tolist()])
            if augment and self.augment is not None:
                inputs, targets = self.augment(inputs, targets, random)
            yield inputs, targets

    def fingerprint(self) -> str:
        """Hash of the version and the number of examples; the examples are not read."""
        return hashlib.sha256(f"{self.version}/{len(self)}".encode()).hexdigest()
