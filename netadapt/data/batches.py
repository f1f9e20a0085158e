"""One pass over a split: its order, its random numbers, and how to begin it midway."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from netadapt.data.task import Batch


def derived(*parts: int) -> int:
    """A seed of 56 bits that depends on all the parts."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:7], "little")


def generator(*parts: int) -> torch.Generator:
    """Random numbers of one seed and epoch, or of a batch of it; any other parts give others."""
    return torch.Generator().manual_seed(derived(*parts))


def order(count: int, batch_size: int, *, random: torch.Generator | None) -> list[Tensor]:
    """Indices of each batch, shuffled if there is a generator; see ``Split.batches``."""
    if random is None:
        return list(torch.split(torch.arange(count), batch_size))
    batches = list(torch.split(torch.randperm(count, generator=random), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < batch_size else batches


@dataclass(frozen=True, slots=True)
class Share:
    """The images of every batch that one of several processes takes.

    Attributes:
        number: of the process, from 0.
        size: how many processes there are.
    """

    number: int = 0
    size: int = 1

    def rows(self, images: int) -> slice:
        """Which they are of so many: those that follow each other, nearly equally many for all."""
        first, end = (images * part // self.size for part in (self.number, self.number + 1))
        return slice(first, end)


@dataclass
class Batches(Iterator[Batch]):
    """The batches of a pass; nothing is read before the first is asked for.

    Attributes:
        begin: gives the share of the batches from one on, counted from 0, as they are in the whole
            pass.
    """

    begin: Callable[[int, Share], Iterator[Batch]]
    _first: int = field(default=0, init=False)
    _share: Share = field(default=Share(), init=False)
    _rest: Iterator[Batch] | None = field(default=None, init=False, repr=False)

    def __next__(self) -> Batch:
        """The next batch."""
        if self._rest is None:
            self._rest = self.begin(self._first, self._share)
        return next(self._rest)

    def shared(self, share: Share) -> "Batches":
        """The same with a share of each batch alone, before any was asked for."""
        assert self._rest is None, "the pass has begun"
        self._share = share
        return self

    def skip(self, count: int) -> Iterator[Batch]:
        """The same without so many of the next ones, which are not read if it has not begun."""
        if self._rest is None:
            self._first += count
            return self
        return itertools.islice(self, count, None)


def skipped(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """Batches from one on, counted from 0; of a user's own split, those before it are read too."""
    if isinstance(batches, Batches):
        return batches.skip(count)
    return itertools.islice(batches, count, None)
