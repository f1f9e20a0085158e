"""Weight files of a model: written as safetensors, read in all the forms that people have."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from netadapt.errors import ModelError, RunError
from netadapt.files import check_output, write_atomically
from netadapt.models.checkpoints import read
from netadapt.models.states import Found, find

_log = logging.getLogger(__name__)

WEIGHTS_BEGIN = (b'{"__metadata__"', b'"dtype":"')
"""What a safetensors file has near its beginning."""

_COUNTER = ".num_batches_tracked"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write all parameters and buffers as safetensors: whole, or not at all.

    Tied tensors are written once; :func:`load_weights` ties them again.

    Raises:
        RunError: the file cannot be written.
        UsageError: there is something that is no plain file, such as a link or a device.
    """
    check_output(path)
    first: dict[tuple[object, ...], str] = {}
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if first.setdefault(_identity(name, tensor), name) == name:
            whole = tensor.untyped_storage().nbytes() == tensor.nbytes
            # safetensors refuses a view of a storage that another tensor may share.
            tensors[name] = tensor.contiguous() if whole else tensor.clone().contiguous()
    write_atomically(path, save(tensors, metadata={"format": "pt"}))


def _identity(name: str, tensor: Tensor) -> tuple[object, ...]:
    """Equal for two names of the very same memory; an empty tensor is only itself."""
    if tensor.numel() == 0:
        return (name,)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def load_weights(model: nn.Module, path: Path) -> Found:
    """Load a weight file into the model, in place.

    The forms that are read are those of :mod:`netadapt.models.checkpoints`; where in the file the
    weights may be, and which of several are taken, says :mod:`netadapt.models.states`.

    Returns:
        Which tensors of the file were taken; if others would have fitted, the log says so too.

    Raises:
        ModelError: the file is missing, no weight file, or of another architecture.
    """
    content = read(path)
    own = model.state_dict()
    first: dict[tuple[object, ...], str] = {}
    twins = {name: first.setdefault(_identity(name, tensor), name) for name, tensor in own.items()}
    try:
        found = find(content, own, twins)
    except ModelError as error:
        raise ModelError(
            f"{path} cannot be read as weights: {error}. Save them by torch.save("
            "model.state_dict(), path)."
        ) from error
    try:
        load_state(model, found.state, source=f"{path}{_below(found.place)}")
    except ModelError as error:
        raise ModelError(_explained(path, str(error))) from error
    if found.passed_over:
        _log.warning(
            "%s: the weights%s are taken, not those%s.",
            path, _below(found.place), " and".join(map(_below, found.passed_over)),
        )  # fmt: skip
    return found


def _below(place: str) -> str:
    return f" below {place.removesuffix('.')!r}" if place else " at its top"


def _explained(path: Path, message: str) -> str:
    """Why the weights may be of another architecture, where the file's surroundings tell."""
    if path.with_name("arch.json").is_file():
        return (
            f"{path} is the result of a run, with widths of its own; load it by "
            f"netadapt.load({str(path.parent)!r}), or give the weights of the unpruned network."
        )
    if re.search(r"-\d{5}-of-\d{5}\.", path.name):
        return f"{path} is one part of several; give the .index.json that names them all."
    return message


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
    _require_finite(model, state, source)
    own.update(state)  # own knows the version of each module's format, which plain dicts do not
    try:
        model.load_state_dict(own)
    except RuntimeError as error:  # such as tensors without data, or quantized ones
        reason = str(error).strip().split("\n")[-1].strip()
        raise ModelError(f"{source} holds weights that cannot be copied: {reason}") from error


def _require_finite(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Refuse NaN, and among what is learned infinity: of masks, infinity may be meant."""
    learned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    broken = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point()
        and not tensor.is_meta
        and bool((~tensor.isfinite() if name in learned else tensor.isnan()).any())
    ]
    if broken:
        raise ModelError(
            f"{source} holds NaN or infinity in {len(broken)} tensors ({_first(broken)}); the "
            "training that wrote them diverged, or the file is damaged."
        )


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
