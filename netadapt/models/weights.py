"""Weight files: safetensors, and state dicts of PyTorch read without executing a pickle."""

import contextlib
import os
import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from netadapt.errors import ModelError, RunError

_COUNTER = ".num_batches_tracked"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all parameters and buffers as safetensors: whole, or not at all.

    Tied tensors are written once; :func:`load_weights` ties them again.

    Raises:
        RunError: the file cannot be written.
    """
    first: dict[tuple[object, ...], str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if first.setdefault(_identity(name, tensor), name) == name:
            whole = tensor.untyped_storage().nbytes() == tensor.nbytes
            # safetensors refuses a view of a storage that another tensor may share.
            tensors[name] = tensor.contiguous() if whole else tensor.clone().contiguous()
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata={"format": "pt"})
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"Weights cannot be written to {path}: {error}; free space there, or name another "
            "folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def _identity(name: str, tensor: Tensor) -> tuple[object, ...]:
    """Equal for two names of the very same memory; an empty tensor is only itself."""
    if tensor.numel() == 0:
        return (name,)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a weight file into the model, in place.

    Read are ``.safetensors`` and what ``torch.save(model.state_dict())`` wrote, also wrapped as
    ``{"state_dict": ...}`` or ``{"model": ...}``, or with the ``module.`` prefix of a DDP model.

    Raises:
        ModelError: the file is missing, no weight file, or of another architecture.
    """
    if not path.is_file():
        raise ModelError(f"There is no weight file {path}; check the path.")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on pickle protocols, of no use to a user
                state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise ModelError(
            f"{path} cannot be read as weights: {reason}; save them by "
            "torch.save(model.state_dict(), path) or as safetensors."
        ) from error
    try:
        load_state(model, _unwrapped(state, model, path), source=str(path))
    except ModelError as error:
        if path.with_name("arch.json").is_file():
            raise ModelError(
                f"{path} is the result of a run, with widths of its own; load it by "
                f"netadapt.load({str(path.parent)!r}), or give the weights of the unpruned network."
            ) from error
        raise


def _unwrapped(state: Any, model: nn.Module, path: Path) -> dict[str, Tensor]:
    """The state dict inside what a training script saved, without wrappers' prefixes."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(
            f"{path} holds no state dict; save one by torch.save(model.state_dict(), path)."
        )
    own = model.state_dict().keys()
    for prefix in ("module.", "_orig_mod.", "module."):  # DDP, torch.compile, and one in the other
        if state and all(key.startswith(prefix) for key in state) and not own & state.keys():
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)


def load_state(model: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load a state dict into the model, in place; tied tensors need to be there only once.

    Args:
        model: gets the values, converted to its own types.
        state: tensors by qualified name.
        source: where the state came from, for the message.

    Raises:
        ModelError: tensors are missing, unexpected, or of another shape.
    """
    state = dict(state)
    own = model.state_dict()
    present = {_identity(n, t): n for n, t in own.items() if n in state}
    for name, tensor in own.items():
        twin = present.get(_identity(name, tensor))
        if name not in state and twin is not None:
            state[name] = state[twin]
        elif name not in state and name.endswith(_COUNTER):
            state[name] = tensor  # files older than PyTorch 0.4.1 have none
    state = {n: tensor for n, tensor in state.items() if n in own or not n.endswith(_COUNTER)}
    missing = [f"{n} {list(own[n].shape)}" for n in own if n not in state]
    unexpected = [f"{n} {list(state[n].shape)}" for n in state if n not in own]
    mismatched = [
        f"{n} {list(state[n].shape)} in the file, {list(own[n].shape)} in the model"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    if missing or unexpected or mismatched:
        kinds = {"missing": missing, "unexpected": unexpected, "of another shape": mismatched}
        said = "; ".join(f"{len(v)} {k} ({_first(v)})" for k, v in kinds.items() if v)
        raise ModelError(
            f"{source} holds weights of another architecture: of {len(own)} tensors, {said}. "
            "Check the model's name, arguments and number of classes."
        )
    own.update(state)  # own knows the version of each module's format, which plain dicts do not
    model.load_state_dict(own)


def _first(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def restore(model: nn.Module, path: Path) -> None:
    """Load weights that a run stored into a model, in place.

    Raises:
        RunError: the file is missing or damaged.
        ModelError: the model is of another architecture.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"Cannot read {path} ({error}); restore it from a copy, or start afresh."
        ) from error
    load_state(model, state, source=str(path))
