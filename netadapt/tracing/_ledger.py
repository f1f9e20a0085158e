"""What a trace finds out about channels: which are tied, which may not go, and where they are held.

Every channel has an integer id. Rules tie ids that can only be removed together (union-find), fix
those that may not be removed, and enter every place that holds channels as a vector of ids.
``NONE`` stands for a channel that is nobody's to remove, such as one of the network's input.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Role = Literal["out", "in", "channelwise"]

NONE = -1


def nobody(size: int) -> Ids:
    """A vector of channels that are nobody's to remove."""
    return np.full(size, NONE, dtype=np.int64)


class Ledger:
    """The findings of a trace, written by the rules and read once at the end.

    Args:
        canonical: for each name of a parameter or buffer, its first name (tied tensors have many).
        shapes: shape of each tensor by its first name.
    """

    def __init__(self, canonical: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.canonical = canonical
        self.shapes = shapes
        self.slots: dict[tuple[str, int], Ids] = {}
        self.roles: dict[tuple[str, int], list[Role]] = {}
        self.producers: dict[str, str] = {}
        self.attrs: dict[tuple[str, str], tuple[Ids, bool]] = {}
        self.fixed: dict[int, str] = {}
        self.inexact: set[int] = set()
        self.untouched: dict[str, str] = {}
        self._parent: list[int] = []

    def fresh(self, size: int) -> Ids:
        """Ids of new channels, tied to nothing."""
        start = len(self._parent)
        self._parent.extend(range(start, start + size))
        return np.arange(start, start + size, dtype=np.int64)

    def find(self, channel: int) -> int:
        """The id that stands for all that are tied to this one."""
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    def tie(self, a: Ids, b: Ids, why: str) -> None:
        """Let ``a[i]`` and ``b[i]`` be removed only together.

        Args:
            a: channels.
            b: as many channels.
            why: what is said of a channel that is tied to one that is nobody's to remove.
        """
        if a is b:
            return
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            if x == NONE or y == NONE:
                if x != y:
                    self.fixed.setdefault(max(x, y), why)
            elif x != y:
                low, high = sorted((self.find(x), self.find(y)))
                self._parent[high] = low

    def couple(self, rows: Ids, why: str) -> Ids:
        """Tie each column of ``[rows, columns]`` into one; returns one channel per column."""
        for row in rows[1:]:
            self.tie(rows[0], row, why)
        first: Ids = rows[0]
        return first

    def fix(self, ids: Ids | None, why: str) -> None:
        """Forbid to remove these channels, and say why; the first reason given stays."""
        if ids is not None:
            for channel in ids.tolist():
                if channel != NONE:
                    self.fixed.setdefault(channel, why)

    def blur(self, ids: Ids) -> None:
        """Note that removing any of these channels changes what is computed for the others."""
        self.inexact.update(channel for channel in ids.tolist() if channel != NONE)

    def proportional(self, a: Ids, b: Ids) -> bool:
        """Whether the sizes of two vectors keep their ratio whatever channels are removed."""
        roots_a, counts_a = self._census(a)
        roots_b, counts_b = self._census(b)
        same = np.array_equal(roots_a, roots_b)
        return same and np.array_equal(counts_a * len(b), counts_b * len(a))

    def _census(self, ids: Ids) -> tuple[Ids, Ids]:
        roots = [channel if channel == NONE else self.find(channel) for channel in ids.tolist()]
        values, counts = np.unique(np.array(roots, dtype=np.int64), return_counts=True)
        return values, counts

    def slot(self, tensor: str, dim: int, role: Role, ids: Ids, producer: str = "") -> None:
        """Enter that ``tensor`` holds these channels along ``dim``.

        A tensor that is used twice, by a shared module or by tied weights, ties both uses.

        Args:
            tensor: any of its names.
            dim: the dimension.
            role: as in :class:`netadapt.network.Slot`.
            ids: one for each index along the dimension.
            producer: for rows of a weight, the layer that they make the output of.
        """
        place = (self.canonical[tensor], dim)
        held = self.slots.setdefault(place, ids)
        self.tie(held, ids, f"shares the tensor {place[0]} with a layer of fixed width")
        roles = self.roles.setdefault(place, [])
        if role not in roles:
            roles.append(role)
        if producer:
            self.producers.setdefault(place[0], producer)

    def attr(self, module: str, attr: str, ids: Ids, as_tuple: bool = False) -> None:
        """Enter that a module attribute holds the number of these channels."""
        self.attrs.setdefault((module, attr), (ids, as_tuple))

    def leave(self, modules: Iterable[str], why: str) -> None:
        """Note why the parameters of these modules are left as they are."""
        for module in modules:
            self.untouched.setdefault(module, why)

    def roots(self) -> Ids:
        """For every id, the one that stands for all tied to it."""
        parent = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        return parent


def freeze(ledger: Ledger, value: Any, why: str) -> None:
    """Fix every channel that occurs anywhere in an argument."""
    ids = getattr(value, "ids", None)
    if isinstance(ids, np.ndarray):
        ledger.fix(ids, why)
    elif isinstance(value, Mapping):
        freeze(ledger, list(value.values()), why)
    elif isinstance(value, slice):
        freeze(ledger, [value.start, value.stop, value.step], why)
    elif isinstance(value, list | tuple):
        for part in value:
            freeze(ledger, part, why)
