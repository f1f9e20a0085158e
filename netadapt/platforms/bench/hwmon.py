"""Energy and power as Linux's hardware monitoring shows them, and the rails of Jetson boards."""

from __future__ import annotations

import glob
import os
import re
import time
from typing import Callable, Optional, Tuple  # noqa: UP035 - Python 3.8 has no other

from .sensors import Channel, Meter, NoSensor, Sensor, number, text

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")  # what a Jetson board draws; all other rails lie inside
NO_RAIL = "NC"  # an input of the monitor that is not connected
NOT_THE_BOARD = re.compile(r"amdgpu|nouveau|radeon|i915|xe$|nvme|BAT|AC|ucsi|hidpp|corsair")
Found = Tuple[str, Channel]  # noqa: UP006 - evaluated, as annotations are not
Rail = Tuple[str, Optional[Channel]]  # noqa: UP006, UP045 - no channel: it gives no numbers


def open_hwmon(root: str = "/sys", clock: Callable[[], float] = time.perf_counter) -> Meter:
    """The sensor that covers most: a Jetson's input, sockets, or the one power of the board.

    Raises:
        NoSensor: there is none, it may not be read, or several of which none tells the total.
    """
    for search in (_rails, _old_rails, _energies, _powers):
        unit, kind, channels = search(root)
        if channels:
            domain = "+".join(label for label, _ in channels)
            sensor = Sensor("hwmon", domain, unit, kind)
            return Meter(sensor, [channel for _, channel in channels], clock)
    raise NoSensor(
        "no hardware monitor tells energy or power of the whole board; attach a power monitor such "
        "as an INA226, or choose another energy sensor"
    )


def _rails(root: str) -> tuple[str, str, list[Found]]:
    """Rails of an INA3221, which tells mV and mA; their product is in uW."""
    rails: list[Rail] = []
    for chip in _chips(root):
        if text(os.path.join(chip, "name")) == "ina3221":
            for path in sorted(glob.glob(os.path.join(chip, "in*_label"))):
                index = re.sub(r"\D", "", os.path.basename(path))
                volts, amperes = (os.path.join(chip, p + index + "_input") for p in ("in", "curr"))
                if os.path.exists(amperes):
                    told = _rail(text(path), volts, amperes)
                    rails.append((text(path), Channel(_product(volts, amperes)) if told else None))
    return "uW", "power", _total(rails)


def _old_rails(root: str) -> tuple[str, str, list[Found]]:
    """Rails as the kernel of JetPack 4 shows them, in mW."""
    rails: list[Rail] = []
    pattern = "bus/i2c/drivers/ina3221x/*/iio*/rail_name_*"
    for path in sorted(glob.glob(os.path.join(root, pattern))):
        power = path.replace("rail_name_", "in_power") + "_input"
        rails.append((text(path), _channel(power) if _rail(text(path), power) else None))
    return "mW", "power", _total(rails)


def _rail(label: str, *paths: str) -> bool:
    """Whether a rail gives numbers: one inside is passed by if not, but never the board's input.

    Raises:
        NoSensor: the input gives none, or a file may not be read.
    """
    if all(map(_readable, paths)):
        return True
    if label in TOTAL_RAILS:
        raise NoSensor(
            f"{label}, which is all that the board draws, cannot be read ({', '.join(paths)}), and "
            "other rails are only parts of it; restart the board, or choose another energy sensor"
        )
    return False


def _total(rails: list[Rail]) -> list[Found]:
    """The input of the board where there is one; else all rails, as on AGX Xavier.

    Raises:
        NoSensor: all rails are the total, and some of them give no numbers.
    """
    connected = [rail for rail in rails if rail[0] != NO_RAIL]
    told = [(label, channel) for label, channel in connected if channel is not None]
    total = [rail for rail in told if rail[0] in TOTAL_RAILS]
    if told and not total and len(told) < len(connected):
        lost = ", ".join(label for label, channel in connected if channel is None)
        raise NoSensor(
            f"what the board draws is the sum of its rails, and of {lost} nothing can be read; "
            "restart the board, or choose another energy sensor"
        )
    return total or told


def _energies(root: str) -> tuple[str, str, list[Found]]:
    """Counters of energy; of AMD's those of sockets, inside which cores lie."""
    found = _inputs(root, "energy*_input")
    sockets = [(label, channel) for label, channel in found if label.startswith("Esocket")]
    return "uJ", "counter", sockets or _only(found)


def _powers(root: str) -> tuple[str, str, list[Found]]:
    return "uW", "power", _only(_inputs(root, "power*_input"))


def _only(found: list[Found]) -> list[Found]:
    """The one sensor that there is: of several, nothing tells which lie inside which."""
    if len(found) > 1:
        raise NoSensor(
            "the hardware monitors {} may lie inside each other, and none tells the total; choose "
            "another energy sensor".format(", ".join(label for label, _ in found))
        )
    return found


def _inputs(root: str, pattern: str) -> list[Found]:
    """Label and channel of each file of a kind, but of those of graphics, disks and batteries."""
    found = []
    for chip in _chips(root):
        name = text(os.path.join(chip, "name"))
        if NOT_THE_BOARD.match(name):
            continue
        for path in sorted(glob.glob(os.path.join(chip, pattern))):
            if _readable(path):
                label = text(path.replace("_input", "_label")) or os.path.basename(path)[:-6]
                socket = label.startswith("Esocket")
                found.append((label if socket else name + "/" + label, _channel(path)))
    return found


def _chips(root: str) -> list[str]:
    return sorted(glob.glob(os.path.join(root, "class/hwmon/hwmon*")))


def _readable(path: str) -> bool:
    """Whether a file gives a number: some of Orin's give an error instead, and are passed by.

    Raises:
        NoSensor: it may not be read.
    """
    try:
        number(path)
    except PermissionError:
        raise NoSensor(
            f"{path} may be read by the administrator alone; allow it there with 'sudo chmod a+r "
            f"{path}'"
        ) from None
    except (OSError, ValueError):
        return False
    return True


def _channel(path: str) -> Channel:
    return Channel(lambda: number(path))


def _product(volts: str, amperes: str) -> Callable[[], int]:
    return lambda: number(volts) * number(amperes)
