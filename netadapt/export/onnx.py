"""Serialize a model: ``torch.export``, and ONNX by torch's own exporter."""

import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.errors import ModelError
from netadapt.tracing import duplicate, unwrap

TOLERANCE = 1e-3
"""Largest accepted difference of ONNX Runtime from torch, relative to the largest output."""


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """The exporters warn of their own internals, which no user can act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode, and each module back to what it was."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


def export_program(
    model: nn.Module, input_shape: tuple[int, ...], *, batch: int = 1
) -> torch.export.ExportedProgram:
    """The model as a ``torch.export`` program for images of ``[batch, C, H, W]``.

    Raises:
        ModelError: torch.export cannot capture the model, or ONNX Runtime cannot compute its type.
    """
    model = duplicate(unwrap(model))  # an export leaves what the code keeps on itself
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    if dtype not in (torch.float32, torch.float16):
        raise ModelError(
            f"{type(model).__name__} computes in {str(dtype).removeprefix('torch.')}, which ONNX "
            "Runtime does not; call model.float() first."
        )
    example = torch.zeros(batch, *input_shape, dtype=dtype)
    try:
        with quiet_exporter(), evaluating(model), torch.no_grad():
            return torch.export.export(model, (example,), strict=False)
    except Exception as error:  # torch.export raises anything
        raise ModelError(
            f"torch.export cannot capture {type(model).__name__} ({cause(error)}); rewrite its "
            "forward without data-dependent control flow."
        ) from error


def cause(error: BaseException) -> str:
    """The first line of the error that an exporter's own errors, full of advice, go back to."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def advice(program: torch.export.ExportedProgram) -> str:
    """What to do about modules whose names the exporter uses itself, such as ``code``."""
    first = {name.partition(".")[0] for name in program.state_dict}
    taken = sorted(name for name in first if hasattr(torch.fx.GraphModule, name))
    if not taken:
        return ""
    return f". The exporter cannot tell the model's {taken[0]!r} from its own; rename it."


def to_onnx(model: nn.Module, input_shape: tuple[int, ...], *, batch: int = 1) -> bytes:
    """The model as serialized ONNX for float32 images of [batch, C, H, W]; input ``input``.

    Raises:
        ModelError: the model uses an operation that ONNX does not have.
    """
    program = export_program(model, input_shape, batch=batch)
    return program_to_onnx(program, type(model).__name__)


def program_to_onnx(program: torch.export.ExportedProgram, name: str) -> bytes:
    """Serialize a captured program as ONNX; ``name`` is for the error message."""
    try:
        with quiet_exporter():
            converted = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["input"]
            )
    except Exception as error:  # the exporter raises anything
        said = f"{name} cannot be written as ONNX: {cause(error)}{advice(program)}"
        raise ModelError(said) from error
    assert converted is not None
    return bytes(converted.model_proto.SerializeToString())


def onnx_difference(data: bytes, model: nn.Module, images: Tensor) -> float:
    """Largest difference of ONNX Runtime from torch, relative to torch's largest output.

    Args:
        data: serialized ONNX model.
        model: the torch model.
        images: real inputs, ``[N, C, H, W]``; a multiple of the batch that ``data`` takes.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    worst = 0.0
    model = duplicate(model)
    with evaluating(model), torch.no_grad():
        for batch in torch.split(images, taken.shape[0]):
            expected = first_output(model(batch.clone()))  # it may be changed in place
            found = torch.from_numpy(session.run(None, {taken.name: batch.numpy()})[0])
            scale = max(float(expected.abs().max()), 1e-6)
            off = float((found.float() - expected.float()).abs().max()) / scale
            if not math.isfinite(off):
                return math.inf  # max() would drop a NaN
            worst = max(worst, off)
    return worst


def first_output(output: Any) -> Tensor:
    """The tensor that counts, of models that return several."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    return output
