"""What is needed to measure, whether it is there, and what to do where it is not."""

import importlib.metadata
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netadapt.errors import NetAdaptError
from netadapt.platforms import open_platform
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.platforms.bench.energy import NO, survey
from netadapt.platforms.ort.hygiene import disturbances
from netadapt.platforms.ort.platform import OrtPlatform

_LEAST_FREE_GB = 2.0
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        ok: whether it is as it should be.
        found: what was found.
        remedy: what to do about it; empty if it is in order.
        matters: whether nothing can be done without it; what does not matter is told alone.
    """

    name: str
    ok: bool
    found: str
    remedy: str = ""
    matters: bool = True


def examine(uri: str = "ort:cpu") -> list[Check]:
    """Look at this machine, and at a device.

    Args:
        uri: the device.
    """
    return [*_host(), *_device(uri)]


def passed(checks: list[Check]) -> bool:
    """Whether all that matters is in order."""
    return all(check.ok for check in checks if check.matters)


def report(checks: list[Check]) -> dict[str, Any]:
    """The checks as plain JSON values."""
    return {"schema": 1, "ok": passed(checks), "checks": [asdict(check) for check in checks]}


def _host() -> list[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    checks = [
        Check("python", sys.version_info >= (3, 11), version,
              "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer."),
        *map(_package, _PACKAGES),
    ]  # fmt: skip
    ssh = shutil.which("ssh")
    checks.append(
        Check("ssh client", ssh is not None, ssh or "none",
              "" if ssh else "Install openssh-client to measure on ssh:// devices.", matters=False)
    )  # fmt: skip
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    enough = free_gb >= _LEAST_FREE_GB
    checks.append(
        Check("disk space", enough, f"{free_gb:.1f} GB free in {Path.cwd()}",
              "" if enough else f"Make {_LEAST_FREE_GB:.0f} GB free: runs keep weights.")
    )  # fmt: skip
    checks.append(_energy("energy sensor", survey()))
    return checks


def _package(name: str) -> Check:
    try:
        return Check(name, True, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed", f"python3 -m pip install {name}")


def _energy(where: str, sensors: Mapping[str, str]) -> Check:
    """What tells energy; where nothing does, why not, sensor by sensor."""
    readable = [told for told in sensors.values() if not told.startswith(NO)]
    if readable:
        return Check(where, True, ", ".join(readable), matters=False)
    reasons = "; ".join(f"{name}: {told.removeprefix(NO)}" for name, told in sensors.items())
    return Check(where, False, "none", f"Energy cannot be measured; latency can. {reasons}.",
                 matters=False)  # fmt: skip


def _device(uri: str) -> list[Check]:
    """Whether the device answers, and what it says of itself."""
    try:
        platform = open_platform(uri)
        info = platform.describe()
    except NetAdaptError as error:
        return [Check("device", False, f"{uri} does not answer", str(error))]
    if isinstance(platform, ModelledPlatform):  # no runtime, layout or cache there to be told
        priced = " and ".join(platform.resources)
        return [Check("device", True, f"{uri}: {info.device}; {priced} by formulas")]
    checks = [
        Check("device", True, f"{uri}: {info.device} ({info.machine})"),
        Check("runtime", True, info.runtime),
        Check("layout", True, f"{info.layout}, channels in blocks of {info.block}"),
        Check("cache", True, f"{info.cache_mb:.2g} MB of one core's own"),
    ]
    if isinstance(platform, OrtPlatform):
        facts = platform.facts()
        checks += _conditions(facts, info.threads)
        checks.append(_energy("energy sensor of the device", facts["sensors"]))
    return checks


def _conditions(found: Mapping[str, Any], threads: int) -> list[Check]:
    """What may disturb a measurement there."""

    def check(name: str, text: str, **reading: Any) -> Check:
        calm = {"load": None, "governor": None, "temperature_c": None}
        said = disturbances({**calm, "processors": found["processors"], **reading}, 1)
        return Check(name, not said, text, " ".join(said), matters=False)

    load, celsius = found.get("load"), found.get("temperature_c")
    crowded = disturbances({"processors": found["processors"]}, threads)
    return [
        Check("providers", True, ", ".join(found["providers"])),
        Check("threads", not crowded, f"{threads} of {found['processors']} processors",
              " ".join(crowded), matters=False),
        check("load", "unknown" if load is None else f"{load:.2f}", load=load),
        check("governor", found.get("governor") or "not told", governor=found.get("governor")),
        check("temperature", "no sensor" if celsius is None else f"{celsius:.0f} °C",
              temperature_c=celsius),
    ]  # fmt: skip
