"""Measure networks: ``netadapt measure``."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from netadapt import data
from netadapt.assembly import Assembly, Source, assemble
from netadapt.export.deployment import as_deployed, calibration_images, deployable
from netadapt.export.exporter import Exporter
from netadapt.network import Network, Sizes, keep_first
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.platforms.measurement import DeviceInfo, Ratio
from netadapt.platforms.ort.files import read_onnx
from netadapt.platforms.ort.quantization import feeds_of, is_quantized, quantize


@dataclass(frozen=True)
class Subject:
    """A model that is measured at any widths, with the weights that come first.

    Attributes:
        assembly: the model, and the task whose images give 8-bit activations their ranges.
    """

    assembly: Assembly

    @property
    def name(self) -> str:
        """Of the model."""
        return self.assembly.name

    @property
    def network(self) -> Network:
        """What was traced from it."""
        return self.assembly.network

    @cached_property
    def images(self) -> Any:
        """For 8-bit activations; None for noise."""
        return calibration_images(self.assembly.task) if self.assembly.task else None

    def workload(self, info: DeviceInfo) -> Workload:
        """The network as it is, ready to be measured."""

        def write() -> bytes:
            return deployable(self.assembly.module, self.network.input_shape, info, self.images)

        return Workload(self.name, write, self.network.at({}))

    def variants(self, info: DeviceInfo) -> "Variants":
        """The network at many sizes, as a device runs it."""
        exporter = Exporter(self.assembly.module, self.network, batch=info.batch)
        return Variants(self, info, exporter)

    def writer(self, info: DeviceInfo) -> Callable[[Sizes], bytes]:
        """What writes the network at some sizes, as a device runs it."""
        return self.variants(info).onnx


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
        layers = self.subject.network.at(sizes)
        return Workload(self.subject.name, partial(self.onnx, sizes), layers)

    @property
    def remarks(self) -> list[str]:
        """What the user should know of how it is written: that it takes long, and why."""
        return [self.exporter.remark] if self.exporter.remark else []


def workload(source: Source, info: DeviceInfo) -> Workload:
    """A model by name, or an ONNX file, ready to be measured.

    An ONNX file is measured as it is, unless 8 bits are asked for and it is not quantized yet.

    Raises:
        UsageError: the file cannot be read, leaves the shape of an input open, or cannot be
            quantized.
    """
    if not (source.model.lower().endswith(".onnx") or Path(source.model).is_file()):
        return Subject(assemble(source)).workload(info)
    onnx = read_onnx(Path(source.model), source.input_shapes)
    if info.precision == "int8" and not is_quantized(onnx):
        images = None
        if source.data is not None:
            images = calibration_images(data.load(source.data, input_size=source.input_size))
        onnx = quantize(onnx, feeds_of(onnx, images), weight_bits=info.weight_bits)
    return Workload(source.model, onnx, ())


def measure_models(
    sources: Sequence[Source], *, platform_uri: str, effort: Effort
) -> dict[str, Any]:
    """Measure models, their runs interleaved.

    Returns:
        ``device``; for each of ``models``, the statistics of each resource that it measures; and
        ``ratios``, for each model after the first, what the first costs over what it does, with
        half of the 95 % interval relative to it (null where nothing tells).
    """
    platform = open_platform(platform_uri)
    info = platform.describe()
    workloads = [workload(source, info) for source in sources]
    measurements = platform.measure_networks(workloads, effort)
    return {
        "schema": 2,
        "device": info.to_json(),
        "models": [
            {"model": work.name, "resources": {name: m.summary() for name, m in readings.items()}}
            for work, readings in zip(workloads, measurements, strict=True)
        ],
        "ratios": [
            {name: asdict(Ratio.of(m, other[name])) for name, m in measurements[0].items()}
            for other in measurements[1:]
        ],
    }
