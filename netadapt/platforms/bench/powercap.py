"""RAPL: the energy counters of Intel's and AMD's processors, as Linux's powercap shows them."""

from __future__ import annotations

import glob
import os
import re
import time
from typing import Callable  # noqa: UP035 - Python 3.8 has no other

from .sensors import Channel, Meter, NoSensor, Sensor, number, text

REMEDY = "sudo chmod -R a+r /sys/class/powercap/*"
_ZONE = re.compile(r"(intel-rapl(?:-mmio)?):(\d+)(?::(\d+))?$")


def open_rapl(root: str = "/sys", clock: Callable[[], float] = time.perf_counter) -> Meter:
    """The packages and their memory.

    Cores and what else lies inside a package are not added to it; ``psys``, which holds packages
    too, counts only where there are none; what the memory-mapped interface repeats is left out.

    Raises:
        NoSensor: there is none, or it may not be read.
    """
    zones = choose(named_zones(root))
    if not zones:
        raise NoSensor(
            "there is no RAPL energy counter (virtual machines hide it, and ARM has none); measure "
            "on hardware itself, or choose another energy sensor"
        )
    for _, folder in zones:
        try:
            number(os.path.join(folder, "energy_uj"))
        except PermissionError:
            raise NoSensor(
                "the RAPL energy counters may be read by the administrator alone; allow it there "
                f"with '{REMEDY}'"
            ) from None
        except (OSError, ValueError) as error:
            raise NoSensor(
                f"the RAPL energy counter in {folder} cannot be read ({error}); choose another "
                "energy sensor"
            ) from error
    sensor = Sensor("rapl", "+".join(name for name, _ in zones), "uJ", "counter")
    return Meter(sensor, [_channel(folder) for _, folder in zones], clock)


def named_zones(root: str) -> dict[tuple[str, int, int], tuple[str, str]]:
    """Name and folder of each zone by its interface, number, and number inside (-1: outermost)."""
    zones = {}
    for folder in sorted(glob.glob(os.path.join(root, "class/powercap/intel-rapl*"))):
        match = _ZONE.match(os.path.basename(folder))
        name = text(os.path.join(folder, "name"))
        if match and name:
            zones[match[1], int(match[2]), int(match[3] or -1)] = name, folder
    return zones


def choose(zones: dict[tuple[str, int, int], tuple[str, str]]) -> list[tuple[str, str]]:
    """Name and folder of those zones whose sum is all that is told, with nothing twice."""
    own = {key: zone for key, zone in zones.items() if key[0] == "intel-rapl"} or zones
    packages = {key for key, zone in own.items() if zone[0].startswith("package") and key[2] < 0}
    if not packages:
        return [zone for key, zone in sorted(own.items()) if key[2] < 0 and zone[0] == "psys"][:1]
    chosen = []
    for key, (name, folder) in sorted(own.items()):
        inside = (key[0], key[1], -1) in packages and key[2] >= 0
        if key in packages or (name == "dram" and (inside or key[2] < 0)):
            # memory is named by its package where there are several of it
            package = own.get((key[0], key[1], -1), ("", ""))[0]
            several = name == "dram" and len(packages) > 1 and inside
            chosen.append((package + "-dram" if several else name, folder))
    return chosen


def _channel(folder: str) -> Channel:
    path = os.path.join(folder, "energy_uj")
    try:
        span = number(os.path.join(folder, "max_energy_range_uj"))
    except (OSError, ValueError):
        span = 0
    return Channel(lambda: number(path), span)
