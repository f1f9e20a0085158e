"""What a device is and what state it is in, as far as its system tells."""

from __future__ import annotations

import glob
import os
import platform
import sys
from typing import Any


def facts() -> dict[str, Any]:
    """What does not change while it measures."""
    return {
        "device": processor(),
        "machine": platform.machine() or "unknown",
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count() or 1,
        "cache_mb": cache_bytes() / 1e6,
    }


def processor() -> str:
    """Model of the board and processor, as far as the system tells."""
    parts = [read("/proc/device-tree/model").strip("\0 \n")]
    for line in read("/proc/cpuinfo").splitlines():
        if line.lower().startswith(("model name", "hardware")):
            parts.append(line.split(":", 1)[1].strip())
            break
    if not any(parts) and sys.platform == "darwin":
        with os.popen("sysctl -n machdep.cpu.brand_string") as pipe:
            parts.append(pipe.read().strip())
    found = " ".join(part for part in parts if part)
    return found or platform.processor() or platform.machine() or "unknown"


def conditions() -> dict[str, Any]:
    """What may disturb a measurement: load, frequency governor, temperature; None if unknown."""
    temperatures = [
        read(path).strip() for path in glob.glob("/sys/class/thermal/thermal_zone*/temp")
    ]
    celsius = [int(text) / 1000 for text in temperatures if text.lstrip("-").isdigit()]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "load": load,
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "temperature_c": max(celsius) if celsius else None,
    }


def read(path: str) -> str:
    """A small file of the system, or nothing."""
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def cache_bytes() -> float:
    """Size of the second-level cache of one core; a million where the system does not tell."""
    text = read("/sys/devices/system/cpu/cpu0/cache/index2/size").strip()
    scale = {"K": 1024, "M": 1024**2}.get(text[-1:])
    return float(text[:-1]) * scale if scale else 1e6


def available_bytes() -> float:
    """Memory that may be taken; 2 GB where the system does not tell."""
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return 2e9


def resident_bytes() -> float:
    """Memory of this process; 0 where the system does not tell."""
    fields = read("/proc/self/statm").split()
    return float(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0.0
