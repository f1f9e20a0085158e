"""Devices that answer how long a network, and each of its layers, takes.

A platform is anything with the methods of :class:`Platform`; nothing needs to be inherited.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from netadapt.measurement import DeviceInfo, Measurement
from netadapt.network import LayerShape


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warmups: runs before each burst that are not counted.
        passes: shuffled passes over everything to be measured; spreading beats repeating.
        bursts: bursts of runs per pass.
        runs: counted runs per burst.
        min_seconds: keep adding passes until each item has run at least this long in total.
    """

    warmups: int = 2
    passes: int = 4
    bursts: int = 3
    runs: int = 4
    min_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Workload:
    """A whole network to be measured.

    Attributes:
        name: shown in progress and errors.
        onnx: the serialized ONNX model; devices that only model costs do not read it.
        layers: the shapes of its layers.
    """

    name: str
    onnx: bytes
    layers: tuple[LayerShape, ...]


Progress = Callable[[int, int], None]
"""Called with (done, total) as a measurement proceeds."""


class Platform(Protocol):
    """A device."""

    @property
    def uri(self) -> str:
        """What opens it again, such as ``ort:cpu``."""
        ...

    def describe(self) -> DeviceInfo:
        """What the device is, with all settings that change its timings."""
        ...

    def measure_layers(
        self, shapes: Sequence[LayerShape], effort: Effort = ..., progress: Progress | None = None
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """Time each layer as it runs inside a network, yielding results as they come.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a layer.
        """
        ...

    def measure_networks(
        self, models: Sequence[Workload], effort: Effort = ..., progress: Progress | None = None
    ) -> list[Measurement]:
        """Time whole networks, their runs interleaved so that all meet the same conditions.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a network.
        """
        ...
