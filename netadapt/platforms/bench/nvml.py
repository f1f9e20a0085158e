"""The energy counter of an NVIDIA GPU, from the library that comes with its driver."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Callable  # noqa: UP035 - Python 3.8 has no other

from .sensors import Channel, Meter, NoSensor, Sensor

_LIBRARY = "libnvidia-ml.so.1"
_NO_PERMISSION, _NOT_SUPPORTED = 4, 3  # of nvmlReturn_t


def load() -> Any:
    """NVIDIA's management library.

    Raises:
        OSError: there is none.
    """
    return ctypes.CDLL(_LIBRARY)


def open_nvml(
    library: Callable[[], Any] = load, clock: Callable[[], float] = time.perf_counter
) -> Meter:
    """The GPU that is computed on: the first, or the first of CUDA_VISIBLE_DEVICES.

    Raises:
        NoSensor: there is none, or it counts no energy.
    """
    try:
        nvml = library()
    except OSError:
        raise NoSensor(
            "there is no NVIDIA driver (its libnvidia-ml.so.1 does not load); install it, or "
            "choose another energy sensor"
        ) from None
    handle = ctypes.c_void_p()
    _check(nvml.nvmlInit_v2())
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if first and not first.isdigit():
        _check(nvml.nvmlDeviceGetHandleByUUID(first.encode(), ctypes.byref(handle)))
    else:
        _check(nvml.nvmlDeviceGetHandleByIndex_v2(int(first or 0), ctypes.byref(handle)))
    name = ctypes.create_string_buffer(96)
    _check(nvml.nvmlDeviceGetName(handle, name, len(name)))
    sensor = Sensor("nvml", "GPU " + name.value.decode(errors="replace"), "mJ", "counter")

    def millijoules() -> int:
        counted = ctypes.c_ulonglong()
        _check(nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(counted)))
        return counted.value

    return Meter(sensor, [Channel(millijoules)], clock)


def _check(status: int) -> None:
    if status == _NOT_SUPPORTED:
        raise NoSensor("this GPU counts no energy (Volta and newer ones do); choose another sensor")
    if status == _NO_PERMISSION:
        raise NoSensor("the GPU's energy may not be read here; ask the administrator for access")
    if status:
        raise NoSensor(f"NVIDIA's driver does not tell energy (NVML error {status}); restart it")
