"""What computed a result: versions and the machine, as plain JSON values."""

import importlib.metadata
import os
import platform
from typing import Any

from netadapt import __version__

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "numpy")


def versions() -> dict[str, str]:
    """Versions of netadapt, of Python, and of the packages that compute; absent ones left out."""
    found = {"netadapt": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine(threads: int | None = None, accelerator: str | None = None) -> dict[str, Any]:
    """The machine that trains: processor, cores, system.

    Args:
        threads: that compute; left out where it is not known.
        accelerator: model of the GPU that trains; left out where none does.
    """
    told = {"threads": threads, "accelerator": accelerator}
    return {
        **{name: value for name, value in told.items() if value is not None},
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "system": platform.system(),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
