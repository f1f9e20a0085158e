"""What is left of a model's tensors when units go, as arrays: the same cut as surgery, and fast."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netadapt.export.sources import Array, State
from netadapt.network import Network

_Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cuts:
    """Where each group's units lie in each tensor, in a form that is quick to read.

    Attributes:
        places: for each dimension of a tensor that may lose something, the groups there, with the
            indices that each of their units owns: ``[units, indices per unit]``.
    """

    places: Mapping[tuple[str, int], Sequence[tuple[str, _Indices]]]

    @classmethod
    def of(cls, network: Network) -> "Cuts":
        """The places of a network's shrinkable groups."""
        places: dict[tuple[str, int], list[tuple[str, _Indices]]] = {}
        arrays: dict[int, _Indices] = {}
        for group in network.groups.values():
            for slot in () if group.fixed else group.slots:
                if id(slot.index) not in arrays:  # most slots of a group share theirs
                    arrays[id(slot.index)] = np.array(slot.index, np.int64)
                place = places.setdefault((slot.tensor, slot.dim), [])
                place.append((group.id, arrays[id(slot.index)]))
        return cls(places)

    def of_kept(self, state: State, keep: Mapping[str, Sequence[int]]) -> State:
        """The arrays with only the given units of each group named left.

        Args:
            state: of the unpruned model.
            keep: for each group that shrinks, the units that stay, ascending.
        """
        smaller: dict[str, Array] = dict(state)
        for (name, dim), groups in self.places.items():
            stays = np.ones(state[name].shape[dim], bool)
            for group, index in groups:
                if group in keep:
                    gone = np.ones(len(index), bool)
                    gone[list(keep[group])] = False
                    stays[index[gone]] = False
            if not stays.all():
                smaller[name] = smaller[name].take(np.flatnonzero(stays), dim)
        return smaller
