"""What a trace finds out about channels: which are tied, which may not go, and where they are held.

Every channel has an integer id. Rules tie ids that can only be removed together (union-find), fix
those that may not be removed, and enter every place that holds channels as a vector of ids.
``NONE`` stands for a channel that is nobody's to remove, such as one of the network's input.
"""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Role = Literal["out", "in", "channelwise"]
Place = tuple[str, int]
"""A tensor's name, and one of its dimensions."""
Origin = tuple[str, str, int | None]
"""A module, its attribute, and the position in it if the attribute is a sequence."""

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
        self.slots: dict[Place, Ids] = {}
        self.roles: dict[Place, list[Role]] = {}
        self.producers: dict[str, str] = {}
        self.attrs: dict[Origin, Ids] = {}
        self.constants: set[Origin] = set()
        self.fixed: dict[int, str] = {}
        self.inexact: set[int] = set()
        self.summed: set[int] = set()
        self.lifted: set[int] = set()
        self.several: set[int] = set()
        self.untouched: dict[str, str] = {}
        self.used: set[str] = set()
        self._parent: list[int] = []
        self._kept: dict[str, str] = {}
        self._lineage: dict[int, tuple[Ids, frozenset[Place]]] = {}

    def copy(self) -> "Ledger":
        """A ledger that goes on from here and leaves this one as it is."""
        other = copy.copy(self)
        for name, held in vars(self).items():
            if isinstance(held, dict | set | list) and name not in ("canonical", "shapes"):
                setattr(other, name, held.copy())
        other.roles = {place: [*roles] for place, roles in self.roles.items()}
        return other

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

    def sum_over(self, ids: Ids) -> None:
        """Note that a channel's values are added up without weights that could be zeroed."""
        self.summed.update(channel for channel in ids.tolist() if channel != NONE)

    def lift(self, ids: Ids) -> None:
        """Note that these channels may differ from zero although what produces them is zero."""
        self.lifted.update(channel for channel in ids.tolist() if channel != NONE)

    def leave_two(self, ids: Ids) -> None:
        """Let no fewer than two of these channels stay, for one alone would be dropped."""
        self.several.update(channel for channel in ids.tolist() if channel != NONE)

    def census(self, ids: Ids) -> dict[int, int]:
        """How often each unit occurs, and ``NONE``."""
        values, counts = np.unique(self.units(ids), return_counts=True)
        return dict(zip(values.tolist(), counts.tolist(), strict=True))

    def units(self, ids: Ids) -> Ids:
        """For each channel the one that stands for its unit, as far as is known."""
        roots = [channel if channel == NONE else self.find(channel) for channel in ids.tolist()]
        return np.array(roots, dtype=np.int64)

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
        if place not in self.slots and place[0] in self._kept:
            self.fix(ids, self._kept[place[0]])
        held = self.slots.setdefault(place, ids)
        self.tie(held, ids, f"shares the tensor {place[0]} with a layer of fixed width")
        self._assume(place, role, producer)

    def _assume(self, place: Place, role: Role, producer: str) -> None:
        roles = self.roles.setdefault(place, [])
        if role not in roles:
            roles.append(role)
        if producer:
            self.producers.setdefault(place[0], producer)

    def param(self, tensor: str, dim: int) -> Ids:
        """The channels that a tensor's dimension is found to hold, or new ones."""
        place = (self.canonical[tensor], dim)
        if place not in self.slots:
            self.slot(tensor, dim, "channelwise", self.fresh(self.shapes[place[0]][dim]))
        ids = self.slots[place].copy()
        self._lineage[id(ids)] = (ids, frozenset({place}))
        return ids

    def places(self, ids: Ids) -> frozenset[Place]:
        """Where these channels lie, if only parameters and buffers went into the tensor."""
        return self._lineage.get(id(ids), (ids, frozenset()))[1]

    def descend(self, ids: Ids, *sources: Ids) -> Ids:
        """The same channels, whose places are those of all sources, if each has any."""
        places = [self.places(source) for source in sources]
        if places and all(places):
            ids = ids.copy()
            self._lineage[id(ids)] = (ids, frozenset().union(*places))
        return ids

    def act_as(self, ids: Ids, role: Role, producer: str = "") -> None:
        """Give a role to all places that a computed weight's dimension comes from."""
        for place in self.places(ids):
            self._assume(place, role, producer)

    def keep(self, tensor: str, why: str) -> None:
        """Forbid any change to a tensor, whatever else it is used for."""
        name = self.canonical[tensor]
        self._kept.setdefault(name, why)
        for (held, _), ids in self.slots.items():
            if held == name:
                self.fix(ids, why)

    def attr(self, origin: Origin, ids: Ids) -> None:
        """Enter that a module attribute holds the number of these channels."""
        held = self.attrs.setdefault(origin, ids)
        if len(held) == len(ids):
            self.tie(held, ids, f"has its width from {said(origin)}, which is fixed")

    def leave(self, modules: Iterable[str], why: str) -> None:
        """Note why the parameters of these modules are left as they are."""
        for module in modules:
            self.untouched.setdefault(module, why)

    def settle(self) -> None:
        """Fix what hangs on an attribute that also serves as a constant."""
        for origin in self.constants & self.attrs.keys():
            why = f"has its width from {said(origin)}, which the code also uses as a constant"
            self.fix(self.attrs[origin], why)

    def roots(self) -> Ids:
        """For every id, the one that stands for all tied to it."""
        parent = np.array(self._parent, dtype=np.int64)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
        return parent


def said(origin: Origin) -> str:
    """An attribute as a user would write it."""
    module, attr, index = origin
    name = f"{module}.{attr}".lstrip(".")
    return name if index is None else f"{name}[{index}]"


def freeze(ledger: Ledger, value: Any, why: str) -> None:
    """Fix every channel that occurs anywhere in an argument, and every tensor of the model."""
    name, axes = getattr(value, "name", ""), getattr(value, "axes", None)
    if axes is not None:
        for ids in axes.values():
            ledger.fix(ids, why)
        if name:
            ledger.keep(name, why)
            ledger.leave([name.rpartition(".")[0]], why)
    elif hasattr(value, "freeze"):
        value.freeze(why)
    elif isinstance(value, Mapping):
        freeze(ledger, list(value.values()), why)
    elif isinstance(value, slice):
        freeze(ledger, [value.start, value.stop, value.step], why)
    elif isinstance(value, list | tuple):
        for part in value:
            freeze(ledger, part, why)
