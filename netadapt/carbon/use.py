"""What a run used and what it gained: the one value that its footprint is made from."""

import math
from dataclasses import dataclass
from typing import Literal

from netadapt.carbon.crosscheck import CrossCheck
from netadapt.carbon.power import Trainer
from netadapt.carbon.ranges import Range
from netadapt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Phase:
    """One kind of work of a run, over all its iterations.

    Attributes:
        name: ``training``, ``screening``, ``tuning``, ``scoring``, ``measuring`` or ``exporting``.
        seconds: how long it took.
        images: passed through networks; None where it is not counted.
        energy_j: read from a sensor; None where there was none.
        sensor: what was read, such as ``rapl:package-0``.
    """

    name: str
    seconds: float
    images: int | None = None
    energy_j: float | None = None
    sensor: str | None = None

    def __post_init__(self) -> None:
        for what, value in (("time", self.seconds), ("energy", self.energy_j)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"The {what} of phase {self.name!r} is {value}; it cannot be.")


@dataclass(frozen=True, slots=True)
class Inference:
    """What one inference of a network costs on the device it is adapted to.

    Attributes:
        latency_s: measured; None where it was not.
        energy_j: measured on the device or modelled for it; None where it was neither. Never power
            times latency.
        basis: whether the energy was measured or modelled; None without one.
        source: sensor or model of the energy.
        windows: how many measurements the energy's range comes from.
    """

    latency_s: Range | None = None
    energy_j: Range | None = None
    basis: Literal["measured", "modelled"] | None = None
    source: str | None = None
    windows: int | None = None

    def __post_init__(self) -> None:
        if self.energy_j is not None and self.basis is None:
            raise UsageError(
                "The energy of an inference is either measured or modelled; it must say which."
            )


@dataclass(frozen=True, slots=True)
class Provenance:
    """All that makes a run reproducible; None where it was not recorded."""

    version: str | None = None
    command: str | None = None
    seed: int | None = None
    data: str | None = None
    data_fingerprint: str | None = None
    device: str | None = None
    software: str | None = None


@dataclass(frozen=True, slots=True)
class RunUse:
    """What a run used and what it gained: all that its footprint is made from.

    Attributes:
        name: of the run.
        phases: its work; empty where no times were recorded.
        trainer: where it trained; None where it was not recorded.
        before: one inference of the original network.
        after: one inference of the adapted network; None until the run has one.
        finished: whether the run came to its end.
        provenance: what reproduces it.
        cross_check: what another program says of its energy; None where it was not asked.
        after_run: name of the run whose search it went on with; empty if it began on its own.
    """

    name: str
    phases: tuple[Phase, ...]
    trainer: Trainer | None = None
    before: Inference | None = None
    after: Inference | None = None
    finished: bool = True
    provenance: Provenance = Provenance()
    cross_check: CrossCheck | None = None
    after_run: str = ""

    @property
    def seconds(self) -> float:
        """How long the phases took together."""
        return math.fsum(phase.seconds for phase in self.phases)
