"""Which of the tensors in a checkpoint are a model's.

Training scripts put a state dict below keys of their own (``state_dict``, ``net``, ``model_ema``)
and wrappers put prefixes before its names (``module.``, ``model.``). Both are the same here: a
checkpoint is flattened to dotted names, and a *place* is what stands before the model's own names,
such as ``state_dict.module.``.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netadapt.errors import ModelError

_COUNTER = ".num_batches_tracked"
_PROFILER = re.compile(r"(.*\.)?(total_ops|total_params)")
"""Buffers that thop leaves in every module it has counted."""

_INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into names, at any depth."""

_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")
"""Names in torchvision's published DenseNets, which are older than its modules of today."""

_AVERAGED = re.compile(r"(.*_)?(ema|swa|avg|averaged?)(_.*)?", re.IGNORECASE)
_USUAL = frozenset(
    {"model", "model_state", "model_state_dict", "module", "net", "network", "params",
     "state_dict", "weights"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The tensors of a checkpoint that are a model's.

    Attributes:
        place: what stood before their names, as in ``state_dict.module.``; may be empty.
        state: the tensors by the model's own names.
        passed_over: other places whose tensors would have fitted.
    """

    place: str
    state: dict[str, Tensor]
    passed_over: tuple[str, ...] = ()


def find(content: Any, own: Mapping[str, Tensor], twins: Mapping[str, str]) -> Found:
    """Take a model's tensors out of what a checkpoint holds.

    Where several state dicts fit, averaged weights (EMA, SWA) go before the last ones: it is their
    accuracy that training scripts report. Otherwise a usual key goes before an unusual one.

    Args:
        content: as read from the file.
        own: the model's state dict.
        twins: for each name, the first name of the same memory.

    Returns:
        What fits; or what comes nearest, for an error message, if nothing does.

    Raises:
        ModelError: there are no tensors by name, or several state dicts fit, differ, and none is
            more usual than the others.
    """
    groups = dict(_grouped(content))
    names = {f"{place}{name}": tensor for place, group in groups.items()
             for name, tensor in group.items()}  # fmt: skip
    if not names:
        raise ModelError("it holds no state dict, which is tensors by name")
    if not any(part in name for part in _INSIDE for name in own):
        names = {_outside(name): tensor for name, tensor in names.items()}
    if not any(map(_DENSENET.fullmatch, own)):
        names = {today(name): tensor for name, tensor in names.items()}
    counts = Counter(
        name[: len(name) - len(rest)] for name in names for rest in _endings(name) if rest in own
    )
    likely = [place for place, count in counts.items() if 3 * count >= len(own)]
    found = {place: _below(place, names, groups, own) for place in likely}
    fitting = [place for place, state in found.items() if _fits(state, own, twins)]
    if fitting:
        place = _preferred(fitting, found)
        return Found(place, found[place], tuple(p for p in fitting if p != place))
    place = max(counts, key=counts.__getitem__, default="")
    if place in found:
        return Found(place, found[place])
    place, group = max(groups.items(), key=lambda item: len(item[1]))
    return Found(place, group)


def _grouped(content: Any, place: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping with tensors in it, with the keys that lead there, each with a dot."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(name): tensor for name, value in content.items()
               if (tensor := _tensor(value)) is not None}  # fmt: skip
    if tensors:
        yield place, tensors
    for name, value in content.items():
        yield from _grouped(value, f"{place}{name}.")


def _tensor(value: Any) -> Tensor | None:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        native = value.astype(value.dtype.newbyteorder("="))  # a copy: torch may write to it
        return torch.from_numpy(native)
    return value if isinstance(value, Tensor) else None


def _outside(name: str) -> str:
    for part in _INSIDE:
        name = name.replace(part, "")
    return name


def today(name: str) -> str:
    """A tensor's name as torchvision has it today."""
    return _DENSENET.sub(r"\1\2", name)


def _endings(name: str) -> Iterator[str]:
    """``a.b.c``, ``b.c``, ``c``."""
    while name:
        yield name
        name = name.partition(".")[2]


def _below(
    place: str, names: Mapping[str, Tensor], groups: Mapping[str, Any], own: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors of a place: the model's, and others that one mapping holds beside them."""
    below = {name.removeprefix(place): t for name, t in names.items() if name.startswith(place)}
    inner = [key.removeprefix(place) for key in groups if key.startswith(place) and key != place]
    aside = tuple(key for key in inner if not any(name.startswith(key) for name in own))
    return {
        name: tensor for name, tensor in below.items()
        if name in own or not (_PROFILER.fullmatch(name) or name.startswith(aside))
    }  # fmt: skip


def _fits(state: Mapping[str, Tensor], own: Mapping[str, Tensor], twins: Mapping[str, str]) -> bool:
    present = {twins[name] for name in state if name in own}
    lacking = [n for n in own if twins[n] not in present and not n.endswith(_COUNTER)]
    strange = [n for n in state if n not in own and not n.endswith(_COUNTER)]
    return not lacking and not strange and all(
        state[n].shape == own[n].shape for n in state if n in own
    )  # fmt: skip


def _preferred(places: list[str], found: Mapping[str, dict[str, Tensor]]) -> str:
    """The place to take, of several that fit."""
    best = min(map(_rank, places))
    first, *others = [place for place in places if _rank(place) == best]
    for other in others:
        if not _equal(found[first], found[other]):
            raise ModelError(
                f"it holds several state dicts that fit and differ, at {_shown(first)} and at "
                f"{_shown(other)}; save the one that you mean alone"
            )
    return first


def _rank(place: str) -> int:
    words = place.split(".")[:-1]
    if any(map(_AVERAGED.fullmatch, words)):
        return 0
    return 1 if all(word in _USUAL for word in words) else 2


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _shown(place: str) -> str:
    return repr(place.removesuffix(".")) if place else "its top"
