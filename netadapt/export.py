"""Write a network so that it loads anywhere: ONNX, ``.pt2``, and a loader that needs torch alone.

    adapted.onnx       batch of one, checked against torch on real inputs
    adapted.pt2        torch.export; ``torch.export.load(...).module()``
    adapted.pt         plain state dict; loads with ``weights_only=True``
    arch.json          model, sizes, and every module attribute that differs from the original's
    load_adapted.py    the generated loader

Nothing here is ever read back by unpickling code.
"""

import io
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.errors import CheckFailed, ModelError, UsageError
from netadapt.models import ModelSpec
from netadapt.network import Network
from netadapt.runs import write_atomically
from netadapt.standalone import loader_source
from netadapt.tracing import unwrap
from netadapt.weights import load_state

TOLERANCE = 1e-3
"""Largest accepted difference of ONNX Runtime from torch, relative to the largest output."""


@contextmanager
def _quiet_exporter() -> Iterator[None]:
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
    model = unwrap(model)
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    if dtype not in (torch.float32, torch.float16):
        raise ModelError(
            f"{type(model).__name__} computes in {str(dtype).removeprefix('torch.')}, which ONNX "
            "Runtime does not; call model.float() first."
        )
    example = torch.zeros(batch, *input_shape, dtype=dtype)
    try:
        with _quiet_exporter(), evaluating(model), torch.no_grad():
            return torch.export.export(model, (example,), strict=False)
    except Exception as error:  # torch.export raises anything
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"torch.export cannot capture {type(model).__name__} ({reason}); rewrite its forward "
            "without data-dependent control flow."
        ) from error


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
        with _quiet_exporter():
            converted = torch.onnx.export(
                program, dynamo=True, verbose=False, input_names=["input"]
            )
    except Exception as error:  # the exporter raises anything
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{name} cannot be written as ONNX: {reason}") from error
    assert converted is not None
    return bytes(converted.model_proto.SerializeToString())


def onnx_difference(data: bytes, model: nn.Module, images: Tensor) -> float:
    """Largest difference of ONNX Runtime from torch, relative to torch's largest output.

    Args:
        data: serialized ONNX model with a batch of one.
        model: the torch model.
        images: real inputs, ``[N, C, H, W]``.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    worst = 0.0
    with evaluating(model), torch.no_grad():
        for image in images:
            expected = first_output(model(image[None]))
            found = torch.from_numpy(session.run(None, {name: image[None].numpy()})[0])
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


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as bytes for ``torch.load(..., weights_only=True)``."""
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, buffer)
    return buffer.getvalue()


def write_result(
    folder: Path,
    model: nn.Module,
    *,
    spec: ModelSpec,
    network: Network,
    sizes: Mapping[str, int],
    images: Tensor,
) -> dict[str, Any]:
    """Write every format of an adapted model into ``folder``.

    Args:
        folder: where to; made if it does not exist.
        model: the adapted model, on the CPU.
        spec: builds the unpruned architecture.
        network: the unpruned network.
        sizes: the adapted size of each group.
        images: real inputs ``[N, C, H, W]`` to check the ONNX file on.

    Returns:
        ``{"files": {name: bytes}, "onnx_difference": ..., "loader": ...}``.

    Raises:
        CheckFailed: ONNX Runtime's outputs differ from torch's.
        ModelError: the model cannot be captured.
        RunError: the folder cannot be written.
    """
    model = unwrap(model)
    images = images.to(next((p.dtype for p in model.parameters()), images.dtype))
    with evaluating(model):
        program = export_program(model, network.input_shape)
        onnx = program_to_onnx(program, spec.name)
        difference = onnx_difference(onnx, model, images)
        if not (difference <= TOLERANCE and math.isfinite(difference)):
            raise CheckFailed(
                f"ONNX Runtime's outputs for {folder / 'adapted.onnx'} differ from torch's by "
                f"{difference:.2g} of the largest; the file was not written."
            )
        pt2 = io.BytesIO()
        with _quiet_exporter():
            torch.export.save(program, pt2)
        loader, kind = loader_source(model, images)
        arch = {
            "format": 1,
            "model": spec.to_json(),
            "input_shape": list(network.input_shape),
            "sizes": {group: sizes.get(group, size) for group, size in network.sizes.items()},
            "attributes": network.attributes(sizes),
            "loader": kind,
        }
    contents = {
        "adapted.onnx": onnx,
        "adapted.pt2": pt2.getvalue(),
        "adapted.pt": state_bytes(model.state_dict()),
        "arch.json": json.dumps(arch, indent=1).encode() + b"\n",
        "load_adapted.py": loader.encode(),
    }
    for name, data in contents.items():
        write_atomically(folder / name, data)
    return {
        "files": {name: len(data) for name, data in contents.items()},
        "onnx_difference": difference,
        "loader": kind,
    }


def apply_architecture(
    model: nn.Module, attributes: Mapping[str, Mapping[str, Any]], state: Mapping[str, Tensor]
) -> nn.Module:
    """Give an unpruned model the widths and weights of an adapted one, in place.

    Args:
        model: a fresh model of the original architecture.
        attributes: ``{module: {attribute: value}}``, from ``arch.json``.
        state: the adapted state dict.

    Raises:
        ModelError: the model is of another architecture.
    """
    own = dict(model.named_parameters(remove_duplicate=False)) | dict(
        model.named_buffers(remove_duplicate=False)
    )
    strange = sorted(set(attributes) - {name for name, _ in model.named_modules()})
    missing = sorted(set(model.state_dict()) ^ set(state))
    if strange or missing:
        raise ModelError(
            f"The saved network is of another architecture than {type(model).__name__}: "
            f"{', '.join((strange + missing)[:5])} are in one of them only."
        )
    for name, values in attributes.items():
        module = model.get_submodule(name)
        for attribute, value in values.items():
            setattr(module, attribute, tuple(value) if isinstance(value, list) else value)
    for name, value in state.items():
        own[name].data = own[name].data.new_empty(value.shape)
    load_state(model, state, source="the saved network")
    return model


def load(path: str | Path) -> nn.Module:
    """The adapted model of a run folder, in its own class and in evaluation mode.

    Args:
        path: a run folder, or any folder with ``arch.json`` and ``adapted.pt``.

    Raises:
        UsageError: the folder holds no finished result.
        ModelError: the architecture cannot be built, or is another one.
    """
    folder = Path(path)
    try:
        arch = json.loads((folder / "arch.json").read_text())
        state = torch.load(folder / "adapted.pt", map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no adapted network ({Path(error.filename).name} is missing); finish "
            f"its run, or write what it has with: netadapt export {folder}"
        ) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(f"The result in {folder} cannot be read: {error}") from error
    model = ModelSpec.from_json(arch["model"]).build()
    return apply_architecture(model, arch["attributes"], state).eval()
