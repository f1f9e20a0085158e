"""ONNX Runtime as a device: on this machine, or wherever ``bench.py`` can be started."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import urlencode

from netadapt.errors import DeviceError
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, REFILL, Effort, Progress, Readings, Workload
from netadapt.platforms.bench import kernels
from netadapt.platforms.link import BOOTSTRAP, Conversation, Item, Link, converse, encoded
from netadapt.platforms.measurement import Clock, DeviceInfo, Measurement, quantile
from netadapt.platforms.ort.graph import is_known_activation, layout_model
from netadapt.platforms.ort.hygiene import disturbances, drift_remark, with_remarks
from netadapt.platforms.ort.options import Options, read_options
from netadapt.platforms.ort.probes import Probe, Term, build, terms
from netadapt.platforms.ort.quantization import quantize_probe
from netadapt.platforms.ort.saturation import encoded_integer_model
from netadapt.platforms.ort.times import Times
from netadapt.platforms.ort.turns import ENERGY_ROUNDS, Turns
from netadapt.platforms.replies import Record, same_device

CANARY_EVERY = 32
"""Layers after which the canary so far is given too."""
ADDITIVE = frozenset({"cpu", "cuda", "rocm"})
"""Providers that run one kernel for each layer. Others compile whole stretches of a network: there
a layer's time is what it adds to a compiled block of three, and a table says that its sums are to
be verified."""


def local_link() -> Link:
    """This machine, in a process of its own."""
    return Link((sys.executable, "-u", "-c", BOOTSTRAP), "This machine")


@dataclass
class OrtPlatform:
    """ONNX Runtime at the other end of a link; see :class:`netadapt.platforms.Platform`.

    Attributes:
        address: the URI without options.
        options: what changes the timings.
        link: how to start Python there.
        where: further options of the URI, which do not change the timings.
        talk: carries a plan out over the link; a plan that was carried by hand is answered from
            the file that came back.
        method: how a layer's time is computed, by default as the sandwich difference.
    """

    address: str = "ort:cpu"
    options: Options = field(default_factory=Options)
    link: Link = field(default_factory=local_link)
    where: Mapping[str, str] = field(default_factory=dict)
    talk: Conversation = converse
    method: Callable[[LayerShape], Sequence[Term]] = terms
    _info: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def uri(self) -> str:
        """What opens it again."""
        default = Options()
        changed = dict(self.where)
        for name in ("threads", "level", "batch", "precision", "energy"):
            if getattr(self.options, name) != getattr(default, name):
                changed[name] = str(getattr(self.options, name))
        return self.address + ("?" + urlencode(changed, safe="/:") if changed else "")

    @property
    def resources(self) -> tuple[str, ...]:
        """What it measures of whole networks."""
        return ("latency", "energy") if self.options.energy else ("latency",)

    def describe(self) -> DeviceInfo:
        """What the device is; asked once."""
        if not self._info:
            for record in self.talk(self.link, self.settings(Effort()), []):
                self._remember(record)
        found, options = self._info, self.options
        return DeviceInfo(
            platform=self._platform,
            device=found["device"],
            machine=found["machine"],
            runtime=found["runtime"],
            threads=options.threads,
            level=options.level,
            block=found["block"],
            layout="NHWC" if options.precision == "int8" else found["layout"],
            precision=options.precision,
            saturates=options.precision == "int8" and self._saturates,
            batch=options.batch,
            cache_mb=found["cache_mb"],
            sensor=found.get("sensor", ""),
        )

    def facts(self) -> Mapping[str, Any]:
        """All that the device says of itself: versions, providers, governor, load, temperature."""
        self.describe()
        return dict(self._info)

    def measure_layers(
        self,
        shapes: Sequence[LayerShape],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> Iterator[tuple[LayerShape, Measurement]]:
        """Time each layer as it runs inside a network, and at the end the canary.

        The samples of a layer are those of the model that holds it, each less the 10th percentiles
        of the models without it, so that the layer's 10th percentile is the difference of theirs.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a layer; what it could run
                has been yielded by then.
        """
        wanted = {shape: self.method(shape) for shape in shapes if self.can_time(shape)}
        if not wanted:
            return
        bits = self.describe().weight_bits if self.options.precision == "int8" else 8
        ids, items = self.plan(wanted, effort, weight_bits=bits)
        users: dict[str, list[LayerShape]] = {}
        for shape, found in wanted.items():
            for term in found:
                users.setdefault(ids[term.probe], []).append(shape)
        times = Times(ids)
        unfinished = {shape: len(found) for shape, found in wanted.items()}
        total, done, told = len(items) * effort.passes, 0, 0
        for record in self.talk(self.link, self.settings(effort), items):
            times.add(record)
            self._remember(record)
            if record["kind"] != "visit":
                continue
            done += 1
            if progress is not None:
                progress(min(done, total), total)
            if times.visits[record["id"]] != effort.passes or effort.min_seconds:
                continue
            for shape in users[record["id"]]:
                unfinished[shape] -= 1
                if not unfinished[shape]:
                    told += 1
                    yield shape, self._layer(wanted[shape], times)
                    if times.canary and told % CANARY_EVERY == 0:
                        yield CANARY, self._canary(times)  # not lost if this is cut off
        for shape, found in wanted.items():
            more = any(times.visits.get(ids[t.probe], 0) > effort.passes for t in found)
            if (unfinished[shape] or more) and all(times.samples(t.probe) for t in found):
                yield shape, self._layer(found, times)
        if times.canary:
            yield CANARY, self._canary(times)
        _raise_failures(wanted, times)

    def _canary(self, times: Times) -> Measurement:
        drifted = drift_remark(times.canary_drift)
        return Measurement(tuple(times.canary), self._clock, drifted)

    def can_time(self, shape: LayerShape) -> bool:
        """Whether to ask for it: in 8 bits the chain for the price of cold weights fits caches."""
        return shape != REFILL or self.options.precision != "int8"

    def plan(
        self, wanted: Mapping[LayerShape, Sequence[Term]], effort: Effort, *, weight_bits: int
    ) -> tuple[dict[Probe, str], list[Item]]:
        """The models that layers are computed from, with the name of each in the results."""

        def line(probe: Probe) -> dict[str, str]:
            model = build(probe, self.options.batch)
            if self.options.precision == "int8":
                model = quantize_probe(model, weight_bits=weight_bits)
            return encoded(model)

        probes = dict.fromkeys(t.probe for found in wanted.values() for t in found)
        ids = {probe: str(number) for number, probe in enumerate(probes)}
        items = [Item(name, partial(line, probe), effort.passes) for probe, name in ids.items()]
        return ids, items

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Readings]:
        """Time whole networks in turn, so that all meet the same conditions.

        Each invocation is a conversation of its own, for which a process starts there.

        Raises:
            DeviceError: the device cannot be reached or run a network, or tells no energy if asked.
        """

        def ask(part: Effort, more: Mapping[str, Any], items: Sequence[Item]) -> Iterator[Record]:
            for record in self.talk(self.link, {**self.settings(part), **more}, items):
                self._remember(record)
                yield record

        energy = bool(self.options.energy)
        found = Turns(models, effort, self.link.name, ask, energy, progress).taken()
        return [self._readings(str(place), found) for place in range(len(models))]

    def _readings(self, name: str, found: Sequence[Times]) -> Readings:
        """Time, and energy where it is asked for, of one network from what each process took.

        Raises:
            DeviceError: there is no energy of it.
        """
        drift = max(times.canary_drift for times in found)
        taken = [times.of(name) for times in found]
        latency = with_remarks(
            Measurement(
                tuple(itertools.chain(*taken)), self._clock,
                self._disturbances() + drift_remark(drift),
                paired=all(times.rounds.get(name) == len(times.of(name)) for times in found),
                invocations=tuple(map(len, taken)) if len(taken) > 1 else (),
            )
        )  # fmt: skip
        if not self.options.energy:
            return {"latency": latency}
        joules = [j for times in found for j in times.joules_of(name)]
        if len(joules) < ENERGY_ROUNDS:
            raise DeviceError(
                f"{self.link.name} stopped before the energy of a network had been measured in "
                f"{ENERGY_ROUNDS} windows; measure again."
            )
        energy = Measurement(tuple(joules), "wall", self._disturbances(), "J")
        return {"latency": latency, "energy": energy}

    @property
    def _platform(self) -> str:
        """The URI without what :class:`DeviceInfo` has fields for, or does not matter."""
        provider = self.where.get("provider", "cpu")
        return self.address + (f"?provider={provider}" if provider != "cpu" else "")

    @property
    def _saturates(self) -> bool:
        """What the quantized model showed.

        Raises:
            DeviceError: it could not be run.
        """
        saturates = self._info.get("saturates")
        if saturates is None:
            raise DeviceError(
                f"{self.link.name} cannot compute a convolution in 8 bits, so that nothing in int8 "
                "can be measured there; use precision=float32, or another execution provider."
            )
        return bool(saturates)

    @property
    def _clock(self) -> Clock:
        return "cpu" if self._info.get("clock") == "cpu" else "wall"

    def _layer(self, found: Sequence[Term], times: Times) -> Measurement:
        """The first term's samples, less what the others add up to."""
        others_s = sum(t.factor * quantile(times.samples(t.probe), 0.10) for t in found[1:])
        factor = found[0].factor
        samples = tuple(factor * sample + others_s for sample in times.samples(found[0].probe))
        act = found[0].probe.shape.act
        warnings = self._disturbances()
        if self.options.provider not in ADDITIVE:
            warnings += (
                f"The execution provider {self.options.provider} compiles stretches of a network "
                "into one, in which layers may not add up; see how far they do with 'netadapt "
                "table verify'.",
            )
        if not is_known_activation(act):
            warnings += (f"The activation {act!r} is unknown; the layer was timed without it.",)
        return Measurement(samples, self._clock, warnings)

    def settings(self, effort: Effort) -> dict[str, Any]:
        """The head of a plan."""
        options = self.options
        return {
            "threads": options.threads, "level": options.level, "provider": options.provider,
            "batch": options.batch, "passes": effort.passes, "bursts": effort.bursts,
            "runs": effort.runs, "warmups": effort.warmups, "min_seconds": effort.min_seconds,
            "spread_s": effort.spread_s, "precision": effort.precision,
            "time_limit_s": effort.time_limit_s,
            "canary": _canary(), "layout_model": _layout(),
            "integer_model": encoded_integer_model(), "energy": options.energy or None,
        }  # fmt: skip

    def _remember(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "info":
            self._info = same_device(self.link.name, self._info, record)

    def _disturbances(self) -> tuple[str, ...]:
        return disturbances(self._info, self.options.threads)


def _raise_failures(wanted: Mapping[LayerShape, Sequence[Term]], times: Times) -> None:
    for shape, found in wanted.items():
        for term in found:
            error = times.errors.get(times.ids[term.probe])
            if error is not None:
                raise DeviceError(f"The device cannot run the layer {shape}: {error}")


@cache
def _canary() -> str:
    shape = LayerShape("conv", 32, 32, (14, 14), (14, 14), (3, 3), (1, 1), (1, 1))
    return encoded(build(Probe("layer", shape)))["model"]


@cache
def _layout() -> str:
    """Two convolutions, the first with 8 equal weights that a block pads."""
    return encoded(layout_model(kernels.LAYOUT_WEIGHT))["model"]


def open_ort(provider: str, options: Mapping[str, str]) -> OrtPlatform:
    """``ort:cpu?threads=2``: ONNX Runtime on this machine."""
    return OrtPlatform(f"ort:{provider}", read_options(provider, options))
