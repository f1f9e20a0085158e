"""Which units of a channel group matter: scores from the weights, and the choice of the best."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from netadapt.network import ChannelGroup, Slot

Importance = Callable[[Mapping[str, Tensor], ChannelGroup], Tensor]
"""``(parameters and buffers by name, group) -> scores [units]``; greater means keep."""


def l2(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Squared L2 norm of the filters of each unit (NetAdapt, section 3.3).

    Where several layers make the same channels, as those of a residual sum do, their filters
    count together. Biases do not count.
    """
    slots = [slot for slot in group.slots if slot.role == "out" and tensors[slot.tensor].ndim > 1]
    return per_unit((squared(tensors[slot.tensor], slot.dim), slot) for slot in slots)


def bn_scale(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Magnitude of the normalization scale (Network Slimming); L2 where nothing normalizes."""
    slots = [
        slot
        for slot in group.slots
        if slot.role == "channelwise" and slot.tensor.endswith("weight")
        if tensors[slot.tensor].ndim == 1
    ]
    if not slots:
        return l2(tensors, group)
    return per_unit((tensors[slot.tensor].detach().double().abs().cpu(), slot) for slot in slots)


def random(tensors: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """Scores that mean nothing, the same for a group each time: the control of an experiment."""
    seed = sum(place * byte for place, byte in enumerate(group.id.encode(), start=1))
    return torch.rand(group.size, generator=torch.Generator().manual_seed(seed))


IMPORTANCES: dict[str, Importance] = {"l2": l2, "bn_scale": bn_scale, "random": random}
"""Every importance by the name it is asked for with."""

COMPARABLE = frozenset({"taylor"})
"""Those whose scores are of one unit in all groups, so that units of different groups compare."""


def top(scores: Tensor | Sequence[float], count: int) -> tuple[int, ...]:
    """The units of highest score, in their original order; of equals, those that come first.

    Raises:
        ValueError: there are fewer units than ``count``, or a score is not a number.
    """
    values = torch.as_tensor(scores, dtype=torch.float64)
    if not 0 <= count <= len(values):
        raise ValueError(f"cannot keep {count} of {len(values)} units")
    if bool(values.isnan().any()):
        raise ValueError("a unit's score is not a number; its weights hold NaN")
    order = torch.argsort(values, descending=True, stable=True)
    return tuple(sorted(order[:count].tolist()))


def squared(tensor: Tensor, dim: int) -> Tensor:
    """Sum of squares for each index along a dimension, in double precision on the CPU."""
    other = [d for d in range(tensor.ndim) if d != dim]
    return tensor.detach().double().square().sum(other).cpu()


def per_unit(scores: Iterator[tuple[Tensor, Slot]]) -> Tensor:
    """Sum over slots of the scores at the indices that each unit owns."""
    return torch.stack([held[torch.tensor(slot.index)].sum(1) for held, slot in scores]).sum(0)
