"""A device that never was, with the habits of real ones and a truth that is known.

It computes in blocks of channels, pays for reordering what does not fit them, for each call, and
for weights that its cache does not hold, and answers with seeded noise that only ever adds time. A
search that meets a budget here by its table can be held against :meth:`SyntheticPlatform.truth`.

Of weights that are read in turn, again and again, a cache keeps the less the more they are: of W
megabytes, a share of ``1 - W / CACHE_MB``. A layer alone therefore finds weights that a network
must read anew.

Its energy is told by a formula (``energy=formula``), or by a sensor (``energy=sensor``) whose
windows vary and from which idling is taken away: then each class of layers draws a power of its
own, :data:`WATTS`, and no formula prices energy. Or nothing tells it (``energy=none``).
"""

import math
import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netadapt.errors import DeviceError, UsageError
from netadapt.network import Cost, LayerShape
from netadapt.platforms import OVERHEAD, REFILL, Effort, Progress, Readings, Workload
from netadapt.platforms.measurement import DeviceInfo, Measurement
from netadapt.tables.powers import CALL, COLD, layer_class

CALL_S = 5e-6
NODE_S = 4e-7
S_PER_MAC = 1.0 / 60e9
S_PER_BYTE = 1.0 / 40e9
UNALIGNED = 3.0  # times slower where channels are no multiple of 4
DEPTHWISE = 6.0  # times slower per multiply-accumulate than dense
CACHE_MB = 1.0
IDLE_W = 0.5  # drawn as long as a run lasts, whatever it computes
J_PER_MAC = 2e-12
J_PER_BYTE = 3e-11
_MOST = 10_000  # of any option; more is a slip of the finger
WATTS = {
    "convolution": 3.2, "pointwise": 4.1, "depthwise": 1.7, "grouped convolution": 2.4,
    "linear": 2.9, "other": 1.1, COLD: 6.3, CALL: 0.8,
}  # fmt: skip
"""Drawn by each class of layers above an idle device, where a sensor tells energy."""
SOURCES = ("formula", "sensor", "none")
WINDOWS = 3
WINDOW_NOISE = 0.2  # of a run's: a window averages over thousands of runs
_CHAIN = 32  # layers of the chain that shows the price of cold weights


@dataclass(frozen=True, slots=True)
class SwitchingEnergy:
    """What computing and moving data costs, in joules; the power of an idle device is left out.

    A closed form that is off by what it leaves out, as closed forms are.
    """

    unit: str = "J"

    def layer(self, shape: LayerShape) -> float:
        """Joules of one layer."""
        pixels = shape.cin * math.prod(shape.in_hw) + shape.cout * math.prod(shape.out_hw)
        return shape.macs * J_PER_MAC + 4 * (pixels + shape.weights) * J_PER_BYTE

    def network(self, layers: float, weights: int) -> float:
        """Joules of a network: the sum."""
        return layers


@dataclass(frozen=True)
class SyntheticPlatform:
    """A device whose times follow from formulas.

    Attributes:
        block: channels that it computes at once.
        noise: mean relative delay of a run; the 10th percentile suffers a tenth of it.
        cold: seconds for each megabyte of weights that is not in the cache.
        seed: of the noise.
        energy: what tells energy, one of :data:`SOURCES`.
    """

    block: int = 16
    noise: float = 0.0
    cold: float = 2.5e-5
    seed: int = 0
    energy: str = "formula"

    @property
    def uri(self) -> str:
        """What opens it again."""
        told = f"&energy={self.energy}" if self.energy != SOURCES[0] else ""
        return (
            f"synthetic:?block={self.block}&noise={self.noise}&cold={self.cold}&seed={self.seed}"
            f"{told}"
        )

    @property
    def resources(self) -> tuple[str, ...]:
        """What it measures of whole networks."""
        return ("latency",) if self.energy == "none" else ("latency", "energy")

    def describe(self) -> DeviceInfo:
        """Its settings, as those of a device."""
        name = f"synthetic, noise {self.noise}, cold {self.cold}, seed {self.seed}"
        return DeviceInfo(
            "synthetic:", name, "none", "netadapt", block=self.block,
            layout="NCHWc" if self.block > 1 else "NCHW", cache_mb=CACHE_MB,
            sensor="synthetic:board" if self.energy == "sensor" else "",
        )  # fmt: skip

    def layer_s(self, shape: LayerShape) -> float:
        """True seconds of a layer that runs alone, with its weights in the cache if they fit."""
        if shape == OVERHEAD:
            return CALL_S
        if shape == REFILL:
            each = REFILL.cin * REFILL.cout
            whole, alone = (self._cold_s(n) / n for n in (_CHAIN * each, each))
            return (whole - alone) / 4e-6  # per megabyte
        return self._computing_s(shape) + self._cold_s(shape.weights)

    def _cold_s(self, weights: int) -> float:
        """Seconds to read those weights that the cache does not hold."""
        megabytes = weights * 4e-6
        return self.cold * megabytes * min(1.0, megabytes / CACHE_MB)

    def _computing_s(self, shape: LayerShape) -> float:
        pixels_in = shape.in_hw[0] * shape.in_hw[1]
        pixels_out = shape.out_hw[0] * shape.out_hw[1]
        blocks = math.ceil(shape.cout / self.block) * self.block
        moved = 4 * (shape.cin * pixels_in + blocks * pixels_out)
        seconds = NODE_S + moved * S_PER_BYTE
        if shape.op in ("conv", "conv_transpose"):
            kernel = shape.kernel[0] * shape.kernel[1]
            if shape.groups == shape.cin == shape.cout:
                seconds += DEPTHWISE * kernel * blocks * pixels_out * S_PER_MAC
            else:
                inner = math.ceil(shape.cin / shape.groups / 4) * 4
                seconds += inner * blocks * kernel * pixels_out * S_PER_MAC
            if (shape.cin % 4 and shape.cin > 3) or shape.cout % 4:
                seconds *= UNALIGNED
            if 3 < shape.cin < self.block:  # reads the plain layout: reordered first
                seconds += 8 * shape.cin * pixels_in * S_PER_BYTE
        elif shape.op == "linear":
            seconds += shape.weights * pixels_in * S_PER_MAC
        return seconds

    def truth(self, layers: Sequence[LayerShape]) -> float:
        """True seconds of a network."""
        computing_s = sum(map(self._computing_s, layers))
        return CALL_S + computing_s + self._cold_s(sum(shape.weights for shape in layers))

    def energy_truth(self, layers: Sequence[LayerShape]) -> float:
        """True joules of a network.

        By the formula, switching and idle power for as long as it runs; by the sensor, what its
        classes of layers draw above an idle device.
        """
        if self.energy != "sensor":
            return sum(map(SwitchingEnergy().layer, layers)) + IDLE_W * self.truth(layers)
        computing_j = sum(WATTS[layer_class(s)] * self._computing_s(s) for s in layers)
        cold_s = self._cold_s(sum(shape.weights for shape in layers))
        return WATTS[CALL] * CALL_S + computing_j + WATTS[COLD] * cold_s

    def cost(self, resource: str) -> Cost | None:
        """Energy may follow from a formula; all else is for a table to find out."""
        return SwitchingEnergy() if (resource, self.energy) == ("energy", "formula") else None

    def measure_layers(
        self,
        shapes: Sequence[LayerShape],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """The truth about each layer, with noise."""
        for done, shape in enumerate(dict.fromkeys(shapes), start=1):
            yield shape, self._noisy(self.layer_s(shape), str(shape), effort)
            if progress is not None:
                progress(done, len(shapes))

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Readings]:
        """The truth about each network, with noise.

        Raises:
            DeviceError: the layers of a network are not known.
        """
        found: list[Readings] = []
        for done, model in enumerate(models, start=1):
            if not model.layers:
                raise DeviceError(
                    f"{self.uri} times a network by its layers, and those of {model.name} are not "
                    "known; give a model by name instead of a file."
                )
            text = " ".join(map(str, model.layers))
            reading = {"latency": self._noisy(self.truth(model.layers), text, effort)}
            if self.energy != "none":
                reading["energy"] = self._joules(model.layers, f"energy {text}", effort)
            found.append(reading)
            if progress is not None:
                progress(done, len(models))
        return found

    def _joules(self, layers: Sequence[LayerShape], what: str, effort: Effort) -> Measurement:
        """Energy of a network; by the sensor in windows, less idle power as a window tells it."""
        energy_j = self.energy_truth(layers)
        if self.energy == "formula":
            return replace(self._noisy(energy_j, what, effort), unit="J")
        source, spread = self._source(what), WINDOW_NOISE * self.noise
        idle_j = IDLE_W * self.truth(layers)
        windows = tuple(
            (energy_j + idle_j) * source.gauss(1.0, spread) - idle_j * source.gauss(1.0, spread)
            for _ in range(WINDOWS)
        )
        return Measurement(windows, "model", unit="J")

    def _source(self, what: str) -> random.Random:
        return random.Random(zlib.crc32(f"{self.seed} {what}".encode()))

    def _noisy(self, seconds: float, what: str, effort: Effort) -> Measurement:
        runs = effort.passes * effort.bursts * effort.runs
        if not self.noise:
            return Measurement((seconds,) * runs, "model")
        source = self._source(what)
        delays = [source.expovariate(1.0) * self.noise for _ in range(runs)]
        return Measurement(tuple(seconds * (1 + delay) for delay in delays), "model")


def open_synthetic(rest: str, options: Mapping[str, str]) -> SyntheticPlatform:
    """``synthetic:?block=16&noise=0.05&seed=1``.

    Raises:
        UsageError: an option is not the number that it should be.
    """
    try:
        platform = SyntheticPlatform(
            block=int(options.get("block", 16)),
            noise=float(options.get("noise", 0.0)),
            cold=float(options.get("cold", 2.5e-5)),
            seed=int(options.get("seed", 0)),
            energy=options.get("energy", SOURCES[0]),
        )
    except ValueError as error:
        raise UsageError(f"An option of the synthetic platform is no number: {error}.") from error
    if platform.energy not in SOURCES:
        raise UsageError(
            f"energy={platform.energy} of the synthetic platform is none of {', '.join(SOURCES)}."
        )
    sound = all(0 <= x < _MOST for x in (platform.noise, platform.cold))  # of NaN, neither holds
    if rest or not 1 <= platform.block <= _MOST or not sound:
        raise UsageError(
            "Write the synthetic platform like synthetic:?block=16&noise=0.05&seed=1, "
            f"with finite numbers from 0 to {_MOST}."
        )
    return platform
