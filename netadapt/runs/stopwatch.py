"""How long the work of a run takes, and what the machine that does it draws meanwhile."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from netadapt.platforms.bench.hwmon import open_hwmon
from netadapt.platforms.bench.nvml import open_nvml
from netadapt.platforms.bench.powercap import open_rapl
from netadapt.platforms.bench.sensors import Meter, NoSensor, Sampling
from netadapt.runs.trial import Phase

_EVERY_S = {"counter": 1.0, "power": 0.1}
"""Counters must be read before they wrap, which takes minutes; powers are integrated."""


@dataclass
class Lap:
    """One piece of work; complete once it is done.

    Attributes:
        seconds: elapsed.
        energy_j: of the whole machine, idling included; None where no sensor told all of it.
        sensor: what was read; empty without energy.
    """

    seconds: float = 0.0
    energy_j: float | None = None
    sensor: str = ""

    def phase(self, name: str, images: int = 0, scored: int = 0) -> Phase:
        """The lap as a kind of work; see :class:`Phase`."""
        return Phase(name, self.seconds, images, scored, self.energy_j, self.sensor)


@dataclass(frozen=True)
class Stopwatch:
    """Takes laps.

    Attributes:
        meters: what tells energy, no part of the machine twice; none where nothing does.
        clock: seconds.
        sampling: reads a meter in the background, so often, while a block runs.
    """

    meters: Sequence[Meter] = ()
    clock: Callable[[], float] = time.monotonic
    sampling: Callable[[Meter, float], contextlib.AbstractContextManager[object]] = Sampling

    @contextmanager
    def lap(self) -> Iterator[Lap]:
        """Time a block of work. A sensor that fails meanwhile leaves the energy unknown."""
        lap, started_s = Lap(), self.clock()
        energy_j: float | None = None
        try:
            with ExitStack() as stack:
                before_j = self._read()
                for meter in self.meters if before_j is not None else ():
                    sampling = self.sampling(meter, _EVERY_S[meter.sensor.kind])
                    stack.enter_context(sampling)
                yield lap
            after_j = self._read()
            if before_j is not None and after_j is not None:
                energy_j = after_j - before_j
        except NoSensor:
            energy_j = None
        lap.seconds = self.clock() - started_s
        if energy_j is not None:
            lap.energy_j, lap.sensor = energy_j, " and ".join(str(m.sensor) for m in self.meters)

    def _read(self) -> float | None:
        """Joules so far; None where nothing tells."""
        if not self.meters:
            return None
        try:
            return sum(meter.read() for meter in self.meters)
        except NoSensor:
            return None


def stopwatch_of(trainer: str) -> Stopwatch:
    """With what tells the energy of the machine that trains: its processor, and the GPU in use.

    Args:
        trainer: ``cpu``, ``cuda`` or one GPU such as ``cuda:1``. Of the GPUs the first alone is
            read; where another trains, or its sensor or that of the processor is absent, nothing
            is: half of a machine would look like all of it.
    """
    meters: list[Meter] = []
    if trainer != "cpu":
        if trainer not in ("cuda", "cuda:0"):
            return Stopwatch()
        with contextlib.suppress(NoSensor):
            meters.append(open_nvml())
        if not meters:
            return Stopwatch()
    for opener in (open_rapl, open_hwmon):
        with contextlib.suppress(NoSensor):
            return Stopwatch((*meters, opener()))
    return Stopwatch()
