"""Integers of an exported graph, such as the target of a reshape, as functions of group sizes."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from netadapt.errors import ModelError
from netadapt.network import Network, Sizes, shrinkable

_SAMPLES = 4  # further sizes at which equal widths are told apart
_SMALLEST = 2  # a width of 1 is where exporters take shortcuts


class Ambiguous(ModelError):
    """Several widths explain an integer; one more export at other widths may tell."""


@dataclass(frozen=True, slots=True)
class Term:
    """An integer that follows a width: ``ratio * widths[position] + offset``.

    Attributes:
        position: of the width, in :func:`widths_of`.
        ratio: such as 1/2 for each part of a tensor that is split in two.
        offset: added to it.
    """

    position: int
    ratio: Fraction = Fraction(1)
    offset: int = 0

    def at(self, widths: Sequence[int]) -> int:
        """Its value."""
        return widths[self.position] * self.ratio.numerator // self.ratio.denominator + self.offset


Form = int | Term
"""An integer that no width changes, or one that follows a width."""


def value_of(form: Form, widths: Sequence[int]) -> int:
    """An integer for the widths of :func:`widths_of`."""
    return form.at(widths) if isinstance(form, Term) else form


def widths_of(network: Network, sizes: Sizes) -> tuple[int, ...]:
    """Every width that the network knows, in an order that does not depend on the sizes.

    Sizes of groups, dimensions of tensors, widths of layers, and attributes of modules.
    """
    complete = network.complete(sizes)
    known = [complete[group] for group in network.groups]
    known += [width.at(complete) for tensor in network.tensors for width in tensor.shape]
    known += [width.at(complete) for layer in network.layers for width in layer.widths]
    for values in network.attributes(sizes).values():
        for value in values.values():
            known += _integers(value)
    return tuple(known)


def _integers(value: Any) -> list[int]:
    """The integers in the value of an attribute."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [number for part in value for number in _integers(part)]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else []


def uneven_keep(network: Network, seed: int) -> dict[str, tuple[int, ...]]:
    """Random units of every group, so that no two groups of one size keep equally many.

    Widths of the same network at these sizes tell which group an integer follows. About half or
    more of each group stays, where that leaves enough different numbers.
    """
    rng = random.Random(seed)
    taken: dict[int, set[int]] = {}
    keep = {}
    for group in shrinkable(network):
        used = taken.setdefault(group.size, set())
        for low in (math.ceil(group.size / 2), _SMALLEST, 1):
            free = [size for size in range(max(1, low), group.size) if size not in used]
            if free:
                break
        size = rng.choice(free or range(1, group.size))
        used.add(size)
        keep[group.id] = tuple(sorted(rng.sample(range(group.size), size)))
    return keep


def sizes_of(keep: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """How many units of each group stay."""
    return {group: len(units) for group, units in keep.items()}


class Widths:
    """The widths of a network at a few sizes: says what an integer follows.

    Args:
        network: the network.
        references: the sizes at which values are given to :meth:`form`, the full ones first.
    """

    def __init__(self, network: Network, references: Sequence[Sizes]) -> None:
        others = [sizes_of(uneven_keep(network, -1 - n)) for n in range(_SAMPLES)]
        rows = [widths_of(network, sizes) for sizes in (*references, *others)]
        columns: dict[tuple[int, ...], int] = {}
        for position, column in enumerate(zip(*rows, strict=True)):
            columns.setdefault(column, position)
        self._count = len(references)
        self._columns = {c: p for c, p in columns.items() if len(set(c)) > 1}

    def form(self, values: Sequence[int], where: str) -> Form:
        """What an integer follows that has these values at the references.

        Args:
            values: one for each reference.
            where: what has it, for the error.

        Raises:
            Ambiguous: several widths explain it.
            ModelError: none does.
        """
        if len(set(values)) == 1:
            return values[0]
        for explain in (_equal, _proportional, _shifted):
            terms = [
                term
                for column, position in self._columns.items()
                if (term := explain(values, column[: self._count], column, position)) is not None
            ]
            if len(terms) > 1:
                raise Ambiguous(f"Several widths explain {where}, which is {tuple(values)}.")
            if terms:
                return terms[0]
        raise ModelError(f"No width of the network explains {where}, which is {tuple(values)}.")


def _equal(
    values: Sequence[int], known: Sequence[int], column: Sequence[int], position: int
) -> Term | None:
    """The width itself."""
    return Term(position) if tuple(values) == tuple(known) else None


def _proportional(
    values: Sequence[int], known: Sequence[int], column: Sequence[int], position: int
) -> Term | None:
    """A multiple or a part of the width, whole at all sizes."""
    if known[0] == 0:
        return None
    ratio = Fraction(values[0], known[0])
    exact = all(ratio * width == value for value, width in zip(values, known, strict=True))
    whole = exact and all((ratio * width).denominator == 1 for width in column)
    return Term(position, ratio) if whole else None


def _shifted(
    values: Sequence[int], known: Sequence[int], column: Sequence[int], position: int
) -> Term | None:
    """The width and some more, or less."""
    offsets = {value - width for value, width in zip(values, known, strict=True)}
    return Term(position, offset=offsets.pop()) if len(offsets) == 1 else None
