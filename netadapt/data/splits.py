"""Splits in memory and of any indexed data set; normalization and augmentation."""

import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from netadapt.data.batches import Batches, Share, derived, generator, order
from netadapt.data.loading import Pace, read, seeds_apart
from netadapt.data.task import Batch
from netadapt.data.views import IMAGENET_MEAN, IMAGENET_STD, MIDDLE, View
from netadapt.errors import DataError
from netadapt.plugins import blamed

Drawn = tuple[Tensor | None, Tensor | None]
"""Corners [N, 2] that images are cut at, and which of them [N] are mirrored; None for neither."""


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

    def drawn(self, count: int, random: torch.Generator) -> Drawn:
        """How so many images are moved and whether they are mirrored, drawn at random."""
        corners = mirrored = None
        if self.pad:
            corners = torch.randint(2 * self.pad + 1, (count, 2), generator=random)
        if self.flip:
            mirrored = torch.rand(count, generator=random) < 0.5
        return corners, mirrored

    def augmented(self, images: Tensor, random: torch.Generator) -> Tensor:
        """The stored images [N, C, H, W], moved by up to ``pad`` pixels each, maybe mirrored."""
        return self.moved(images, self.drawn(len(images), random))

    def moved(self, images: Tensor, drawn: Drawn, rows: slice = slice(None)) -> Tensor:
        """Stored images [N, C, H, W], moved and mirrored as some rows of what was drawn say."""
        corners, mirrored = (part if part is None else part[rows] for part in drawn)
        height, width = images.shape[2:]
        if corners is not None:
            padded = F.pad(images, [self.pad] * 4)
            images = torch.stack(
                [
                    image[:, top : top + height, left : left + width]
                    for image, (top, left) in zip(padded, corners.tolist(), strict=True)
                ]
            )
        if mirrored is not None:
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        return images


def preprocessing(size: int, pixels: Pixels, view: View = MIDDLE) -> dict[str, Any]:
    """What a deployed network expects to be done to an image, as plain JSON values."""
    return {
        "resize_shorter_side": view.resize or size,
        "center_crop": size,
        "interpolation": view.interpolation,
        "antialias": True,
        "channels": "RGB",
        "scale": "0..255 to 0..1",
        "mean": list(pixels.mean),
        "std": list(pixels.std),
    }


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
        indices = order(len(self), batch_size, random=random if shuffle else None)

        def begin(first: int, share: Share) -> Iterator[Batch]:
            for number, index in enumerate(indices):
                drawn = self.pixels.drawn(len(index), random) if augment else (None, None)
                if number >= first:
                    rows = share.rows(len(index))
                    images = self.pixels.moved(self.images[index[rows]], drawn, rows)
                    yield self.pixels.normalized(images), self.targets[index[rows]]

        return Batches(begin)

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.images.shape}{self.images.dtype}{self.pixels}".encode())
        for tensor in (self.images, self.targets):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def fingerprint(self) -> str:
        """Hash of every pixel and target, and of how they are normalized."""
        return self._fingerprint


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

    Whatever number of processes read it, the batches are the same, if ``dataset`` draws from the
    global random numbers of torch, numpy or Python or from none: they are seeded anew for each
    example.

    Attributes:
        dataset: gives ``(input, target)`` by index; inputs as the model takes them.
        collate: makes a batch of a list of examples; the default stacks tensors.
        augment: changes a batch ``(inputs, targets)`` in training, with the given random numbers;
            where several processes share a batch, each its own part, with other numbers.
        version: name it anew when the examples change; part of the fingerprint.
        workers: processes that read; 0 for this one alone. None takes what suits the time that an
            example takes and the processor, but this one alone where the data set cannot be
            pickled: it may hold a file open, which several must not read at once.
    """

    dataset: Indexed
    collate: Callable[[list[Any]], Batch] = torch.utils.data.default_collate
    augment: Callable[[Any, Any, torch.Generator], Batch] | None = None
    version: str = ""
    workers: int | None = None
    _pace: Pace = field(default_factory=Pace, init=False, repr=False)

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
        """See ``Split.batches``.

        Raises:
            DataError: a process of its own could not read an example.
        """
        random = generator(seed, epoch) if shuffle else None
        indices = order(len(self), batch_size, random=random)
        fetch = partial(self._fetched, seed=seed, epoch=epoch, augment=augment)

        def begin(first: int, share: Share) -> Iterator[Batch]:
            own = (share.number,) if share.size > 1 else ()
            rest = [
                ((number, *own), index[share.rows(len(index))])
                for number, index in enumerate(indices[first:], first)
            ]
            workers = self.workers if self.workers is not None or self._portable else 0
            return read(fetch, rest, workers=workers, pace=self._pace, size=batch_size)

        return Batches(begin)

    def _fetched(
        self, piece: tuple[tuple[int, ...], Tensor], *, seed: int, epoch: int, augment: bool
    ) -> Batch:
        """One batch, by its number in the whole pass, and that of the share if it is but one."""
        name, index = piece
        with seeds_apart() as seeded:
            examples = []
            for i in index.tolist():
                seeded(derived(seed, epoch, i))
                examples.append(self.dataset[i])
            batch = self._collated(examples, index)
        if augment and self.augment is not None:
            return self.augment(*batch, generator(seed, epoch, *name))
        return batch

    def _collated(self, examples: list[Any], index: Tensor) -> Batch:
        """A batch of examples.

        Raises:
            DataError: they do not fit each other.
        """
        try:
            return self.collate(examples)
        except Exception as error:  # torch raises anything
            if blamed(error) or isinstance(error, MemoryError):
                raise
            odd = next((k for k, e in enumerate(examples) if _kind(e) != _kind(examples[0])), 0)
            reason = str(error).strip().split("\n")[0].rstrip(".")
            if odd:  # what torch says of it hangs on the process that it is said in
                first, other = (f"{_kind(examples[k])} at {int(index[k])}" for k in (0, odd))
                reason = f"they have {first}, and {other}"
            raise DataError(
                f"Examples of the data set do not fit into a batch: {reason}; make them alike, or "
                "give the split a function to collate them."
            ) from error

    @cached_property
    def _portable(self) -> bool:
        """Whether another process may read the data set too, as far as pickling tells."""
        try:
            _Trial(_Nowhere()).dump(self.dataset)
        except Exception:  # a user's object may raise anything
            return False
        return True

    def fingerprint(self) -> str:
        """Hash of the version and the number of examples; the examples are not read."""
        return hashlib.sha256(f"{self.version}/{len(self)}".encode()).hexdigest()


def _kind(value: Any) -> str:
    """What the parts of an example are, for people."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_kind, value))})"
    return type(value).__name__


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        """Bytes that were taken."""
        return len(data)


class _Trial(pickle.Pickler):
    """Pickles all but the numbers, which need not be copied to tell whether it can be done."""

    def persistent_id(self, value: Any) -> str | None:
        """A name in place of an array."""
        return "array" if isinstance(value, Tensor | np.ndarray) else None
