"""The power of an Apple computer's processor, as macOS's powermetrics tells the administrator."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import threading
import time
from typing import Callable, Iterable, Iterator  # noqa: UP035 - Python 3.8 has no other

from .sensors import Channel, Meter, NoSensor, Sensor

COMMAND = ("powermetrics", "--samplers", "cpu_power", "-i", "100")
_POWER = re.compile(r"Combined Power \(CPU \+ GPU \+ ANE\): (\d+) mW")
_WATTS = re.compile(r"Intel energy model derived package power .*?: ([\d.]+)W")


def milliwatts(lines: Iterable[str]) -> Iterator[int]:
    """The power in each sample of its output."""
    for line in lines:
        watts, power = _WATTS.search(line), _POWER.search(line)
        if watts:
            yield round(float(watts[1]) * 1000)
        elif power:
            yield round(float(power[1]))


def stream() -> Iterable[str]:
    """Lines of powermetrics as they come.

    Raises:
        NoSensor: it cannot run.
    """
    if platform.system() != "Darwin":
        raise NoSensor("powermetrics is of macOS alone; choose another energy sensor")
    if os.geteuid():
        raise NoSensor("powermetrics tells power to the administrator alone; measure with sudo")
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True, errors="replace")
    assert process.stdout is not None
    return process.stdout


def open_powermetrics(
    lines: Callable[[], Iterable[str]] = stream, clock: Callable[[], float] = time.perf_counter
) -> Meter:
    """The processor with its graphics.

    Raises:
        NoSensor: it cannot be read.
    """
    latest = Latest(milliwatts(lines()))
    sensor = Sensor("powermetrics", "CPU+GPU+ANE", "mW", "power")
    return Meter(sensor, [Channel(latest.read)], clock)


class Latest:
    """The last of the samples that have come: a pipe would hand on old ones after a pause."""

    def __init__(self, samples: Iterable[int]) -> None:
        self._samples = samples
        self._value = 0
        self._ended = False
        self._first = threading.Event()
        threading.Thread(target=self._follow, daemon=True).start()

    def read(self) -> int:
        """The sample, once there is one.

        Raises:
            OSError: no more come.
        """
        self._first.wait()
        if self._ended:
            raise OSError("powermetrics ended")
        return self._value

    def _follow(self) -> None:
        try:
            for value in self._samples:
                self._value = value
                self._first.set()
        finally:  # whoever waits for a sample must not wait for ever
            self._ended = True
            self._first.set()
