"""Joules for one inference: an idle window, then windows of runs back to back."""

from __future__ import annotations

import platform
import time
from typing import Any, Callable  # noqa: UP035 - Python 3.8 has no other

from .hwmon import open_hwmon
from .nvml import open_nvml
from .powercap import open_rapl
from .powermetrics import open_powermetrics
from .sensors import Meter, NoSensor, Sampling
from .zeus import open_zeus

OPENERS: dict[str, Callable[[], Meter]] = {
    "rapl": open_rapl,
    "nvml": open_nvml,
    "hwmon": open_hwmon,
    "powermetrics": open_powermetrics,
    "zeus": open_zeus,
}
ON_GPU = ("nvml", "hwmon")  # in the order in which they are tried
ON_CPU = ("powermetrics",) if platform.system() == "Darwin" else ("rapl", "hwmon")
NO = "no: "  # begins what is told of a sensor that tells nothing
LEAST_UPDATES = 10  # of a counter in a window: fewer say more of when it was read than of energy


def open_meter(name: str, provider: str = "cpu") -> Meter:
    """The sensor of a name, or with ``auto`` the first that can be read of what is computed on.

    Raises:
        NoSensor: there is none.
    """
    if name != "auto":
        return OPENERS[name]()
    reasons = []
    for kind in ON_GPU if provider in ("cuda", "tensorrt") else ON_CPU:
        try:
            return OPENERS[kind]()
        except NoSensor as error:
            reasons.append(f"{kind}: {error}")
    raise NoSensor("it has no energy sensor that can be read (" + "; ".join(reasons) + ")")


def survey() -> dict[str, str]:
    """Each kind of sensor, with what it covers here, or why it tells nothing after :data:`NO`."""
    told = {}
    for name, opener in OPENERS.items():
        try:
            told[name] = str(opener().sensor)
        except NoSensor as error:
            told[name] = f"{NO}{error}"
    return told


class Windows:
    """The protocol: what is drawn while nothing runs is taken from what runs draw.

    Args:
        meter: tells joules.
        seconds: of each window.
        pause_s: to cool down, before each.
    """

    sampling: Any = Sampling
    clock: Callable[[], float] = staticmethod(time.perf_counter)
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, meter: Meter, seconds: float, pause_s: float) -> None:
        self.meter = meter
        self.seconds = seconds
        self.pause_s = pause_s

    def idle_w(self) -> float:
        """Power of the device while nothing runs.

        Raises:
            NoSensor: the sensor tells too little.
        """
        _, joules, seconds, _ = self._window(lambda: self.sleep(self.seconds / 20))
        return joules / seconds

    def inference(self, run: Callable[[], Any], idle_w: float) -> dict[str, float]:
        """One window of runs: joules of each above what idling takes, and what they come from.

        Raises:
            NoSensor: the sensor tells too little.
        """
        run()  # warm
        runs, joules, seconds, updates = self._window(run)
        each_j = (joules - idle_w * seconds) / runs
        if each_j <= 0:
            raise NoSensor(
                f"{self.meter.sensor} told no more power with the network running than without; "
                "stop other programs and measure again, or choose a sensor of what computes"
            )
        return {
            "joules": each_j, "runs": runs, "seconds": seconds, "updates": updates,
            "idle_w": idle_w,
        }  # fmt: skip

    def _window(self, work: Callable[[], Any]) -> tuple[int, float, float, int]:
        """How often some work was done, with joules, seconds and updates of the sensor."""
        meter, done = self.meter, 0
        self.sleep(self.pause_s)
        before_j, updates, began_s = meter.read(), meter.updates, self.clock()
        with self.sampling(meter):
            while self.clock() - began_s < self.seconds:
                work()
                done += 1
        joules, seconds = meter.read() - before_j, self.clock() - began_s
        updates = meter.updates - updates
        if updates < LEAST_UPDATES:
            raise NoSensor(
                f"{meter.sensor} told news only {updates} times in a window of {seconds:.1f} s, "
                f"and {LEAST_UPDATES} are needed; measure for longer, or choose another sensor"
            )
        return done, joules, seconds, updates
