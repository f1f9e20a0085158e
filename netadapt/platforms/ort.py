"""ONNX Runtime as a device: on this machine, or wherever ``bench.py`` can be started."""

import base64
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlencode

from netadapt.errors import DeviceError, UsageError
from netadapt.measurement import Clock, DeviceInfo, Measurement, quantile
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, Effort, Progress, Workload
from netadapt.platforms.bench import LAYOUT_WEIGHT
from netadapt.platforms.entries import Probe, Term, build, terms
from netadapt.platforms.graph import is_known_activation
from netadapt.platforms.link import BOOTSTRAP, Conversation, Item, Link, converse

LEVELS = ("basic", "extended", "all")
PRECISIONS = ("float32",)
ADDITIVE = frozenset({"cpu", "cuda", "rocm"})
"""Providers that run one kernel for each layer; others compile whole stretches of a network, so
that no layer has a time of its own and only whole networks are measured."""
_FEW_RUNS = 20
_WIDE_SPREAD = 0.10
_HOT_C = 80.0


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of ONNX Runtime that change what is measured.

    Attributes:
        provider: execution provider by its short name, such as ``cpu`` or ``cuda``.
        threads: intra-op threads; 1 is timed by CPU time, more by wall clock.
        level: graph optimization level, one of :data:`LEVELS`.
        batch: images per run.
        precision: one of :data:`PRECISIONS`.
    """

    provider: str = "cpu"
    threads: int = 1
    level: str = "all"
    batch: int = 1
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.threads < 1 or self.batch < 1:
            raise UsageError("threads and batch of a platform must be 1 or more.")
        for value, known in ((self.level, LEVELS), (self.precision, PRECISIONS)):
            if value not in known:
                raise UsageError(f"{value!r} is none of {', '.join(known)}.")


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
    """

    address: str = "ort:cpu"
    options: Options = field(default_factory=Options)
    link: Link = field(default_factory=local_link)
    where: Mapping[str, str] = field(default_factory=dict)
    talk: Conversation = converse
    _info: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @property
    def uri(self) -> str:
        """What opens it again."""
        default = Options()
        changed = dict(self.where)
        for name in ("threads", "level", "batch", "precision"):
            if getattr(self.options, name) != getattr(default, name):
                changed[name] = str(getattr(self.options, name))
        return self.address + ("?" + urlencode(changed, safe="/:") if changed else "")

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
            layout=found["layout"],
            precision=options.precision,
            batch=options.batch,
            cache_mb=found["cache_mb"],
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
        wanted = {shape: terms(shape) for shape in shapes}
        if not wanted:
            return
        if self.options.provider not in ADDITIVE:
            self.describe()  # that it is absent is the better answer
            raise DeviceError(
                f"The execution provider {self.options.provider} compiles stretches of a network "
                "into one, so that layers have no time of their own there; measure whole networks "
                f"with 'netadapt measure', or layers on one of {', '.join(sorted(ADDITIVE))}."
            )
        ids, items = self.plan(wanted, effort)
        users: dict[str, list[LayerShape]] = {}
        for shape, found in wanted.items():
            for term in found:
                users.setdefault(ids[term.probe], []).append(shape)
        times = _Times(ids)
        unfinished = {shape: len(found) for shape, found in wanted.items()}
        total, done = len(items) * effort.passes, 0
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
                    yield shape, self._layer(wanted[shape], times)
        for shape, found in wanted.items():
            if unfinished[shape] and all(times.samples(t.probe) for t in found):
                yield shape, self._layer(found, times)
        if times.canary:
            yield CANARY, Measurement(tuple(times.canary), self._clock)
        _raise_failures(wanted, times)

    def plan(
        self, wanted: Mapping[LayerShape, Sequence[Term]], effort: Effort
    ) -> tuple[dict[Probe, str], list[Item]]:
        """The models that layers are computed from, with the name of each in the results."""
        probes = dict.fromkeys(t.probe for found in wanted.values() for t in found)
        ids = {probe: str(number) for number, probe in enumerate(probes)}
        items = [
            Item(name, lambda probe=probe: _encoded(build(probe, self.options.batch)),  # type: ignore[misc]
                 effort.passes)
            for probe, name in ids.items()
        ]  # fmt: skip
        return ids, items

    def measure_networks(
        self,
        models: Sequence[Workload],
        effort: Effort = Effort(),  # noqa: B008 - frozen
        progress: Progress | None = None,
    ) -> list[Measurement]:
        """Time whole networks, their runs interleaved so that all meet the same conditions.

        Raises:
            DeviceError: the device cannot be reached, or cannot run a network.
        """
        items = [
            Item(str(n), lambda model=model: _encoded(model.onnx), effort.passes)  # type: ignore[misc]
            for n, model in enumerate(models)
        ]
        times = _Times({})
        total, done = len(items) * effort.passes, 0
        for record in self.talk(self.link, self.settings(effort), items):
            times.add(record)
            self._remember(record)
            done += record["kind"] == "visit"
            if progress is not None:
                progress(min(done, total), total)
        for n, error in times.errors.items():
            error = error.strip().rstrip(".")
            if "INVALID_PROTOBUF" in error:
                raise DeviceError(
                    f"{models[int(n)].name} is no ONNX model, or was cut off: {self.link.name} "
                    "cannot read it. Give a whole .onnx file."
                )
            raise DeviceError(
                f"{self.link.name} cannot run {models[int(n)].name}: {error}. Export it with "
                "operators that this onnxruntime knows, or choose another platform."
            )
        disturbed = self._disturbances(times)
        return [
            _with_remarks(Measurement(tuple(times.of(item.id)), self._clock, disturbed))
            for item in items
        ]

    @property
    def _platform(self) -> str:
        """The URI without what :class:`DeviceInfo` has fields for, or does not matter."""
        provider = self.where.get("provider", "cpu")
        return self.address + (f"?provider={provider}" if provider != "cpu" else "")

    @property
    def _clock(self) -> Clock:
        return "cpu" if self._info.get("clock") == "cpu" else "wall"

    def _layer(self, found: Sequence[Term], times: "_Times") -> Measurement:
        """The first term's samples, less what the others add up to."""
        others_s = sum(t.factor * quantile(times.samples(t.probe), 0.10) for t in found[1:])
        factor = found[0].factor
        samples = tuple(factor * sample + others_s for sample in times.samples(found[0].probe))
        act = found[0].probe.shape.act
        warnings = self._disturbances(times)
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
            "time_limit_s": effort.time_limit_s, "canary": _canary(), "layout_model": _layout(),
        }  # fmt: skip

    def _remember(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "info":
            self._info = dict(record)

    def _disturbances(self, times: "_Times") -> tuple[str, ...]:
        return disturbances(self._info, self.options.threads, times.canary_drift)


class _Times:
    """Samples in seconds as they arrive."""

    def __init__(self, ids: Mapping[Probe, str]) -> None:
        self.ids = ids
        self.visits: dict[str, int] = {}
        self.canary: list[float] = []
        self.errors: dict[str, str] = {}
        self._samples: dict[str, list[float]] = {}
        self._canary_p10s: list[float] = []

    def add(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "visit":
            self.visits[record["id"]] = self.visits.get(record["id"], 0) + 1
            self._samples.setdefault(record["id"], []).extend(ns * 1e-9 for ns in record["ns"])
        elif record["kind"] == "canary":
            self.canary += [ns * 1e-9 for ns in record["ns"]]
            self._canary_p10s.append(min(record["ns"]) * 1e-9)
        elif record["kind"] == "error":
            self.errors[record["id"]] = record["error"]

    def samples(self, probe: Probe) -> list[float]:
        return self.of(self.ids[probe])

    def of(self, name: str) -> list[float]:
        return self._samples.get(name, [])

    @property
    def canary_drift(self) -> float:
        """Interquartile range over the median of the canary's visits, each by its best run."""
        return Measurement(tuple(self._canary_p10s)).spread if self._canary_p10s else 0.0


def disturbances(found: Mapping[str, Any], threads: int, drift: float) -> tuple[str, ...]:
    """What about the device was not as it should be, each with its remedy.

    Args:
        found: what the device said of itself.
        threads: intra-op threads that were asked for.
        drift: relative variation of the canary.
    """
    warnings = []
    if (found.get("load") or 0) > 0.7 * found["processors"]:
        warnings.append(
            f"The load was {found['load']:.1f} on {found['processors']} processors; stop other "
            "programs and measure again."
        )
    governor = found.get("governor")
    if governor and governor != "performance":
        warnings.append(
            f"The frequency governor is {governor}, which slows short runs down; set it with "
            "'sudo cpupower frequency-set -g performance'."
        )
    if (found.get("temperature_c") or 0) > _HOT_C:
        warnings.append(
            f"The processor is at {found['temperature_c']:.0f} °C and may be throttled; let "
            "it cool or add a fan."
        )
    if threads > found["processors"]:
        warnings.append(
            f"{threads} threads on {found['processors']} processors spin for "
            "each other; give at most one thread to each."
        )
    if drift > _WIDE_SPREAD:
        warnings.append(
            f"The same small model varied by {drift:.0%} in the course of the "
            "measurement; measure again when the machine is quiet, or with more passes."
        )
    return tuple(warnings)


def _raise_failures(wanted: Mapping[LayerShape, Sequence[Term]], times: _Times) -> None:
    for shape, found in wanted.items():
        for term in found:
            error = times.errors.get(times.ids[term.probe])
            if error is not None:
                raise DeviceError(f"The device cannot run the layer {shape}: {error}")


def _with_remarks(measurement: Measurement) -> Measurement:
    remarks = list(measurement.warnings)
    if len(measurement.samples_s) < _FEW_RUNS:
        remarks.append(
            f"Only {len(measurement.samples_s)} runs were taken; {_FEW_RUNS} or more are steadier: "
            "add passes."
        )
    if measurement.spread > _WIDE_SPREAD:
        remarks.append(
            f"The middle half of the runs spreads over {measurement.spread:.0%} of the median; "
            "stop other programs, or add passes or a minimum time."
        )
    return Measurement(measurement.samples_s, measurement.clock, tuple(remarks))


def _encoded(model: bytes) -> dict[str, str]:
    return {"model": base64.b64encode(model).decode()}


@cache
def _canary() -> str:
    shape = LayerShape("conv", 32, 32, (14, 14), (14, 14), (3, 3), (1, 1), (1, 1))
    return _encoded(build(Probe("layer", shape)))["model"]


@cache
def _layout() -> str:
    """Two convolutions, the first with 8 equal weights that a block pads."""
    from netadapt.platforms.graph import layout_model

    return _encoded(layout_model(LAYOUT_WEIGHT))["model"]


def open_ort(provider: str, options: Mapping[str, str]) -> OrtPlatform:
    """``ort:cpu?threads=2``: ONNX Runtime on this machine."""
    return OrtPlatform(f"ort:{provider}", read_options(provider, options))


def read_options(provider: str, options: Mapping[str, str]) -> Options:
    """Options of a URI.

    Raises:
        UsageError: a value is not what it should be.
    """
    values: dict[str, Any] = dict(options)
    for name in ("threads", "batch"):
        if name in values:
            try:
                values[name] = int(values[name])
            except ValueError:
                raise UsageError(f"{name}={values[name]} of a platform is no number.") from None
    if values.get("threads") == 0:
        values["threads"] = os.cpu_count() or 1
    return Options(provider=provider, **values)
