"""Measure networks by name or by file: what ``netadapt measure`` does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netadapt import export
from netadapt.errors import UsageError
from netadapt.inspection import default_input_shape
from netadapt.models import ModelSpec
from netadapt.network import LayerShape
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.tracing import trace


def workload(
    model: str, *, model_args: Mapping[str, Any], weights: str | None, input_size: int | None
) -> Workload:
    """A model by name, or an ONNX file, ready to be measured.

    Raises:
        UsageError: the file does not exist.
    """
    if model.endswith(".onnx"):
        try:
            return Workload(model, Path(model).read_bytes(), ())
        except OSError as error:
            raise UsageError(f"Cannot read {model}: {error.strerror}.") from error
    spec = ModelSpec(model, 1000, default_input_shape(model, input_size), dict(model_args))
    module = spec.build(weights)
    layers: tuple[LayerShape, ...] = trace(module, spec.input_shape).at({})
    return Workload(model, export.to_onnx(module, spec.input_shape), layers)


def measure_models(
    models: Sequence[str],
    *,
    model_args: Mapping[str, Any],
    weights: str | None,
    input_size: int | None,
    platform_uri: str,
    passes: int,
    min_seconds: float,
) -> dict[str, Any]:
    """Measure models, their runs interleaved.

    Returns:
        ``device`` and, for each of ``models``, the statistics of its runs in seconds.
    """
    workloads = [
        workload(model, model_args=model_args, weights=weights, input_size=input_size)
        for model in models
    ]
    platform = open_platform(platform_uri)
    effort = Effort(passes=passes, min_seconds=min_seconds)
    measurements = platform.measure_networks(workloads, effort)
    return {
        "schema": 1,
        "device": platform.describe().to_json(),
        "models": [
            {"model": work.name, **measurement.summary()}
            for work, measurement in zip(workloads, measurements, strict=True)
        ],
    }
