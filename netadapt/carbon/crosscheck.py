"""What codecarbon says of the same run, beside our own figures and never in place of them.

It needs the extra ``netadapt[codecarbon]``. The offline tracker alone is used: nothing is sent
anywhere. Where it finds no sensor it assumes watts (4 per hardware thread and 20 for memory, in
version 3), and of an unknown country it takes the world's average; so its watts are kept with its
result, and a country that we do not know is refused before it is asked.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from netadapt.carbon.intensity import parse_region
from netadapt.errors import UsageError


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """A figure of codecarbon's.

    Attributes:
        version: of codecarbon.
        country: whose intensity it took, by its own table.
        seconds: that it watched.
        kwh: that it arrived at, measured or assumed.
        carbon_g: grams of CO2 equivalent.
        cpu_w, gpu_w, memory_w: the power it arrived at; round figures are assumptions.
    """

    version: str
    country: str
    seconds: float
    kwh: float
    carbon_g: float
    cpu_w: float
    gpu_w: float
    memory_w: float

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"codecarbon {self.version}: {self.kwh * 1e3:.3g} Wh and {self.carbon_g:.3g} g CO2e in "
            f"{self.country}, from {self.cpu_w:.3g} W of processor, {self.gpu_w:.3g} W of GPU and "
            f"{self.memory_w:.3g} W of memory, measured or assumed"
        )


def start_codecarbon(country: str) -> Callable[[], CrossCheck]:
    """Begin to track this process's computer.

    Args:
        country: as in :func:`~netadapt.carbon.intensity.parse_region`; codecarbon has no other
            places offline.

    Returns:
        What ends the tracking, and returns its result.

    Raises:
        UnknownName: there is no such country.
        UsageError: codecarbon is not installed, or the place is no country.
    """
    place = parse_region(country)
    if place.year is None or ":" in place.code:
        raise UsageError(
            f"codecarbon is compared with by country, and {country} is none; name one, such as SWE."
        )
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        raise UsageError(
            "codecarbon is not installed; install it with: pip install 'netadapt[codecarbon]'"
        ) from None
    tracker = OfflineEmissionsTracker(
        # All that the user's own settings of codecarbon could send elsewhere is turned off.
        country_iso_code=place.code, save_to_file=False, save_to_api=False, save_to_logger=False,
        save_to_prometheus=False, save_to_logfire=False, electricitymaps_api_token=None,
        allow_multiple_runs=True, log_level="error",
    )  # fmt: skip
    tracker.start()

    def stop() -> CrossCheck:
        tracker.stop()
        data = tracker.final_emissions_data
        return CrossCheck(
            version("codecarbon"), place.code, data.duration, data.energy_consumed,
            data.emissions * 1e3, data.cpu_power, data.gpu_power, data.ram_power,
        )  # fmt: skip

    return stop
