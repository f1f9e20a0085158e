"""Modelled hardware by its address, such as ``eyeriss:?batch=4``."""

import math
from collections.abc import Mapping
from pathlib import Path

from netadapt.errors import UsageError, named
from netadapt.platforms.accelerators.crossbar import ADC_BITS, Crossbar
from netadapt.platforms.accelerators.eyeriss import Eyeriss
from netadapt.platforms.accelerators.eyeriss_costs import COST_SETS, JSSC2017
from netadapt.platforms.accelerators.noise import NOISES, AnalogHardware
from netadapt.platforms.accelerators.optics import COMPONENTS, PUBLISHED, Kind, Optics
from netadapt.platforms.accelerators.platform import ModelledPlatform
from netadapt.platforms.accelerators.row_stationary import DENSE, Zeros
from netadapt.platforms.accelerators.sparsity import MEASURED, Sparsity, read_zeros


def open_eyeriss(rest: str, options: Mapping[str, str]) -> ModelledPlatform:
    """``eyeriss:?batch=4&costs=jssc2017&zeros=0.5&dram=yes``.

    ``zeros`` is one share for all layers, ``measured``, or a JSON file with a share for each.

    Raises:
        UsageError: an option has a value that it cannot have.
    """
    _nothing_after("eyeriss", rest)
    zeros, sparsity = _zeros(options.get("zeros", "0"))
    chip = Eyeriss(
        batch=_positive(options, "batch", 1),
        costs=named("set of costs", options.get("costs", JSSC2017.name), COST_SETS),
        zeros=zeros,
    )
    left_out = () if _flag(options, "dram", default=True) else ("dram",)
    return ModelledPlatform(
        _uri("eyeriss", options), chip, "16 bits", multiple=16, left_out=left_out,
        sparsity=sparsity,
    )  # fmt: skip


def _zeros(told: str) -> tuple[Zeros, Sparsity | None]:
    """Those of all layers alike, and what tells those of each."""
    try:
        share = float(told)
    except ValueError:
        return DENSE, Sparsity(MEASURED) if told == MEASURED else read_zeros(Path(told))
    if not 0 <= share < 1:
        raise UsageError(f"zeros is a share of activations, from 0 to below 1; found {share:g}.")
    return Zeros(share, share), None


def open_crossbar(rest: str, options: Mapping[str, str]) -> ModelledPlatform:
    """``crossbar:?rows=128&columns=128&cell_bits=2&adc_bits=8&noise=pcm&seconds=86400``.

    Raises:
        UsageError: an option has a value that it cannot have.
    """
    _nothing_after("crossbar", rest)
    standard = Crossbar()
    numbers = {
        name: _positive(options, name, getattr(standard, name))
        for name in ("rows", "columns", "cell_bits", "adc_bits", "weight_bits", "input_bits")
    }
    arrays = Crossbar(**numbers, gated=_flag(options, "gated", default=True))
    if arrays.adc_bits not in ADC_BITS:
        raise UsageError(
            f"There is no figure for a converter of {arrays.adc_bits} bits; give adc_bits from "
            f"{min(ADC_BITS)} to {max(ADC_BITS)}."
        )
    if not arrays.filters:
        raise UsageError(
            f"A weight of {arrays.weight_bits} bits takes {arrays.cells} columns, and an array has "
            f"{arrays.columns}; give more columns, or more bits to a cell."
        )
    analog = _analog(options)
    return ModelledPlatform(
        _uri("crossbar", options), arrays, f"{arrays.weight_bits} bits", arrays.filters,
        analog=analog, chips=_positive(options, "chips", 10) if analog else 1,
    )  # fmt: skip


def _analog(options: Mapping[str, str]) -> AnalogHardware | None:
    """The cells that options name; None if they name none, and weights are exact."""
    if "noise" not in options:
        for name in ("seconds", "chips"):
            if name in options:
                raise UsageError(f"The option {name} needs noise={'|'.join(NOISES)} beside it.")
        return None
    seconds = _number(options, "seconds", 25.0)
    if not (seconds >= 0 and math.isfinite(seconds)):
        raise UsageError(f"seconds counts from programming on; found {seconds:g}.")
    return AnalogHardware(named("noise preset", options["noise"], NOISES), seconds)


def open_optical(rest: str, options: Mapping[str, str]) -> ModelledPlatform:
    """``optical:?kind=homodyne&size=128&batch=64&components=published``.

    Raises:
        UsageError: an option has a value that it cannot have.
    """
    _nothing_after("optical", rest)
    kinds: Mapping[str, Kind] = {"homodyne": "homodyne", "mesh": "mesh", "link": "link"}
    hardware = Optics(
        kind=named("kind of optical hardware", options.get("kind", "homodyne"), kinds),
        size=_positive(options, "size", 128),
        batch=_positive(options, "batch", 1),
        components=named(
            "set of components", options.get("components", PUBLISHED.name), COMPONENTS
        ),
        thermal=_flag(options, "thermal", default=False),
    )
    if hardware.thermal and hardware.kind != "mesh":
        raise UsageError("thermal=yes is about a mesh's phase shifters; give kind=mesh with it.")
    return ModelledPlatform(_uri("optical", options), hardware, "8 bits", multiple=1)


def _uri(scheme: str, options: Mapping[str, str]) -> str:
    return (
        f"{scheme}:" + ("?" if options else "") + "&".join(f"{k}={v}" for k, v in options.items())
    )


def _nothing_after(scheme: str, rest: str) -> None:
    if rest:
        raise UsageError(f"{scheme}: takes options alone; write {scheme}:?{rest}=... or {scheme}:.")


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(options.get(name, default))
    except ValueError:
        raise UsageError(f"The option {name} is a number; found {options[name]!r}.") from None


def _positive(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name, str(default))
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise UsageError(f"The option {name} is a whole number from 1 on; found {text!r}.")
    return int(text)


def _flag(options: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = options.get(name, "yes" if default else "no")
    if value not in ("yes", "no"):
        raise UsageError(f"The option {name} is yes or no; found {value!r}.")
    return value == "yes"
