"""A layer's energy, told apart by the level that spends it and the kind of data it is spent on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

IFMAP = "ifmap"
WEIGHT = "weight"
PSUM = "psum"
OTHER = "other"

DATA = (IFMAP, WEIGHT, PSUM, OTHER)
"""Kinds of data: inputs, weights, sums (partial ones and outputs), and what serves none alone."""


@dataclass(frozen=True, slots=True)
class Part:
    """Joules for one image that one level of the hardware spends on one kind of data.

    Attributes:
        level: such as ``rf``, ``buffer`` or ``adc``; each platform has its own.
        data: one of :data:`DATA`.
        energy_j: joules for one image.
    """

    level: str
    data: str
    energy_j: float


@dataclass(frozen=True, slots=True)
class LayerEnergy:
    """What one layer costs by a model, for one image of a batch.

    Attributes:
        parts: every joule, by level and kind of data.
        latency_s: seconds for one image, a batch's time shared by its images; None where the model
            has no clock.
    """

    parts: tuple[Part, ...]
    latency_s: float | None

    @property
    def energy_j(self) -> float:
        """Joules for one image, all levels together."""
        return sum(part.energy_j for part in self.parts)

    def leaving_out(self, *levels: str) -> "LayerEnergy":
        """The same, some levels left out."""
        parts = tuple(part for part in self.parts if part.level not in levels)
        return LayerEnergy(parts, self.latency_s)

    def without(self, *levels: str) -> float:
        """Joules for one image, some levels left out: ``without("dram")`` is the chip alone."""
        return self.leaving_out(*levels).energy_j


def added(parts: Iterable[Part]) -> tuple[Part, ...]:
    """One part for each level and kind of data, in the order of their first appearance."""
    sums: dict[tuple[str, str], float] = {}
    for part in parts:
        key = (part.level, part.data)
        sums[key] = sums.get(key, 0.0) + part.energy_j
    return tuple(Part(level, data, energy_j) for (level, data), energy_j in sums.items())


def total(layers: Sequence[LayerEnergy]) -> LayerEnergy:
    """Layers one after the other; without a latency if one of them has none."""
    times_s = [layer.latency_s for layer in layers if layer.latency_s is not None]
    return LayerEnergy(
        added(part for layer in layers for part in layer.parts),
        sum(times_s) if len(times_s) == len(layers) else None,
    )
