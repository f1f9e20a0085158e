"""Measure networks and their layers: ``netadapt measure``, ``table build`` and ``table verify``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from netadapt import data
from netadapt.errors import UsageError
from netadapt.export.deployment import as_deployed, calibration_images, deployable
from netadapt.export.exporter import Exporter
from netadapt.inspect import default_input_shape
from netadapt.models import ModelSpec
from netadapt.network import MACS, LayerShape, Network, Sizes, cost_of, keep_first
from netadapt.platforms import (
    Effort,
    LayerTimer,
    Platform,
    Workload,
    open_layer_timer,
    open_platform,
)
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import alone
from netadapt.platforms.ort.quantization import feeds_of, is_quantized, quantize
from netadapt.search.strategies import one_group
from netadapt.tables.accuracy import Accuracy, Observations, Tolerance, assess, observe, report
from netadapt.tables.build import LAYERS, complete_table, lacks, open_table
from netadapt.tables.correction import SPREAD, Calibration, calibration_sizes
from netadapt.tables.table import UNPRICED, LookupTable
from netadapt.tracing import trace
from netadapt.workshop import Notify, counted_progress, silent


@dataclass(frozen=True)
class Source:
    """Which model, and for which images.

    Attributes:
        model: a name, see :func:`netadapt.models.build`, or the path of an ONNX file.
        args: further arguments of the model.
        weights: a weight file, or ``pretrained``; timings do not hang on it.
        input_size: height and width of the images in pixels.
        num_classes: outputs of the classifier.
        data: a data set whose training images give 8-bit activations their ranges; it also decides
            the size of the images and the number of classes.
    """

    model: str
    args: Mapping[str, Any]
    weights: str | None = None
    input_size: int | None = None
    num_classes: int = 1000
    data: str | None = None


@dataclass(frozen=True)
class Subject:
    """A model that was built and traced.

    Attributes:
        name: of the model.
        module: the model.
        network: what was traced from it.
        images: for calibrating 8-bit activations; None for noise.
    """

    name: str
    module: nn.Module
    network: Network
    images: Any = None

    @classmethod
    def of(cls, source: Source) -> "Subject":
        """Build and trace a model by name."""
        shape, classes, images = None, source.num_classes, None
        if source.data is not None:
            task = data.load(source.data, input_size=source.input_size)
            shape, classes, images = task.input_shape, task.num_classes, calibration_images(task)
        shape = shape or default_input_shape(source.model, source.input_size)
        spec = ModelSpec(source.model, classes, shape, dict(source.args))
        module = spec.build(source.weights)
        return cls(source.model, module, trace(module, shape), images)

    def workload(self, info: DeviceInfo) -> Workload:
        """The network as it is, ready to be measured."""
        onnx = deployable(self.module, self.network.input_shape, info, self.images)
        return Workload(self.name, onnx, self.network.at({}))

    def variants(self, info: DeviceInfo) -> "Variants":
        """The network at many sizes, as a device runs it."""
        return Variants(self, info, Exporter(self.module, self.network, batch=info.batch))


@dataclass(frozen=True)
class Variants:
    """A subject at any sizes, as a device runs it; the first that is asked for takes longest.

    Attributes:
        subject: the model.
        info: the device.
        exporter: writes it.
    """

    subject: Subject
    info: DeviceInfo
    exporter: Exporter

    def onnx(self, sizes: Sizes) -> bytes:
        """The network at some sizes."""
        keep = keep_first(self.subject.network, sizes) if sizes else {}
        return as_deployed(self.exporter.kept(keep), self.info, self.subject.images)

    def workload(self, sizes: Sizes) -> Workload:
        """The network at some sizes, ready to be measured."""
        return Workload(self.subject.name, self.onnx(sizes), self.subject.network.at(sizes))

    @property
    def remarks(self) -> list[str]:
        """What the user should know of how it is written: that it takes long, and why."""
        return [self.exporter.remark] if self.exporter.remark else []


def workload(source: Source, info: DeviceInfo) -> Workload:
    """A model by name, or an ONNX file, ready to be measured.

    An ONNX file is measured as it is, unless 8 bits are asked for and it is not quantized yet.

    Raises:
        UsageError: the file does not exist, or cannot be quantized.
    """
    if not source.model.endswith(".onnx"):
        return Subject.of(source).workload(info)
    try:
        onnx = Path(source.model).read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {source.model}: {error.strerror}.") from error
    if info.precision == "int8" and not is_quantized(onnx):
        images = None
        if source.data is not None:
            images = calibration_images(data.load(source.data, input_size=source.input_size))
        onnx = quantize(onnx, feeds_of(onnx, images))
    return Workload(source.model, onnx, ())


def build_table(
    source: Source,
    out: Path,
    *,
    platform_uri: str,
    multiple: int,
    dense: bool = False,
    time_limit_s: float | None = None,
    notify: Notify = silent,
) -> dict[str, Any]:
    """Measure every layer that adapting a model may ask for first, and calibrate on the network.

    Args:
        source: the model.
        out: the table; what it holds already is not measured again.
        platform_uri: the device.
        multiple: widths are multiples of it; 0 takes what suits the device.
        dense: measure each layer shape; no interpolation.
        time_limit_s: for the layers; what lowers the error most is measured first, and the same
            call goes on with the rest.
        notify: called with ``progress`` events.
    """
    subject = Subject.of(source)
    platform = open_layer_timer(platform_uri)
    info = platform.describe()
    network, multiple = subject.network, multiple or info.multiple
    table = open_table(None, out, info)
    known = len(table.entries)
    calibrating = calibration_sizes(network, multiple)
    table = complete_table(
        table,
        platform,
        network,
        {},
        one_group.propose,
        multiple,
        path=out,
        dense=dense,
        time_limit_s=time_limit_s,
        progress=counted_progress(notify, "lookup table"),
        others=calibrating.values(),
    )
    lacking = lacks(table, [s for sizes in calibrating.values() for s in network.at(sizes)])
    found = {
        "schema": 1,
        "device": info.to_json(),
        "entries": len(table.entries),
        "measured": len(table.entries) - known,
        "lacking": len(lacking),
        "calibration": [],
        "residue": [str(shape) for shape in table.residue(network.at({}))],
        "warnings": list(table.warnings),
    }
    if lacking:
        return found
    variants = subject.variants(info)
    works = [variants.workload(sizes) for sizes in calibrating.values()]
    found["warnings"] += variants.remarks
    readings = platform.measure_networks(works, SPREAD, counted_progress(notify, "calibration"))
    timed = [reading[table.resource] for reading in readings]
    pairs = [(t.value, w.layers) for t, w in zip(timed, works, strict=True)]
    table = table.calibrated(pairs, name=f"{source.model} at {', '.join(calibrating)}")
    table.save(out)
    found["calibration"] = [
        {
            "width": name,
            "measured_s": t.value,
            "noise": t.noise,
            "predicted_s": table.price(w.layers),
        }
        for name, t, w in zip(calibrating, timed, works, strict=True)
    ]
    return found


def verify_table(
    source: Source,
    path: Path,
    *,
    platform_uri: str,
    multiple: int,
    networks: int,
    groups: int,
    seed: int,
    tolerance: Tolerance | None,
    notify: Notify = silent,
) -> dict[str, Any]:
    """Hold a table against whole networks that it never saw, beside simpler predictors.

    Args:
        source: the model.
        path: the table.
        platform_uri: the device that it is of.
        multiple: widths are multiples of it; 0 takes what suits the device.
        networks: how many, of random widths.
        groups: how many channel groups are halved alone.
        seed: of the widths.
        tolerance: what may be off; by default the usual for networks as fast as these.
        notify: called with ``progress`` events.

    Raises:
        TableError: the table is of another device or of other settings.
    """
    table = LookupTable.load(path)
    platform = open_layer_timer(platform_uri)
    info = platform.describe()
    table.require(info)
    subject = Subject.of(source)
    variants = subject.variants(info)
    found = observe(
        subject.network,
        platform,
        variants.onnx,
        multiple=multiple or info.multiple,
        unseen=networks,
        halved=groups,
        seed=seed,
        progress=counted_progress(notify, "networks"),
    )
    accuracies, extra = compare(table, platform, found, notify)
    return {"model": source.model, "measured_for_this": extra,
            "remarks": variants.remarks, **report(table, found, accuracies, tolerance)}  # fmt: skip


def compare(
    table: LookupTable, platform: LayerTimer, found: Observations, notify: Notify = silent
) -> tuple[dict[str, Accuracy], int]:
    """Hold a table, and simpler predictors, against measured networks.

    Layers that the table does not price are measured now, and only for this.

    Returns:
        Accuracies by predictor, the table's first; and how many layers were measured.
    """
    lacking = lacks(table, found.layers)
    progress = counted_progress(notify, "layers")
    table = table.fill(platform, lacking, effort=LAYERS, progress=progress)
    ready = bool(table.calibration.networks)
    accuracies = {"lookup table": assess(found, table.price, calibrate=not ready)}
    if ready:
        plain = replace(table, calibration=Calibration())
        accuracies["the same, calibrated anew"] = assess(found, plain.price, calibrate=True)
    naive = _alone_s(platform, found.layers, notify)
    if naive:
        accuracies["single layers, summed"] = assess(
            found, lambda layers: sum(naive[shape] for shape in layers), calibrate=True
        )
    accuracies["MACs"] = assess(found, lambda layers: cost_of(MACS, layers), calibrate=True)
    return accuracies, len(lacking)


def _alone_s(
    platform: Platform, shapes: Sequence[LayerShape], notify: Notify
) -> dict[LayerShape, float]:
    """Seconds of each layer as a network of its own; empty for devices that cannot say."""
    if not isinstance(platform, OrtPlatform):
        return {}
    single = replace(platform, method=alone)
    wanted = [shape for shape in shapes if shape.op not in UNPRICED]
    progress = counted_progress(notify, "single layers")
    times = {s: m.p10 for s, m in single.measure_layers(wanted, LAYERS, progress)}
    return {shape: times.get(shape, 0.0) for shape in shapes}


def measure_models(
    sources: Sequence[Source],
    *,
    platform_uri: str,
    passes: int,
    min_seconds: float,
) -> dict[str, Any]:
    """Measure models, their runs interleaved.

    Returns:
        ``device`` and, for each of ``models``, the statistics of each resource that it measures.
    """
    platform = open_platform(platform_uri)
    info = platform.describe()
    workloads = [workload(source, info) for source in sources]
    effort = Effort(passes=passes, min_seconds=min_seconds)
    measurements = platform.measure_networks(workloads, effort)
    return {
        "schema": 2,
        "device": info.to_json(),
        "models": [
            {"model": work.name, "resources": {name: m.summary() for name, m in readings.items()}}
            for work, readings in zip(workloads, measurements, strict=True)
        ],
    }
