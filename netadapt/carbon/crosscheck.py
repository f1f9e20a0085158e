"""What codecarbon says of the same run, beside our own figures and never in place of them.

It needs the extra ``netadapt[codecarbon]``. The offline tracker alone is used: nothing is sent
anywhere. Where it finds no sensor it assumes watts (4 per hardware thread and 20 for memory, in
version 3), and of an unknown country it takes the world's average; so its watts are kept with its
result, and a country that we do not know is refused before it is asked.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from netadapt.carbon.intensity import parse_region
from netadapt.errors import RunError, UsageError
from netadapt.runs.events import CrossChecked
from netadapt.runs.journal import Run


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

    def as_event(self) -> CrossChecked:
        """For the journal."""
        watts = {"processor": self.cpu_w, "GPU": self.gpu_w, "memory": self.memory_w}
        return CrossChecked(
            self.version, self.country, self.seconds, self.kwh, self.carbon_g, watts
        )

    def __str__(self) -> str:
        return (
            f"codecarbon {self.version}: {self.kwh * 1e3:.3g} Wh and {self.carbon_g:.3g} g CO2e in "
            f"{self.country}, from {self.cpu_w:.3g} W of processor, {self.gpu_w:.3g} W of GPU and "
            f"{self.memory_w:.3g} W of memory, measured or assumed"
        )


def added_up(events: Iterable[CrossChecked]) -> CrossCheck | None:
    """The sessions of a run together; version, country and watts are those of the last.

    Args:
        events: of its journal, in order.
    """
    sessions = list(events)
    if not sessions:
        return None
    newest = sessions[-1]
    return CrossCheck(
        newest.version,
        newest.country,
        math.fsum(session.seconds for session in sessions),
        math.fsum(session.kwh for session in sessions),
        math.fsum(session.carbon_g for session in sessions),
        *(newest.watts.get(part, 0.0) for part in ("processor", "GPU", "memory")),
    )


@contextmanager
def cross_checked(run: Run, country: str | None) -> Iterator[None]:
    """Have codecarbon watch a block of work, and write what it says to the journal.

    What it says of a block that fails is written too. Where codecarbon itself fails, that is a
    warning, and not the end of a run.

    Args:
        run: the run.
        country: as in :func:`start_codecarbon`; None to leave it out.

    Raises:
        UsageError: see :func:`start_codecarbon`.
    """
    if country is None:
        yield
        return
    stop = start_codecarbon(country)
    try:
        yield
    finally:
        with suppress(RunError):  # a full disk has been told already
            try:
                run.append(stop().as_event())
            except RunError:
                raise
            except Exception as error:  # not ours to foresee
                run.warn(f"codecarbon told nothing ({type(error).__name__}: {error}).")


def check_codecarbon(country: str) -> None:
    """Refuse what :func:`start_codecarbon` would refuse, before anything is begun.

    Raises:
        UnknownName: there is no such country.
        UsageError: codecarbon is not installed, or the place is no country.
    """
    _country(country)
    _tracker()


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
    code = _country(country)
    tracker = _tracker()(
        # All that the user's own settings of codecarbon could send elsewhere is turned off.
        country_iso_code=code, save_to_file=False, save_to_api=False, save_to_logger=False,
        save_to_prometheus=False, save_to_logfire=False, electricitymaps_api_token=None,
        allow_multiple_runs=True, log_level="error",
    )  # fmt: skip
    tracker.start()

    def stop() -> CrossCheck:
        tracker.stop()
        data = tracker.final_emissions_data
        return CrossCheck(
            version("codecarbon"), code, data.duration, data.energy_consumed,
            data.emissions * 1e3, data.cpu_power, data.gpu_power, data.ram_power,
        )  # fmt: skip

    return stop


def _country(country: str) -> str:
    """Its ISO code."""
    place = parse_region(country)
    if place.year is None or ":" in place.code:
        raise UsageError(
            f"codecarbon is compared with by country, and {country} is none; name one, such as SWE."
        )
    return place.code


def _tracker() -> Any:
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        raise UsageError(
            "codecarbon is not installed; install it with: pip install 'netadapt[codecarbon]'"
        ) from None
    # It talks before it looks at the log level that it is given.
    logging.getLogger("codecarbon").setLevel(logging.ERROR)
    return OfflineEmissionsTracker
