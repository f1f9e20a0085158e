"""A value with the bounds it lies within."""

import math
from dataclasses import dataclass
from typing import Self

from netadapt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Range:
    """A value and its bounds, all in one unit; ``high`` may be infinite.

    Sums and differences assume the worst: errors that point the same way.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise UsageError(
                f"{self.value:g} does not lie within its range of {self.low:g} to {self.high:g}."
            )

    @classmethod
    def exact(cls, value: float) -> Self:
        """A value without a known error."""
        return cls(value, value, value)

    def times(self, factor: float) -> "Range":
        """The range in another unit; the factor is not negative."""
        return Range(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, other: "Range") -> "Range":
        """The sum."""
        return Range(self.value + other.value, self.low + other.low, self.high + other.high)

    def minus(self, other: "Range") -> "Range":
        """The difference, which may be negative."""
        return Range(self.value - other.value, self.low - other.high, self.high - other.low)

    def over(self, other: "Range") -> "Range":
        """The quotient of two ranges; infinite where the divisor can be zero or less.

        The value of ``other`` is above zero, and this range not negative.
        """
        high = self.high / other.low if other.low > 0 else (math.inf if self.high else 0.0)
        return Range(self.value / other.value, self.low / other.high, high)

    @property
    def is_exact(self) -> bool:
        """Whether no range is known."""
        return self.low == self.high

    def as_dict(self) -> dict[str, float | None]:
        """The range as JSON values: an infinite bound is None."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high if math.isfinite(self.high) else None,
        }


def total(parts: list[Range]) -> Range:
    """The sum of ranges; of none, exactly zero."""
    result = Range.exact(0.0)
    for part in parts:
        result = result.plus(part)
    return result


def format_range(quantity: Range, unit: str) -> str:
    """A range for a person, its unit scaled to the value: ``0.42 kWh (0.31 to 0.6)``."""
    scale, name = _scale(quantity.value, unit)
    text = f"{_number(quantity.value * scale)} {name}"
    if quantity.is_exact:
        return text
    return f"{text} ({_number(quantity.low * scale)} to {_bound(quantity.high * scale)})"


def _scale(value: float, unit: str) -> tuple[float, str]:
    size = float(f"{abs(value):.3g}")  # as it is shown: 0.9999 is 1
    if unit == "kWh" and 0 < size < 1e-3:
        return 1e6, "mWh"
    if unit == "kWh" and 0 < size < 1:
        return 1e3, "Wh"
    if unit == "days" and 0 < size < 1:
        return 24.0, "hours"
    if unit == "days" and size > 730:
        return 1 / 365.25, "years"
    if unit == "g CO2e" and size >= 1e3:
        return 1e-3, "kg CO2e"
    if unit == "g CO2e" and 0 < size < 1e-2:
        return 1e3, "mg CO2e"
    return 1.0, unit


def _number(value: float) -> str:
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 1000 else f"{rounded:g}"


def _bound(value: float) -> str:
    return _number(value) if math.isfinite(value) else "never"
