"""What tells energy: counters and powers of a device, read and added up in joules."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Callable, Sequence  # noqa: UP035 - Python 3.8 has no other

SCALES = {"uJ": 1e-6, "mJ": 1e-3, "uW": 1e-6, "mW": 1e-3}
SAMPLE_S = 0.05  # powers are integrated at 10 Hz or more
MOST_W = 20e3  # no device draws more: a counter that seems to say so was set anew
LAG_S = 0.25  # counters tell at once what was drawn since they last moved (NVML's every 0.1 s)


class NoSensor(Exception):
    """Why there is no energy to be told, and what to do about it."""


@dataclass(frozen=True)
class Sensor:
    """What is read.

    Attributes:
        name: the interface: ``rapl``, ``hwmon``, ``nvml``, ``powermetrics`` or ``zeus``.
        domain: the parts of the device that it covers, joined by ``+``.
        unit: of the raw readings, one of :data:`SCALES`.
        kind: ``counter`` of energy, or ``power`` that is integrated.
    """

    name: str
    domain: str
    unit: str
    kind: str

    def __str__(self) -> str:
        return self.name + ":" + self.domain


@dataclass(frozen=True)
class Channel:
    """One number of a sensor.

    Attributes:
        read: its present value in the sensor's unit.
        range: where a counter begins again at 0; 0 if that is not known.
    """

    read: Callable[[], int]
    range: int = 0


class Meter:
    """Joules since it was made; only what is read is known, so it is to be read again and again."""

    def __init__(
        self,
        sensor: Sensor,
        channels: Sequence[Channel],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.sensor = sensor
        self.channels = list(channels)
        self.clock = clock
        self.joules = 0.0
        self.updates = 0  # readings in which a counter had moved, or all of a power
        self._last, self._at_s = self._values(), clock()

    def read(self) -> float:
        """Joules since the meter was made.

        Raises:
            NoSensor: it cannot be read any more.
        """
        values, at_s = self._values(), self.clock()
        before, seconds = self._last, at_s - self._at_s
        self._last, self._at_s = values, at_s  # a refusal is of this reading alone
        most = MOST_W * (seconds + LAG_S) / SCALES[self.sensor.unit]
        if self.sensor.kind == "counter":
            gained: float = sum(map(self._gained, self.channels, before, values, repeat(most)))
            self.updates += values != before
        else:
            gained = (sum(before) + sum(values)) / 2 * seconds
            if gained > most:
                raise NoSensor(
                    f"{self.sensor} tells more power than any device draws; see what the system "
                    "says of it, and measure again"
                )
            self.updates += 1
        self.joules += gained * SCALES[self.sensor.unit]
        return self.joules

    def _values(self) -> list[int]:
        try:
            values = [channel.read() for channel in self.channels]
            if sum(values) < 0:
                raise ValueError("it is below zero")
            return values
        except (OSError, ValueError) as error:
            raise NoSensor(
                f"the energy sensor {self.sensor} cannot be read any more ({error}); see what "
                "'netadapt doctor' says of it"
            ) from error

    def _gained(self, channel: Channel, before: int, now: int, most: float) -> int:
        """What a counter went up by: one that fell began anew at its range, if it tells one.

        A counter that was set anew, as by a driver that is loaded again, would seem to have gone
        all the way round, or ahead; no device could have drawn so much since the last reading.
        """
        fell = now < before
        gained = now - before + (channel.range if fell else 0)
        if not 0 <= gained <= most:
            raise NoSensor(
                f"the energy counter {self.sensor} {'was set back' if fell else 'leapt ahead'} "
                "midway, and what was drawn meanwhile is not known; measure again"
            )
        return gained


class Sampling:
    """Reads a meter in the background as long as a block runs, for its last reading to be right."""

    def __init__(self, meter: Meter, every_s: float = SAMPLE_S) -> None:
        self.meter = meter
        self.every_s = every_s
        self._stop = threading.Event()
        self._failed: NoSensor | None = None
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampling:
        self._thread.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stop.set()
        self._thread.join()
        if self._failed is not None and exception[0] is None:
            raise self._failed

    def _sample(self) -> None:
        while not self._stop.wait(self.every_s):
            try:
                self.meter.read()
            except NoSensor as error:
                self._failed = error
                return


def number(path: str) -> int:
    """The integer in a small file of the system.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no integer.
    """
    with open(path) as file:
        return int(file.read())


def text(path: str) -> str:
    """What a small file of the system says; nothing where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip("\0 \n")
    except OSError:
        return ""
