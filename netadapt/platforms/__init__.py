"""Devices that answer what a network, and each of its layers, costs.

A platform is anything with the methods of :class:`Platform`; nothing needs to be inherited.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from inspect import signature
from typing import Protocol, runtime_checkable
from urllib.parse import parse_qsl

from netadapt.errors import UnknownName, UsageError, nearest
from netadapt.network import Cost, LayerShape
from netadapt.platforms.bench.rounds import BATCHES, student
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.plugins import accepted, user_callable

LONGEST_S = 7 * 86400
"""Nobody waits longer for a measurement."""

MOST_INVOCATIONS = 100
"""How many processes share a measurement at most."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        warmups: runs at the start of each visit, or turn, that are not counted.
        passes: shuffled passes over everything to be measured; spreading beats repeating.
        bursts: bursts of runs per visit.
        runs: counted runs per burst.
        min_seconds: keep adding passes until each item has run at least this long in total.
        spread_s: keep adding passes until everything has been visited for this long: a machine's
            slow second must not hold all runs of an item. In rounds, go on for as long.
        precision: of whole networks, run one after the other in rounds until the ratio of each to
            the first is known so well: half of its 95 % interval, relative. 0 visits them in
            passes instead.
        time_limit_s: stop after this long, not counting what it takes to start; the first pass goes
            in the order given, so that what comes first is measured.
        invocations: of whole networks, processes on the device that share the work, one after the
            other. What a network takes depends on where its memory lies, by up to a percent, and
            only another process finds it lying elsewhere (Kalibera and Jones, Rigorous
            Benchmarking in Reasonable Time, ISMM 2013).

    Raises:
        UsageError: a number is out of range, or NaN.
    """

    warmups: int = 2
    passes: int = 4
    bursts: int = 3
    runs: int = 4
    min_seconds: float = 0.0
    spread_s: float = 0.0
    precision: float = 0.0
    time_limit_s: float | None = None
    invocations: int = 1

    def __post_init__(self) -> None:
        """Refuse what would never end, or measure nothing."""
        counts = (self.warmups + 1, self.passes, self.bursts, self.runs)
        if not all(1 <= count <= 10**6 for count in counts):
            raise UsageError("Passes, bursts and runs of a measurement are from 1 to a million.")
        whole = isinstance(self.invocations, int)
        if not (whole and 1 <= self.invocations <= MOST_INVOCATIONS):
            raise UsageError(f"Invocations of a measurement are from 1 to {MOST_INVOCATIONS}.")
        seconds = (self.min_seconds, self.spread_s, self.time_limit_s or 0.0)
        if not all(0 <= s <= LONGEST_S for s in seconds):  # NaN is not
            raise UsageError("Times of a measurement are finite: from 0 to a week of seconds.")

    @property
    def shared(self) -> "Effort":
        """The part of it that each of its invocations is.

        Each is as precise as several have to be that agree, for their mean to be known so well.
        """
        number = self.invocations
        surer = student(BATCHES - 1) / student(number - 1) if number > 1 else 1.0
        return replace(
            self,
            passes=math.ceil(self.passes / number),
            min_seconds=self.min_seconds / number,
            spread_s=self.spread_s / number,
            precision=self.precision * math.sqrt(number) * surer,
            time_limit_s=None if self.time_limit_s is None else self.time_limit_s / number,
            invocations=1,
        )


@dataclass(frozen=True, slots=True)
class Workload:
    """A whole network to be measured.

    Attributes:
        name: shown in progress and errors.
        onnx: the serialized ONNX model, or what writes it, for that takes long and devices that
            only model costs never ask for it.
        layers: the shapes of its layers.
    """

    name: str
    onnx: bytes | Callable[[], bytes]
    layers: tuple[LayerShape, ...]

    def serialized(self) -> bytes:
        """The ONNX model; written now, where it is not yet."""
        return self.onnx if isinstance(self.onnx, bytes) else self.onnx()


OVERHEAD = LayerShape("overhead", 1, 1)
"""The table key of what a call costs before any layer runs."""

CANARY = LayerShape("canary", 1, 1)
"""The table key of a small model that was timed all along: its spread is the machine's drift."""

REFILL = LayerShape("refill", 192, 192)
"""The table key of what reading a megabyte of weights adds, if it is not in the core's cache.

Its time is that of a chain of convolutions with 192 x 192 weights each, less what these take
alone, for each megabyte.
"""

NOT_LAYERS = (OVERHEAD, CANARY, REFILL)
"""Table keys that stand for no layer of a network."""

URI_EXAMPLES = (
    "ort:cpu, ort:cpu?threads=2, ssh://pi@raspberrypi, replay:table.csv, synthetic:, "
    "eyeriss:?batch=4, crossbar:, optical:?batch=64"
)

Progress = Callable[[int, int], None]
"""Called with (done, total) as a measurement proceeds."""


Readings = Mapping[str, Measurement]
"""What was measured of one network, by resource."""


class Platform(Protocol):
    """A device: what it is, and what whole networks cost on it.

    What prices proposals is a table built from a :class:`LayerTimer`, or the closed form of a
    :class:`Modelled` platform; a device may be either for each of its resources.
    """

    @property
    def uri(self) -> str:
        """What opens it again, such as ``ort:cpu``."""
        ...

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that it measures of whole networks, such as ``latency``."""
        ...

    def describe(self) -> DeviceInfo:
        """What the device is, with all settings that change its answers."""
        ...

    def measure_networks(
        self, models: Sequence[Workload], effort: Effort = ..., progress: Progress | None = None
    ) -> list[Readings]:
        """Measure whole networks, their runs interleaved so that all meet the same conditions.

        Returns:
            For each network, a measurement of each of :attr:`resources`.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a network.
        """
        ...


@runtime_checkable
class LayerTimer(Platform, Protocol):
    """A device that times layers, so that a lookup table of latency can be built."""

    def measure_layers(
        self, shapes: Sequence[LayerShape], effort: Effort = ..., progress: Progress | None = None
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """Time each layer as it runs inside a network, yielding results as they come.

        A layer that more runs came of is yielded again; the last result counts.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a layer.
        """
        ...


@runtime_checkable
class Modelled(Platform, Protocol):
    """A device whose costs follow from formulas."""

    def cost(self, resource: str) -> Cost | None:
        """What prices networks in a resource; None where only a table can."""
        ...


_ORT_OPTIONS: tuple[str, ...] = ("threads", "level", "batch", "precision", "energy")
_OPENERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "ort": ("netadapt.platforms.ort.platform", "open_ort", _ORT_OPTIONS),
    "ssh": (
        "netadapt.platforms.ssh", "open_ssh",
        (*_ORT_OPTIONS, "provider", "python", "config", "silence"),
    ),
    "replay": ("netadapt.platforms.replay", "open_replay", ()),
    "synthetic": (
        "netadapt.platforms.synthetic", "open_synthetic",
        ("block", "noise", "seed", "cold", "energy"),
    ),
    "eyeriss": (
        "netadapt.platforms.accelerators.opening", "open_eyeriss",
        ("batch", "costs", "zeros", "dram"),
    ),
    "crossbar": (
        "netadapt.platforms.accelerators.opening", "open_crossbar",
        ("rows", "columns", "cell_bits", "adc_bits", "weight_bits", "input_bits", "gated",
         "noise", "seconds", "chips"),
    ),
    "optical": (
        "netadapt.platforms.accelerators.opening", "open_optical",
        ("kind", "size", "batch", "components", "thermal"),
    ),
}  # fmt: skip
"""Scheme -> (module, function of (rest, options), names of options)."""

PLATFORMS = tuple(_OPENERS)


def open_platform(uri: str) -> Platform:
    """A device by its URI, such as ``ort:cpu?threads=2``; nothing is measured yet.

    A user's own is ``package.module:callable?option=value``; the callable gets the options as texts
    by their names, and returns a :class:`Platform`.

    Raises:
        UnknownName: there is no such kind of platform, or no such option.
        UsageError: an option has a value that it cannot have, or the user's own is no platform.
        DeviceError: a recorded table cannot be opened as a device.
    """
    address, _, query = uri.partition("?")
    scheme, _, rest = address.partition(":")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        options: Mapping[str, str] = dict(pairs)
        if len(options) < len(pairs) or not all(options.values()):
            raise ValueError
    except ValueError:
        raise UsageError(
            f"Cannot read the options of {uri}; write them like ?threads=2&level=all, each "
            "once and with a value."
        ) from None
    if any("\0" in part for part in (address, *options.values())):
        raise UsageError(f"{uri!r} has a NUL character in it, as no name or path may; remove it.")
    if scheme not in _OPENERS:
        return _users_own(address, options)
    module, function, known = _OPENERS[scheme]
    for name in options:
        if name not in known:
            raise UnknownName(f"option of the platform {scheme}", name, known)
    platform: Platform = getattr(import_module(module), function)(rest, options)
    return platform


def _users_own(reference: str, options: Mapping[str, str]) -> Platform:
    """What the user's own code makes of the options."""
    scheme, _, rest = reference.partition(":")
    if not rest or nearest(scheme, _OPENERS, cutoff=0.6):
        raise UnknownName(
            "platform", scheme, _OPENERS,
            f"Platforms look like {URI_EXAMPLES}, or package.module:callable.",
        )  # fmt: skip
    function = user_callable(reference, what="platform")
    for name in options:
        if name not in accepted(function, **options):
            raise UnknownName(
                f"option of the platform {reference}", name, signature(function).parameters
            )
    platform = function(**options)
    lacking = [part for part in _PARTS if not hasattr(platform, part)]
    if lacking:
        raise UsageError(
            f"The platform {reference!r} gave a {type(platform).__name__}, which lacks "
            f"{', '.join(lacking)}; see netadapt.platforms.Platform."
        )
    return platform  # type: ignore[no-any-return]


_PARTS = ("uri", "resources", "describe", "measure_networks")


def remedy(resource: str) -> str:
    """What to do where a device has no source of a resource."""
    if resource == "energy":
        return (
            "name what tells its energy, like 'ort:cpu?energy=auto' or "
            "'ssh://pi@raspberrypi?energy=auto' ('netadapt doctor' says what a device has), or "
            "choose modelled hardware, like 'eyeriss:'"
        )
    return "choose another resource, or a device that has a source of it"


def open_layer_timer(uri: str) -> LayerTimer:
    """A device whose layers can be timed one by one; arguments and errors as of open_platform.

    Raises:
        UsageError: its costs follow from formulas, so that no table is built of it.
    """
    platform = open_platform(uri)
    if not isinstance(platform, LayerTimer):
        raise UsageError(f"{uri} does not time layers: its costs are modelled, without a table.")
    return platform
