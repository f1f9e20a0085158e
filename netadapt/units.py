"""Quantities with units: ``15ms``, ``3mJ``, ``60%``, and back.

A bare number is refused: ``15`` of what is the question that most budget errors come from.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from netadapt.errors import UsageError

Resource = Literal["latency", "energy", "fraction"]

_SCALES: dict[str, tuple[Resource, float]] = {
    "s": ("latency", 1.0),
    "ms": ("latency", 1e-3),
    "us": ("latency", 1e-6),
    "µs": ("latency", 1e-6),
    "J": ("energy", 1.0),
    "mJ": ("energy", 1e-3),
    "uJ": ("energy", 1e-6),
    "µJ": ("energy", 1e-6),
    "nJ": ("energy", 1e-9),
    "%": ("fraction", 1e-2),
}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([a-zA-Zµμ%]*)\s*")


@dataclass(frozen=True, slots=True)
class Budget:
    """A bound on one resource.

    Attributes:
        resource: ``latency`` (seconds), ``energy`` (joules) or ``fraction`` (of the original).
        value: the bound, in the base unit of the resource; a fraction lies in (0, 1].
    """

    resource: Resource
    value: float

    def limit(self, original: float) -> float:
        """The bound as a number in the unit of ``original``, the unpruned network's resource."""
        return self.value * original if self.resource == "fraction" else self.value

    def __str__(self) -> str:
        if self.resource == "fraction":
            return f"{self.value * 100:g}%"
        return (
            format_seconds(self.value) if self.resource == "latency" else format_joules(self.value)
        )


def parse_budget(text: str) -> Budget:
    """Read a budget such as ``12ms``, ``3mJ`` or ``60%``.

    Raises:
        UsageError: the text has no unit, an unknown unit, or a value out of range.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UsageError(f"Budget {text!r} is not a quantity; write it like 12ms, 3mJ or 60%.")
    number, unit = match.groups()
    if not unit:
        raise UsageError(
            f"Budget {text!r} has no unit; write {number}ms, {number}mJ, or {number}% "
            "(of the measured original)."
        )
    unit = unit.replace("μ", "µ")  # GREEK SMALL LETTER MU -> MICRO SIGN
    if unit not in _SCALES:
        raise UsageError(
            f"Budget {text!r} has the unknown unit {unit!r}; known: {', '.join(_SCALES)}."
        )
    resource, scale = _SCALES[unit]
    value = float(number) * scale
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"Budget {text!r} must be above zero.")
    if resource == "fraction" and value > 1:
        raise UsageError(f"Budget {text!r} is above the original; give at most 100%.")
    return Budget(resource, value)


def _scaled(value: float, unit: str, steps: tuple[tuple[float, str], ...]) -> str:
    for scale, prefix in steps:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    scale, prefix = steps[-1]
    return f"{value / scale:.3g} {prefix}{unit}"


def format_seconds(value: float) -> str:
    """Seconds for a person: ``12.3 ms``."""
    return _scaled(value, "s", ((1.0, ""), (1e-3, "m"), (1e-6, "µ")))


def format_joules(value: float) -> str:
    """Joules for a person: ``3.1 mJ``."""
    return _scaled(value, "J", ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")))


def format_count(value: float) -> str:
    """A plain count for a person: ``12.3 M``."""
    return _scaled(value, "", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))).rstrip()


def format_quantity(value: float, unit: str) -> str:
    """A cost for a person: seconds, joules, or a count of ``unit``."""
    if unit == "s":
        return format_seconds(value)
    return format_joules(value) if unit == "J" else f"{format_count(value)} {unit}"


def format_metric(value: float, *, share: bool) -> str:
    """A metric for a person: a percentage if it is a share of 1, else the number."""
    return f"{value:.2%}" if share else f"{value:.4g}"


def format_bytes(value: float) -> str:
    """A file size for a person: ``4.2 MB`` (powers of ten)."""
    return _scaled(value, "B", ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")))
