"""A stand-in for a model, which runs the same code and is thrown away after a trace.

What its code keeps on itself while it runs, it keeps on the stand-in. Its tensors have shapes and
no storage; its integers know where they come from; hooks of the user are gone.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from netadapt.tracing._ledger import Ledger, Origin
from netadapt.tracing._numbers import Number, Source

Convert = Callable[[torch.Tensor], torch.Tensor]


def held_tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Every tensor that the model's modules hold, registered or not."""
    for module in model.modules():
        yield from tensors_within(vars(module))


def tensors_within(value: Any, depth: int = 4) -> Iterator[torch.Tensor]:
    """Tensors in a value and in the containers in it."""
    if isinstance(value, torch.Tensor):
        yield value
    elif depth and isinstance(value, dict):
        for part in list(value.values()):
            yield from tensors_within(part, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for part in value:
            yield from tensors_within(part, depth - 1)


def duplicate(
    model: nn.Module, convert: Convert | None = None, memo: dict[int, Any] | None = None
) -> nn.Module:
    """A copy of the model, also of one that keeps results of computations, which torch refuses.

    Args:
        model: what to copy.
        convert: what becomes of each tensor; by default those that torch copies are copied, and
            results of computations are cut off from what they were computed from.
        memo: for tensors by identity, what is to stand for them in the copy.
    """
    memo = {} if memo is None else memo
    for tensor in held_tensors(model):
        if id(tensor) in memo:
            continue
        if convert is not None:
            memo[id(tensor)] = convert(tensor)
        elif not tensor.is_leaf:
            memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(model, memo)


class Fakes:
    """Tensors with shapes and no storage that stand for a model's, each made once."""

    def __init__(self) -> None:
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The one that stands for a tensor."""
        if id(tensor) not in self._made:
            with self.mode:
                made = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
            if isinstance(tensor, nn.Parameter):
                made = nn.Parameter(made, requires_grad=tensor.requires_grad)
            self._made[id(tensor)] = (tensor, made)
        return self._made[id(tensor)][1]


def strip_hooks(model: nn.Module) -> None:
    """Drop the user's hooks, which must not see a trace; those that compute weights stay."""
    for module in model.modules():
        hooks = module._forward_pre_hooks
        own = [(k, h) for k, h in hooks.items() if type(h).__module__.startswith("torch.nn.utils")]
        module._forward_pre_hooks = OrderedDict(own)
        module._forward_hooks = OrderedDict()
        module._forward_pre_hooks_with_kwargs = OrderedDict()
        module._forward_hooks_with_kwargs = OrderedDict()
        module._forward_hooks_always_called = OrderedDict()


WIDTHS_OF_TORCH = frozenset({"groups", "num_groups", "normalized_shape", "unflattened_size"})
"""Attributes of torch's own modules that their code passes on as a number of channels."""

NO_WIDTHS = frozenset({"kernel_size", "stride", "padding", "dilation", "output_padding"})


def mark_integers(model: nn.Module, ledger: Ledger) -> None:
    """Let the integers that modules hold, alone or in sequences, know where they come from."""
    for path, module in model.named_modules():
        own = vars(module)
        of_torch = type(module).__module__.startswith("torch.nn.")
        for attr, value in list(own.items()):
            if attr.startswith("_") or attr in NO_WIDTHS:
                continue
            if not of_torch or attr in WIDTHS_OF_TORCH:
                own[attr] = marked(value, (path, attr, None), ledger)


def marked(value: Any, origin: Origin, ledger: Ledger) -> Any:
    """An attribute's value with its integers above one marked."""
    if type(value) is int and value > 1:
        return Number(value, ledger, ((Source(value, origin=origin), Fraction(1)),))
    if type(value) in (list, tuple, torch.Size) and all(type(part) is int for part in value):
        parts = [marked(part, (*origin[:2], i), ledger) for i, part in enumerate(value)]
        return parts if isinstance(value, list) else type(value)(parts)
    return value
