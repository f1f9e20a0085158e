"""What layers read on sample images, as second moments: all that least squares has to know.

Only plain convolutions and linear layers that sum over channels which may be removed are watched;
:func:`unwatched` tells of the others.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from netadapt.network import Network, Slot, shrinkable

CHANNELS_LIMIT = 4096
"""Layers that read more are not watched: their moments alone would take over 128 MB."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Mean products of the channels that a layer reads, over images and positions.

    Attributes:
        products: ``[channels, channels]``, in double precision.
        spots: how many weights in a row read one channel: the pixels of a map that is flattened
            before a linear layer; 1 otherwise.
    """

    products: Tensor
    spots: int = 1

    def by_channel(self, weight: Tensor) -> Tensor:
        """A weight ``[outputs, inputs, ...]`` as ``[outputs, channels, taps]``, in doubles."""
        return weight.detach().double().cpu().reshape(len(weight), len(self.products), -1)

    def channels(self, inputs: list[int]) -> list[int]:
        """The channels that inputs are of, which must be all inputs of each."""
        return [i // self.spots for i in inputs[:: self.spots]]

    def output_products(self, weight: Tensor, slot: Slot) -> Tensor:
        """Mean products of what each two units of a slot add to the layer's outputs, summed."""
        by_tap = self.by_channel(weight).transpose(0, 1).flatten(1)
        products = (by_tap @ by_tap.T) * self.products
        units = torch.zeros(len(products), len(slot.index), dtype=torch.float64)
        for unit, index in enumerate(slot.index):
            units[self.channels(list(index)), unit] = 1
        return units.T @ products @ units


Moments = Mapping[str, Moment]
"""By the qualified name of the layer that reads."""


def unwatched(model: nn.Module, network: Network) -> dict[str, str]:
    """Layers whose inputs may shrink but are not watched, each with the reason as a phrase."""
    reasons = {layer: _reason(model, layer, slots) for layer, slots in _readers(network).items()}
    return {layer: reason for layer, reason in reasons.items() if reason}


@contextmanager
def watching(model: nn.Module, network: Network) -> Iterator[Callable[[], dict[str, Moment]]]:
    """Within it, what the model computes is added up; gives what tells the moments so far."""
    sums = {
        layer: _Sum(model.get_submodule(layer), _spots(slots))
        for layer, slots in _readers(network).items()
        if not _reason(model, layer, slots)
    }
    hooks = [total.layer.register_forward_pre_hook(total.add) for total in sums.values()]
    try:
        yield lambda: {layer: total.moment() for layer, total in sums.items() if total.rows}
    finally:
        for hook in hooks:
            hook.remove()


@dataclass
class _Sum:
    """Products of one layer's inputs, added up in single precision on the trainer."""

    layer: nn.Module
    spots: int
    rows: int = 0
    products: Tensor | None = field(default=None)

    def add(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        with torch.no_grad():
            rows = _rows(layer, inputs[0].detach().float(), self.spots)
            products = (rows.T @ rows).double()
        self.products = products if self.products is None else self.products + products
        self.rows += len(rows)

    def moment(self) -> Moment:
        assert self.products is not None
        return Moment((self.products / self.rows).cpu(), self.spots)


def _rows(layer: nn.Module, inputs: Tensor, spots: int) -> Tensor:
    """One row of channels for each position that the layer reads."""
    if isinstance(layer, nn.Conv2d):
        if layer.kernel_size == (1, 1) and layer.padding in ((0, 0), "valid"):
            stride_h, stride_w = layer.stride
            inputs = inputs[..., ::stride_h, ::stride_w]
        return inputs.movedim(-3, -1).flatten(0, -2)
    rows = inputs.reshape(-1, inputs.shape[-1] // spots, spots)
    return rows.transpose(1, 2).flatten(0, 1)


def _readers(network: Network) -> dict[str, list[Slot]]:
    """Every layer that sums over channels which may be removed, with the slots that say which."""
    found: dict[str, list[Slot]] = {}
    for group in shrinkable(network):
        for slot in group.slots:
            if slot.role == "in":
                found.setdefault(slot.layer, []).append(slot)
    return found


def _reason(model: nn.Module, layer: str, slots: list[Slot]) -> str:
    """Why a layer is not watched; empty if it is."""
    module = model.get_submodule(layer)
    if type(module) not in (nn.Conv2d, nn.Linear) or any(
        (slot.tensor, slot.dim) != (f"{layer}.weight", 1) for slot in slots
    ):
        return f"is a {type(module).__name__}, and no plain convolution or linear layer"
    if isinstance(module, nn.Conv2d) and module.groups > 1:
        return "is a grouped convolution"
    weight = model.get_parameter(f"{layer}.weight")
    if _uses(model)[id(weight)] > 1:
        return "shares its weights with another layer"
    inputs = weight.shape[1] // _spots(slots)
    return f"reads {inputs} channels, over {CHANNELS_LIMIT}" if inputs > CHANNELS_LIMIT else ""


def _uses(model: nn.Module) -> Counter[int]:
    """How many modules hold each parameter."""
    return Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))


def _spots(slots: list[Slot]) -> int:
    """How many inputs in a row belong together in all slots."""
    runs = {len(index) for slot in slots for index in slot.index}
    spots = math.gcd(*runs)
    whole = all(
        index[i : i + spots] == tuple(range(index[i], index[i] + spots)) and index[i] % spots == 0
        for slot in slots
        for index in slot.index
        for i in range(0, len(index), spots)
    )
    return spots if whole else 1
