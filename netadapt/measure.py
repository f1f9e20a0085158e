"""Measure networks: ``netadapt measure``."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netadapt import data
from netadapt.assembly import Assembly, Source, assemble
from netadapt.errors import UsageError
from netadapt.export.deployment import calibration_images, deployable
from netadapt.network import Network, Sizes, keep_first
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.platforms.measurement import DeviceInfo
from netadapt.platforms.ort.quantization import feeds_of, is_quantized, quantize
from netadapt.pruning.surgery import shrink


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
    def _images(self) -> Any:
        """For 8-bit activations; None for noise."""
        return calibration_images(self.assembly.task) if self.assembly.task else None

    def onnx(self, sizes: Sizes, info: DeviceInfo) -> bytes:
        """The network at some sizes, as a device runs it."""
        keep = keep_first(self.network, sizes) if sizes else {}
        model = shrink(self.assembly.module, self.network, keep)
        return deployable(model, self.network.input_shape, info, self._images)

    def workload(self, sizes: Sizes, info: DeviceInfo) -> Workload:
        """The network at some sizes, ready to be measured."""
        return Workload(self.name, self.onnx(sizes, info), self.network.at(sizes))


def workload(source: Source, info: DeviceInfo) -> Workload:
    """A model by name, or an ONNX file, ready to be measured.

    An ONNX file is measured as it is, unless 8 bits are asked for and it is not quantized yet.

    Raises:
        UsageError: the file does not exist, or cannot be quantized.
    """
    if not source.model.endswith(".onnx"):
        return Subject(assemble(source)).workload({}, info)
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


def measure_models(
    sources: Sequence[Source], *, platform_uri: str, effort: Effort
) -> dict[str, Any]:
    """Measure models, their runs interleaved.

    Returns:
        ``device`` and, for each of ``models``, the statistics of each resource that it measures.
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
    }
