"""From a ledger to channel groups, and from vectors of channels to affine widths."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netadapt.network import ChannelGroup, Slot, Width
from netadapt.tracing._ledger import NONE, Ids, Ledger

SINGLE = "has channels that can only be removed all at once"
ORPHAN = "has channels that no layer produces"


@dataclass(frozen=True)
class Grouping:
    """Which group each channel belongs to.

    Attributes:
        groups: all groups, shrinkable or not, in order of their first layer.
        label: for each channel id, the position of its group in ``groups``.
    """

    groups: tuple[ChannelGroup, ...]
    label: Ids

    def width(self, ids: Ids) -> Width:
        """The number of these channels as an affine form of the sizes of shrinkable groups."""
        labels, counts = np.unique(self.label[ids[ids != NONE]], return_counts=True)
        const = int((ids == NONE).sum())
        terms = []
        for label, count in zip(labels.tolist(), counts.tolist(), strict=True):
            group = self.groups[label]
            if group.fixed:
                const += count
            else:
                terms.append((group.id, count // group.size))
        return Width(const, tuple(terms))


def group_channels(ledger: Ledger, virtual: Iterable[Ids]) -> Grouping:
    """Channels that are held by the same places, equally often, form a group.

    Channels that are tied are one unit. Two units belong to one group if no place tells them
    apart, for then every width depends on how many of them there are and not on which.

    Args:
        ledger: the findings.
        virtual: further vectors whose lengths must be affine in the sizes of the groups.
    """
    roots = ledger.roots()
    units = np.flatnonzero(np.bincount(roots, minlength=len(roots))) if len(roots) else roots
    marks = np.zeros((len(roots), 2), dtype=np.uint64)
    keys = np.random.default_rng(0)  # 128 random bits for each place; sums tell units apart
    for ids in [*ledger.slots.values(), *{id(v): v for v in virtual}.values()]:
        key = keys.integers(1, 2**63, size=2, dtype=np.uint64)
        counts = np.bincount(roots[ids[ids != NONE]], minlength=1).astype(np.uint64)
        marks[: len(counts)] += counts[:, None] * key
    fixed = reasons(ledger, roots)
    marks[list(fixed), 0] ^= np.uint64(1 << 63)  # a fixed unit never shares a group with others
    _, label_of_unit = np.unique(marks[units], axis=0, return_inverse=True)
    label = np.zeros(len(roots), dtype=np.int64)
    label[units] = label_of_unit.reshape(-1)
    return build(ledger, roots, label[roots], fixed)


def reasons(ledger: Ledger, roots: Ids) -> dict[int, str]:
    """Why units are fixed, by the channel that stands for the unit."""
    found: dict[int, str] = {}
    for channel, why in ledger.fixed.items():
        found.setdefault(int(roots[channel]), why)
    return found


def build(ledger: Ledger, roots: Ids, label: Ids, fixed: dict[int, str]) -> Grouping:
    """The groups for labelled channels, numbered by their first producer."""
    order, slots = collect(ledger, roots, label)
    inexact, several, summed = (
        {int(label[channel]) for channel in channels}
        for channels in (
            ledger.inexact, ledger.several, ledger.summed
        )
    )  # fmt: skip
    lifted = {int(label[channel]) for channel in ledger.lifted}
    taken: dict[str, int] = {}
    groups = []
    for old in order:
        held = slots[old]
        root = next((slot for slot in held if slot.role == "out"), held[0])
        name = ledger.producers.get(root.tensor, root.tensor.rpartition(".")[0] or root.tensor)
        taken[name] = taken.get(name, 0) + 1
        unit = int(roots[ledger.slots[root.tensor, root.dim][root.index[0][0]]])
        why = fixed.get(unit, "")
        if not why and not any(slot.role == "out" for slot in held):
            why = ORPHAN
        elif not why and len(root.index) == 1:
            why = SINGLE
        groups.append(
            ChannelGroup(
                id=name if taken[name] == 1 else f"{name}#{taken[name]}",
                size=len(root.index),
                slots=held,
                channels_per_unit=len(root.index[0]),
                fixed=why,
                exact=old not in inexact and not (old in summed and old in lifted),
                least=2 if old in several else 1,
                summed=old in summed,
            )
        )
    renumber = np.full(int(label.max(initial=-1)) + 1, NONE, dtype=np.int64)
    renumber[order] = np.arange(len(order))
    return Grouping(tuple(groups), renumber[label])


def collect(
    ledger: Ledger, roots: Ids, label: Ids
) -> tuple[list[int], dict[int, tuple[Slot, ...]]]:
    """For each label its slots, labels in order of their first producer.

    Units are counted in the order in which the first producer holds them.
    """
    places = sorted(ledger.slots, key=lambda place: "out" not in ledger.roles[place])
    rank = np.full(len(roots), NONE, dtype=np.int64)  # of a unit within its group
    found: dict[int, list[Slot]] = {}
    indices: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {}
    for place in places:
        ids = ledger.slots[place]
        where = np.flatnonzero(ids != NONE)
        labels = label[ids[where]]
        for one in dict.fromkeys(labels.tolist()):
            key = (id(ids), one)
            if key not in indices:
                mine = where[labels == one]
                indices[key] = index_of(roots[ids[mine]], mine, rank, new=one not in found)
            slots = found.setdefault(one, [])
            for role in ledger.roles[place]:
                if role != "channelwise" or len(ledger.roles[place]) == 1:
                    slots.append(Slot(place[0], place[1], role, indices[key]))
    return list(found), {one: tuple(slots) for one, slots in found.items()}


def index_of(units: Ids, where: Ids, rank: Ids, new: bool) -> tuple[tuple[int, ...], ...]:
    """For each unit of a group, the positions that it owns in one place."""
    if new:
        first = np.unique(units, return_index=True)
        rank[first[0][np.argsort(first[1])]] = np.arange(len(first[0]))
    ranks = rank[units]
    size = int(ranks.max()) + 1
    by_unit = where[np.argsort(ranks, kind="stable")].reshape(size, -1)
    return tuple(map(tuple, by_unit.tolist()))
