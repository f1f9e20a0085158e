"""Zeus, where it is installed: devices that the readers here do not reach, such as AMD's GPUs."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Callable  # noqa: UP035 - Python 3.8 has no other

from .sensors import Channel, Meter, NoSensor, Sensor


def load() -> Any:
    """Zeus's GPUs.

    Raises:
        ImportError: it is not installed.
    """
    return import_module("zeus.device").get_gpus()


def open_zeus(
    gpus: Callable[[], Any] = load, clock: Callable[[], float] = time.perf_counter
) -> Meter:
    """The first GPU that Zeus knows, by its counter of millijoules, else by its power.

    Its counters are read and not its windows: those would synchronize with torch, which does not
    run here, and tell nothing where there is no sensor.

    Raises:
        NoSensor: it is not installed, or knows no GPU that tells energy.
    """
    try:
        found = gpus()
        name = str(found.get_name(0))
        counts = bool(found.supports_get_total_energy_consumption(0))
        read = found.get_total_energy_consumption if counts else found.get_instant_power_usage
        read(0)
    except ImportError:
        raise NoSensor(
            "Zeus is not installed there; install it with 'pip install zeus', or choose another "
            "energy sensor"
        ) from None
    except Exception as error:  # its own errors are of many kinds, one for each maker
        raise NoSensor(
            f"Zeus tells no energy here ({error or type(error).__name__}); choose another energy "
            "sensor"
        ) from error
    unit, kind = ("mJ", "counter") if counts else ("mW", "power")
    return Meter(Sensor("zeus", "GPU " + name, unit, kind), [Channel(lambda: _told(read))], clock)


def _told(read: Callable[[int], Any]) -> int:
    """A number of the first GPU.

    Raises:
        OSError: Zeus gives none; its own errors are of many kinds, one for each maker.
    """
    try:
        return int(read(0))
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error
