"""The holdout images of a race, part by part, in the order in which all candidates see them."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from netadapt.data.batches import skipped
from netadapt.data.task import Batch, Task
from netadapt.search.race import batch_size

_HELD_BYTES = 256 * 2**20


@dataclass
class Parts:
    """Reads the images, and holds those of the present part for the candidates that follow.

    They are decoded once per part for all candidates, if the part fits in 256 MiB.

    Attributes:
        task: gives the holdout images.
    """

    task: Task
    _held: tuple[tuple[int, int, int], list[Batch]] | None = field(default=None, init=False)
    _ahead: tuple[tuple[int, int], Iterator[Batch]] | None = field(default=None, init=False)

    def batches(self, part: tuple[int, int], seed: int) -> Iterable[Batch]:
        """The images from ``start`` up to ``stop``, in the random order of a seed."""
        key = (seed, *part)
        if self._held and self._held[0] == key:
            return self._held[1]
        start, stop = part
        size = batch_size(len(self.task.holdout))
        fits = (stop - start) * 4 * math.prod(self.task.input_shape) <= _HELD_BYTES
        if not fits:
            ahead = skipped(self._shuffled(seed, size), start // size)
            return itertools.islice(ahead, (stop - start) // size)
        if self._ahead and self._ahead[0] == (seed, start):
            source = self._ahead[1]
        else:
            source = skipped(self._shuffled(seed, size), start // size)
        batches = list(itertools.islice(source, (stop - start) // size))
        self._held, self._ahead = (key, batches), ((seed, stop), source)
        return batches

    def _shuffled(self, seed: int, size: int) -> Iterator[Batch]:
        return self.task.batches("holdout", batch_size=size, seed=seed, shuffle=True)
