"""Write a network so that it loads anywhere: ONNX, ``.pt2``, and a loader that needs torch alone.

    adapted.onnx       batch of one, checked against torch on real inputs
    adapted.pt2        torch.export; ``torch.export.load(...).module()``
    adapted.pt         plain state dict; loads with ``weights_only=True``
    preprocessing.json   what is done to an image before it is an input, where that is known
    arch.json          model, sizes, and every module attribute that differs from the original's
    load_adapted.py    the generated loader

Nothing here is ever read back by unpickling code.
"""

import hashlib
import io
import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.errors import CheckFailed, ModelError, UsageError
from netadapt.export.loader import loader_source
from netadapt.export.onnx import (
    TOLERANCE,
    evaluating,
    export_program,
    onnx_difference,
    program_to_onnx,
    quiet_exporter,
)
from netadapt.export.proof import loader_ways, prove
from netadapt.files import write_atomically
from netadapt.models import ModelSpec
from netadapt.models.weights import load_state
from netadapt.network import Network, keep_first
from netadapt.pruning.surgery import set_attributes, shrink
from netadapt.tracing import unwrap


def state_bytes(state: Mapping[str, Tensor]) -> bytes:
    """A state dict as bytes for ``torch.load(..., weights_only=True)``."""
    buffer = io.BytesIO()
    torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, buffer)
    return buffer.getvalue()


def saved_state(model: nn.Module, network: Network) -> dict[str, Tensor]:
    """The state dict, and buffers that are not part of it but have widths that may change."""
    varying = {t.name for t in network.tensors if any(width.terms for width in t.shape)}
    state = dict(model.state_dict())
    buffers = {name: b for name, b in model.named_buffers() if name in varying - state.keys()}
    return {**state, **buffers}


def write_preprocessing(folder: Path, preprocessing: Mapping[str, Any]) -> dict[str, int]:
    """Write what is to be done to an image before it is an input, for those who deploy.

    Args:
        folder: where the network is.
        preprocessing: plain JSON values; nothing is written where there are none.

    Returns:
        The name of the file with its bytes.

    Raises:
        RunError: the folder cannot be written.
    """
    if not preprocessing:
        return {}
    content = json.dumps(dict(preprocessing), indent=1).encode() + b"\n"
    write_atomically(folder / "preprocessing.json", content)
    return {"preprocessing.json": len(content)}


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
        CheckFailed: ONNX Runtime's outputs differ from torch's, or those of the files, loaded in
            any of the ways that they can be; nothing was written.
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
        with quiet_exporter():
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
    state = state_bytes(saved_state(model, network))
    arch["sha256"] = {"adapted.pt": hashlib.sha256(state).hexdigest()}
    contents = {
        "adapted.onnx": onnx,
        "adapted.pt2": pt2.getvalue(),
        "adapted.pt": state,
        "arch.json": json.dumps(arch, indent=1).encode() + b"\n",
        "load_adapted.py": loader.encode(),
    }
    with tempfile.TemporaryDirectory() as staged, evaluating(model):
        _write(Path(staged), contents)
        ways = {"netadapt.load": lambda: load(staged), **loader_ways(Path(staged), spec.build)}
        prove(ways, model, images[:2])
    _write(folder, contents)
    return {
        "files": {name: len(data) for name, data in contents.items()},
        "onnx_difference": difference,
        "loader": kind,
    }


def _write(folder: Path, contents: Mapping[str, bytes]) -> None:
    for name, data in contents.items():
        write_atomically(folder / name, data)


def rehearse(model: nn.Module, spec: ModelSpec, network: Network, images: Tensor) -> None:
    """Shrink a model to half of each group, save it and load it, before anything is trained.

    Args:
        model: the unpruned model, on the CPU.
        spec: builds its architecture.
        network: describes it.
        images: inputs ``[N, C, H, W]``.

    Raises:
        ModelError: what a run would save could not be loaded.
    """
    sizes = {g.id: (g.size + 1) // 2 for g in network.groups.values() if not g.fixed}
    smaller = shrink(model, network, keep_first(network, sizes)).eval()
    arch = json.loads(json.dumps([spec.to_json(), network.attributes(sizes)]))

    def loaded() -> nn.Module:
        fresh = ModelSpec.from_json(arch[0]).build()
        return apply_architecture(fresh, arch[1], saved_state(smaller, network)).eval()

    try:
        prove({"netadapt.load": loaded}, smaller, images[:1])
    except CheckFailed as error:
        raise ModelError(
            f"{error} This was tried before any training, with half of each channel group: the "
            "function that builds the model must build the same each time, and all tensors that it "
            "computes with must be parameters or buffers."
        ) from error


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
    aside = {name: state[name] for name in state if name not in model.state_dict() and name in own}
    missing = sorted(set(model.state_dict()) ^ (set(state) - set(aside)))
    if strange or missing:
        raise ModelError(
            f"The saved network is of another architecture than {type(model).__name__}: "
            f"{', '.join((strange + missing)[:5])} are in one of them only."
        )
    set_attributes(model, attributes)
    for name, value in state.items():
        own[name].data = own[name].data.new_empty(value.shape)
    for name, value in aside.items():
        own[name].data.copy_(value)
    rest = {name: value for name, value in state.items() if name not in aside}
    load_state(model, rest, source="the saved network")
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
        written = (folder / "adapted.pt").read_bytes()
        expected = arch.get("sha256", {}).get("adapted.pt")  # of earlier versions, none
        if expected and hashlib.sha256(written).hexdigest() != expected:
            raise ValueError("adapted.pt is not as it was written; restore it from a copy")
        state = torch.load(io.BytesIO(written), map_location="cpu", weights_only=True)
        spec, attributes = ModelSpec.from_json(arch["model"]), arch["attributes"]
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no adapted network ({Path(error.filename).name} is missing); finish "
            f"its run, or write what it has with: netadapt export {folder}"
        ) from error
    except Exception as error:  # torch.load raises anything for what is damaged
        said = str(error).strip().split("\n")[0]
        raise UsageError(f"The result in {folder} cannot be read: {said}.") from error
    return apply_architecture(spec.build(), attributes, state).eval()
