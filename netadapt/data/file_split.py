"""Image files that are decoded when their batch is due, for sets that memory cannot hold."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from netadapt.data.batches import Batches, Share, derived, generator, order
from netadapt.data.images import decode, decode_part
from netadapt.data.listing import Files
from netadapt.data.loading import Pace, read, seeds_apart, usable_cores
from netadapt.data.splits import Pixels
from netadapt.data.task import Batch
from netadapt.data.views import MIDDLE, View

CHUNK = 16
"""Images that are decoded at a time: few, so that a process which reads ahead reads little."""


def decode_all(paths: Sequence[Path], size: int, view: View = MIDDLE) -> Tensor:
    """Decode image files on all cores into bytes [N, 3, size, size].

    Raises:
        DataError: one of them cannot be read.
    """
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    chunks = torch.split(torch.arange(len(paths)), 8 * CHUNK)
    cores = usable_cores()
    workers = cores if cores > 1 and len(chunks) > cores else 0
    fetch = partial(_decoded, paths, size, view)
    arrived = read(fetch, chunks, workers=workers, pace=Pace(), size=8 * CHUNK)
    for chunk, decoded in zip(chunks, arrived, strict=True):
        images[chunk[0] : chunk[-1] + 1] = decoded
    return images


def _decoded(paths: Sequence[Path], size: int, view: View, index: Tensor) -> Tensor:
    """The middles of some images, as bytes [N, 3, size, size]."""
    images = torch.empty((len(index), 3, size, size), dtype=torch.uint8)
    for row, number in zip(images.numpy(), index.tolist(), strict=True):
        row[:] = decode(paths[number], size, view).transpose(2, 0, 1)
    return images


@dataclass(eq=False)
class _Held:
    """Decoded images that stay in memory, each from when it was first read."""

    images: Tensor
    there: Tensor


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Images that are decoded when their batch is due.

    Attributes:
        paths: the image files.
        targets: class indices [N].
        size: height and width of the inputs, in pixels.
        pixels: how images become inputs.
        view: which part of an image is seen, and how it is scaled.
        workers: processes that decode; 0 for this one alone, None for as many as suit the images
            and the processor. The batches are the same for any number.
        hold: whether decoded images stay in memory, for a split that is read often.
    """

    paths: Sequence[Path] = field(repr=False)
    targets: Tensor = field(repr=False)
    size: int
    pixels: Pixels = field(default_factory=Pixels)
    view: View = MIDDLE
    workers: int | None = None
    hold: bool = False
    _pace: Pace = field(default_factory=Pace, init=False, repr=False)

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
        """See ``Split.batches``; the next batches are decoded while this one is used.

        Raises:
            DataError: an image cannot be read.
        """
        random = generator(seed, epoch)
        indices = order(len(self), batch_size, random=random if shuffle else None)
        parts, moved = augment and self.view.parts, augment and not self.view.parts

        def begin(first: int, share: Share) -> Iterator[Batch]:
            for index in indices[:first]:
                if moved:
                    self.pixels.drawn(len(index), random)
            rest = indices[first:]
            own = [index[share.rows(len(index))] for index in rest]
            decoded = self._parts(own, seed, epoch) if parts else self._middles(own)
            for whole, index, images in zip(rest, own, decoded, strict=True):
                if moved:
                    drawn = self.pixels.drawn(len(whole), random)
                    images = self.pixels.moved(images, drawn, share.rows(len(whole)))
                yield self.pixels.normalized(images), self.targets[index]

        return Batches(begin)

    def _middles(self, indices: Sequence[Tensor]) -> Iterator[Tensor]:
        """The middles of the images of each batch, decoded or from memory."""
        fetch = partial(_decoded, self.paths, self.size, self.view)
        if not self.hold:
            yield from self._read(fetch, indices)
            return
        held = self._held
        missing = [index[~held.there[index]] for index in indices]
        for index, lacking, images in zip(
            indices, missing, self._read(fetch, missing), strict=True
        ):
            held.images[lacking], held.there[lacking] = images, True
            yield held.images[index]

    def _parts(self, indices: Sequence[Tensor], seed: int, epoch: int) -> Iterator[Tensor]:
        """Parts of the images of each batch, drawn at random."""
        return self._read(partial(self._drawn, seed=seed, epoch=epoch), indices)

    def _drawn(self, index: Tensor, *, seed: int, epoch: int) -> Tensor:
        images = torch.empty((len(index), 3, self.size, self.size), dtype=torch.uint8)
        with seeds_apart() as seeded:
            for row, number in zip(images.numpy(), index.tolist(), strict=True):
                seeded(derived(seed, epoch, number))
                part = decode_part(self.paths[number], self.size, self.view)
                row[:] = part.transpose(2, 0, 1)
        return images

    def _read(
        self, fetch: Callable[[Tensor], Tensor], indices: Sequence[Tensor]
    ) -> Iterator[Tensor]:
        """The images of each batch [N, 3, size, size], which are fetched chunk by chunk."""
        chunks = [chunk for index in indices for chunk in torch.split(index, CHUNK) if len(chunk)]
        arrived = read(fetch, chunks, workers=self.workers, pace=self._pace, size=CHUNK)
        for index in indices:
            images = torch.empty((len(index), 3, self.size, self.size), dtype=torch.uint8)
            for rows in torch.split(images, CHUNK) if len(index) else ():
                rows[:] = next(arrived)
            yield images

    @cached_property
    def _held(self) -> _Held:
        shape = (len(self), 3, self.size, self.size)
        return _Held(
            torch.empty(shape, dtype=torch.uint8), torch.zeros(len(self), dtype=torch.bool)
        )

    def fingerprint(self) -> str:
        """Hash of every file's class folder, name and size in bytes, without reading them."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:  # each training that keeps its place asks for it
        view = "" if self.view == MIDDLE else str(self.view)
        digest = hashlib.sha256(f"{self.size}{self.pixels}{view}".encode())
        names = self.paths if isinstance(self.paths, Files) else None
        for number, target in enumerate(self.targets.tolist()):
            if names is not None:
                name, size = names.name(number).rpartition(b"/")[2], names.size(number)
            else:
                path = self.paths[number]
                name, size = os.fsencode(path.name), path.stat().st_size
            digest.update(b"%d/%b/%d\n" % (target, name, size))
        return digest.hexdigest()
