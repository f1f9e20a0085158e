"""Measure networks and their layers: ``netadapt measure`` and ``netadapt table build``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from netadapt import export
from netadapt.errors import UsageError
from netadapt.inspection import default_input_shape
from netadapt.models import ModelSpec
from netadapt.network import LayerShape
from netadapt.platforms import Effort, Workload, open_platform
from netadapt.strategies import netadapt
from netadapt.tabling import complete_table, open_table
from netadapt.tracing import trace
from netadapt.workshop import Notify, counted_progress, silent


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


def build_table(
    model: str,
    out: Path,
    *,
    model_args: Mapping[str, Any],
    weights: str | None,
    input_size: int | None,
    num_classes: int,
    platform_uri: str,
    round_to: int,
    dense: bool = False,
    time_limit_s: float | None = None,
    notify: Notify = silent,
) -> dict[str, Any]:
    """Measure every layer that adapting a model may ask for first, and calibrate on the network.

    Args:
        model: by name.
        out: the table; what it holds already is not measured again.
        model_args: further arguments of the model.
        weights: a weight file, or ``pretrained``; timings do not hang on it.
        input_size: height and width of the images in pixels.
        num_classes: outputs of the classifier.
        platform_uri: the device.
        round_to: widths are multiples of it; 0 takes the device's block.
        dense: measure each layer shape; no interpolation.
        time_limit_s: for the grid; what lowers the error most is measured first.
        notify: called with ``progress`` events.
    """
    spec = ModelSpec(model, num_classes, default_input_shape(model, input_size), dict(model_args))
    module = spec.build(weights)
    network = trace(module, spec.input_shape)
    platform = open_platform(platform_uri)
    info = platform.describe()
    table = open_table(None, out, info)
    known = len(table.entries)
    table = complete_table(
        table,
        platform,
        network,
        {},
        netadapt.propose,
        round_to or info.block,
        path=out,
        dense=dense,
        time_limit_s=time_limit_s,
        progress=counted_progress(notify, "lookup table"),
    )
    layers = network.at({})
    whole = Workload(model, export.to_onnx(module, spec.input_shape), layers)
    measured = platform.measure_networks([whole], Effort())[0]
    predicted_s = table.price(layers)
    table = table.calibrated([(measured.p10_s, layers)], name=model)
    table.save(out)
    return {
        "schema": 1,
        "device": info.to_json(),
        "entries": len(table.entries),
        "measured": len(table.entries) - known,
        "predicted_s": predicted_s,
        "measured_s": measured.p10_s,
        "spread": measured.spread,
        "residue": [str(shape) for shape in table.residue(layers)],
    }


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
