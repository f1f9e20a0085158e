"""What a computer draws while it trains, where no sensor told: watts with a range and a source.

Good for a whole run and for nothing finer: device power times time says nothing about the energy of
one inference.
"""

import re
from dataclasses import dataclass
from typing import Literal

from netadapt.carbon.ranges import Range
from netadapt.errors import UsageError

# Cloud Carbon Footprint (Thoughtworks, Apache-2.0), AWS constants, from SPECpower: watts of one
# hardware thread, idle on average, at full load on average, at full load of the most power-hungry
# processor listed (Sandy Bridge).
_THREAD_W = Range(3.5, 0.74, 8.58)
# The same, methodology, appendix III: watts of a whole accelerator, idle and at full load.
_ACCELERATOR_W = {
    "A100": (46.0, 407.0),
    "A10G": (18.0, 153.0),
    "V100": (35.0, 306.0),
    "P100": (36.0, 306.0),
    "P40": (30.0, 255.0),
    "K80": (35.0, 306.0),
    "P4": (9.0, 76.5),
    "T4": (8.0, 71.0),
}
_CCF = "Cloud Carbon Footprint's table"
# How far one figure for a varying draw is taken to be off, where its giver states no range.
_SINGLE_FIGURE = 0.25
_MOST_W = 1e6
_WATTS = re.compile(r"([0-9.]+)\s*(?:(?:-|to|\.\.)\s*([0-9.]+))?\s*W?", re.I)


@dataclass(frozen=True, slots=True)
class Trainer:
    """Where a run trained.

    Attributes:
        description: the processor or accelerator, as the operating system names it.
        processor: ``cpu`` or ``gpu``.
        count: threads used of a CPU; accelerators used.
    """

    description: str
    processor: Literal["cpu", "gpu"] = "cpu"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Power:
    """An assumed draw.

    Attributes:
        watts: with its range.
        source: where it comes from, in words that follow "estimated from".
    """

    watts: Range
    source: str


def parse_watts(text: str) -> Power:
    """Read the user's figure for the mean draw of the trainer: ``65`` or ``50-80``, in watts.

    Raises:
        UsageError: it is not a positive number of watts, or the range is upside down.
    """
    match = _WATTS.fullmatch(text.strip()) if len(text) < 100 else None  # its dots may be many
    try:
        numbers = [float(number) for number in match.groups() if number] if match else []
    except ValueError:
        numbers = []
    possible = all(0 < number <= _MOST_W for number in numbers)
    if not numbers or not possible or numbers != sorted(numbers):
        raise UsageError(
            f"{text!r} is not a number of watts; write 65, or 50-80 for a range, above zero."
        )
    if len(numbers) == 2:
        low, high = numbers
        return Power(Range((low + high) / 2, low, high), f"the given {low:g} to {high:g} W")
    (given,) = numbers
    return Power(
        Range(given, given * (1 - _SINGLE_FIGURE), given * (1 + _SINGLE_FIGURE)),
        f"the given {given:g} W (a single figure, so ±{_SINGLE_FIGURE:.0%} is assumed)",
    )


def typical_power(trainer: Trainer) -> Power | None:
    """What such a trainer draws at work, or None where nothing is published.

    A CPU's draw is a wide range per busy thread; memory, fans and disks are left out.
    """
    if trainer.count < 1:
        return None
    if trainer.processor == "cpu":
        threads = f"{trainer.count} thread{'s' if trainer.count > 1 else ''}"
        return Power(
            _THREAD_W.times(trainer.count),
            f"{threads} at {_THREAD_W.low:g} to {_THREAD_W.high:g} W each ({_CCF}; processor "
            "alone)",
        )
    return _accelerator_power(trainer)


def _accelerator_power(trainer: Trainer) -> Power | None:
    words = set(re.split(r"[^A-Z0-9]+", trainer.description.upper()))
    names = [name for name in _ACCELERATOR_W if name in words]
    if len(names) != 1:
        return None
    idle, full = _ACCELERATOR_W[names[0]]
    return Power(
        Range((idle + full) / 2, idle, full).times(trainer.count),
        f"{trainer.count} {names[0]} at {idle:g} to {full:g} W each ({_CCF}; accelerator alone)",
    )
