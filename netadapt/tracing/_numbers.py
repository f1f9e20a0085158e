"""Integers that know which number of channels, or which attribute of a module, they come from.

The model's own code computes with them while it is traced: sizes of tensors and integers held by
modules are :class:`Number`, which is an ``int`` in every other respect. Where one reaches an
operation as a size, a rule can tell whether it follows the channels that it counts.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from netadapt.tracing._ledger import NONE, Ids, Ledger, Origin, said


class Source:
    """What an integer comes from: the length of a vector of channels, or a module attribute."""

    __slots__ = ("ids", "origin", "size")

    def __init__(self, size: int, ids: Ids | None = None, origin: Origin | None = None) -> None:
        self.size = size
        self.ids = ids
        self.origin = origin


Terms = tuple[tuple[Source, Fraction], ...]


class Number(int):
    """An integer, and the linear form of sources that it is: ``const + sum(factor * source)``."""

    ledger: Ledger
    terms: Terms

    def __new__(cls, value: int, ledger: Ledger, terms: Terms) -> "Number":
        """An ``int`` with its sources."""
        self = super().__new__(cls, value)
        self.ledger = ledger
        self.terms = terms
        return self

    def __reduce__(self) -> Any:
        """A copy is a plain integer."""
        return (int, (int(self),))

    def __deepcopy__(self, memo: Any) -> int:
        return self

    @property
    def from_attributes(self) -> bool:
        """Whether it comes from attributes of modules alone."""
        return all(source.origin for source, _ in self.terms)

    def freeze(self, why: str) -> None:
        """Fix the channels it counts; an attribute becomes a constant."""
        for source, _ in self.terms:
            if source.ids is not None:
                self.ledger.fix(source.ids, why)
        self.pin()

    def pin(self) -> None:
        """Let the attributes that it comes from keep their values."""
        self.ledger.constants.update(source.origin for source, _ in self.terms if source.origin)

    def blur(self) -> None:
        """Note that a value of the network depends on it."""
        for source, _ in self.terms:
            if source.ids is not None:
                self.ledger.blur(source.ids)
            elif source.origin in self.ledger.attrs:
                self.ledger.blur(self.ledger.attrs[source.origin])

    def over(self, ids: Ids) -> bool:
        """Whether it is a share of these channels, by how it was computed."""
        whole = self.ledger.census(ids)
        for source, _ in self.terms:
            counted = self._ids(source)
            if counted is None:
                return False
            part = self.ledger.census(counted)
            if part.keys() != whole.keys() or any(
                part[unit] * len(ids) != whole[unit] * len(counted) for unit in part
            ):
                return False
        return bool(self.terms)

    def _ids(self, source: Source) -> Ids | None:
        return source.ids if source.origin is None else self.ledger.attrs.get(source.origin)

    def vector(self) -> Ids | None:
        """Channels of which it is the number, if it is one source, or an equal part of one."""
        if len(self.terms) != 1 or self.terms[0][1].numerator != 1:
            return None
        ((source, factor),) = self.terms
        ids = self._ids(source)
        if ids is None:
            assert source.origin is not None
            ids = self.ledger.fresh(source.size)
            self.ledger.attr(source.origin, ids)
        if len(ids) * factor != self:
            return None
        return ids if factor == 1 else self._one_of_equal(ids, factor.denominator)

    def _one_of_equal(self, ids: Ids, parts: int) -> Ids | None:
        """Channels of one of some equal parts, in a row or in turns, that are tied already."""
        for rows in (ids.reshape(parts, -1), ids.reshape(-1, parts).T):
            units = [self.ledger.units(row) for row in rows]
            if all(np.array_equal(units[0], other) for other in units[1:]):
                first: Ids = rows[0]
                return first
        return None

    def follows(self, ids: Ids, tie: bool = True) -> bool:
        """Whether it stays the number of these channels whichever of them are removed.

        An attribute that nothing is known of is taken to hold just this number from now on.

        Args:
            ids: the channels.
            tie: whether to tie it to other channels of the same number to make it so.
        """
        missing = {unit: Fraction(count) for unit, count in self.ledger.census(ids).items()}
        unknown: list[tuple[Origin, Fraction]] = []
        self._subtract(missing, {NONE: 1}, Fraction(int(self)))
        for source, factor in self.terms:
            self._subtract(missing, {NONE: 1}, -factor * source.size)
            counted = self._ids(source)
            if counted is not None:
                self._subtract(missing, self.ledger.census(counted), factor)
            elif source.origin is not None:
                unknown.append((source.origin, factor))
        if not unknown:
            return not any(missing.values()) or (tie and self._tie(ids))
        return len(unknown) == 1 and self._learn(*unknown[0], missing)

    @staticmethod
    def _subtract(left: dict[int, Fraction], counts: dict[int, int], factor: Fraction) -> None:
        for unit, count in counts.items():
            left[unit] = left.get(unit, Fraction(0)) - factor * count

    def _learn(self, origin: Origin, factor: Fraction, missing: dict[int, Fraction]) -> bool:
        counts = {unit: count / factor for unit, count in missing.items() if count}
        if any(count < 0 or count.denominator != 1 for count in counts.values()):
            return False
        units = np.array(sorted(counts), dtype=np.int64)
        self.ledger.attr(origin, np.repeat(units, [int(counts[unit]) for unit in units.tolist()]))
        return True

    def _tie(self, ids: Ids) -> bool:
        counted = self.vector()
        if counted is None:
            counted = self._share()
        if counted is None or len(counted) != len(ids):
            return False
        name = self.terms[0][0].origin
        where = said(name) if name else "the number of channels of another tensor"
        self.ledger.tie(counted, ids, f"is as wide as {where}, which is fixed")
        return True

    def _share(self) -> Ids | None:
        """Channels of one of equal parts of what it counts, which lose the same of each from here.

        So do the heads of an attention whose width is that of the channels over their number.
        """
        if len(self.terms) != 1 or self.terms[0][1].numerator != 1:
            return None
        ((source, factor),) = self.terms
        ids = self._ids(source)
        if ids is None or len(ids) * factor != self:
            return None
        why = "is divided by the code into parts beside channels of a fixed width"
        return self.ledger.couple(ids.reshape(factor.denominator, -1), why)

    # Arithmetic: sums, multiples and exact quotients stay known.

    def _plus(self, other: Any, sign: int, swapped: bool = False) -> Any:
        if type(other) is not int and not isinstance(other, Number):
            return NotImplemented
        mine, theirs = (-1, 1) if swapped else (1, sign)
        terms = [(source, mine * factor) for source, factor in self.terms]
        if isinstance(other, Number):
            terms += [(source, theirs * factor) for source, factor in other.terms]
        return number(mine * int(self) + theirs * int(other), self.ledger, terms)

    def __add__(self, other: Any) -> Any:
        return self._plus(other, 1)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._plus(other, -1)

    def __rsub__(self, other: Any) -> Any:
        return self._plus(other, 1, swapped=True)

    def __neg__(self) -> Any:
        return self._times(-1)

    def _times(self, factor: int) -> Any:
        terms = [(source, share * factor) for source, share in self.terms]
        return number(int(self) * factor, self.ledger, terms)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Number) and other.terms:
            return product(self, other)
        if type(other) is int or isinstance(other, Number):
            return self._times(int(other))
        self.blur()
        return int(self) * other

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if not isinstance(other, int):
            self.blur()
            return int(self) // other
        if isinstance(other, Number):
            if not other.from_attributes:
                return ratio(self, other)
            other.pin()
        if int(other) == 0 or int(self) % int(other):
            return self._lost(other, int(self) // int(other))
        terms = [(source, share / int(other)) for source, share in self.terms]
        return number(int(self) // int(other), self.ledger, terms)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._lost(other, other // int(self))

    def __mod__(self, other: Any) -> Any:
        left = int(self) % other
        return left if left == 0 else self._lost(other, left)  # a check that it divides

    def __rmod__(self, other: Any) -> Any:
        if isinstance(other, str):
            return other % int(self)
        return other % int(self)

    def __truediv__(self, other: Any) -> Any:
        self.blur()
        return int(self) / other

    def __rtruediv__(self, other: Any) -> Any:
        self.blur()
        return other / int(self)

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        self.blur()
        return pow(int(self), other, modulus)

    def __float__(self) -> float:
        self.blur()
        return float(int.__int__(self))

    def _lost(self, other: Any, value: Any) -> Any:
        """A result that is no linear form: what goes into it is fixed."""
        for part in (self, other):
            if isinstance(part, Number):
                part.freeze("has a width that the code computes other sizes from")
        return value


def number(value: int, ledger: Ledger, terms: Iterable[tuple[Source, Fraction]]) -> int:
    """A :class:`Number`, or an ``int`` if no source is left in it."""
    merged: dict[int, tuple[Source, Fraction]] = {}
    for source, factor in terms:
        key = hash(source.origin) if source.origin else id(source.ids)
        merged[key] = (source, merged.get(key, (source, Fraction(0)))[1] + factor)
    left = tuple((source, factor) for source, factor in merged.values() if factor)
    return Number(value, ledger, left) if left else value


def product(a: Number, b: Number) -> Any:
    """A product of two: linear if the attributes in one of them are taken as constants."""
    factor, rest = sorted((a, b), key=lambda n: (not n.from_attributes, int(n)))
    if not factor.from_attributes:
        return a._lost(b, int(a) * int(b))
    factor.pin()
    return rest._times(int(factor))


def ratio(a: Number, b: Number) -> Any:
    """A quotient of two numbers of channels, which is a constant if they keep their ratio."""
    counted = b.vector()
    if counted is not None and int(a) % int(b) == 0 and a.over(counted):
        return int(a) // int(b)
    return a._lost(b, int(a) // int(b))
